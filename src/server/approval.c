#include "server/approval.h"

#include <string.h>

#include "apiserver/authz.h"
#include "base/str.h"
#include "apiserver/local.h"

/* The object of a PUT, or the merge patch, which have what counts in the same places. */
static int read_body(struct rest_server *s, const struct api_request *q, yyjson_doc **ret, struct gw_error *err)
{
    if (q->content_type && str_starts(q->content_type, "application/vnd.kubernetes.protobuf"))
        return rest_body(s, q, ret, err);
    return json_parse(q->body, q->body_len, ret, err);
}

static struct blob *conditions_patch(yyjson_val *body)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    const char *version = json_str(body, "/metadata/resourceVersion");
    yyjson_val *conditions = json_at(body, "/status/conditions");

    if (version)
        json_set_str(patch, "/metadata/resourceVersion", version);
    if (conditions)
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, conditions));
    return json_encode(yyjson_mut_doc_get_root(patch));
}

static bool may_approve(struct rest_server *s, const struct api_user *user, const char *signer)
{
    const struct rest_target t = {
        .verb = "approve", .group = "certificates.k8s.io", .version = "v1", .resource = "signers", .name = signer};

    return !s->authorize || s->authorize(s->data, user, &t, NULL, NULL, NULL) == 0;
}

/* Whoever may write approvals needs the verb approve for this signer as well, by its name or by its domain and a star:
 * a certificate for agents is another matter than one for people (Kubernetes: admission plugin CertificateApproval). */
static int check_signer(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                        struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_free_ char *domain = NULL;
    const char *signer;
    int r = rest_read(s, t->kind, NULL, t->name, &doc, err);

    if (r < 0)
        return r;
    signer = json_str_or(yyjson_doc_get_root(doc), "/spec/signerName", "");
    domain = xasprintf("%.*s/*", (int)strcspn(signer, "/"), signer);
    if (may_approve(s, &q->user, signer) || may_approve(s, &q->user, domain))
        return 0;
    return gw_error_set(err, GW_FORBIDDEN,
                        "certificatesigningrequests.certificates.k8s.io \"%s\" is forbidden: user not permitted to "
                        "approve requests with signerName \"%s\"",
                        t->name, signer);
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    static const char *const groups[] = {GROUP_MASTERS};
    bool reads = streq(t->verb, "get");
    _cleanup_free_ char *target = local_target(t->kind, NULL, t->name, reads ? NULL : "status");
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_blob_ struct blob *patch = NULL;
    struct api_request inner = *q;
    int r;

    if (!reads && !streq(t->verb, "update") && !streq(t->verb, "patch"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    inner.target = target;
    inner.user.groups = groups; /* the right to approve is what was asked for */
    inner.user.n_groups = ARRAY_SIZE(groups);
    if (!reads) {
        r = check_signer(s, q, t, err);
        r = r < 0 ? r : read_body(s, q, &doc, err);
        if (r < 0)
            return r;
        patch = conditions_patch(yyjson_doc_get_root(doc));
        inner.method = "PATCH";
        inner.content_type = MERGE_PATCH;
        inner.body = patch->data;
        inner.body_len = patch->len;
    }
    rest_handle(s, &inner, response);
    return 0;
}

const struct rest_extra approval_extras[] = {
    {
        .group = "certificates.k8s.io",
        .resource = "certificatesigningrequests",
        .subresource = "approval",
        .kind = "CertificateSigningRequest",
        .verbs = "get patch update",
        .handle = handle,
    },
    {0},
};

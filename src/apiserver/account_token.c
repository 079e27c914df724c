#include "apiserver/account_token.h"

#include <string.h>

#include "api/meta.h"
#include "apiserver/account_internal.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "pki/jwt.h"
#include "pki/pki.h"

/* --- Issuing --- */

/* What a token is for; exp_s 0: no end. */
struct order {
    yyjson_val *account;
    yyjson_mut_val *audiences;
    int64_t now_s, exp_s;
    const struct account_bound *bound; /* NULL: to nothing but its account */
    yyjson_val *object;                /* that one */
};

static void set_ref(yyjson_mut_doc *d, const char *claim, const char *name, const char *uid)
{
    _cleanup_free_ char *name_path = xasprintf("/kubernetes.io/%s/name", claim),
                        *uid_path = xasprintf("/kubernetes.io/%s/uid", claim);

    json_set_str(d, name_path, name);
    json_set_str(d, uid_path, uid);
}

static char *claims_of(const struct order *o, yyjson_mut_doc *d)
{
    _cleanup_free_ char *subject = account_subject(o->account);
    char id[UUID_TEXT];

    json_set(d, "/aud", o->audiences);
    if (o->exp_s)
        json_set_int(d, "/exp", o->exp_s);
    json_set_int(d, "/iat", o->now_s);
    json_set_int(d, "/nbf", o->now_s);
    json_set_str(d, "/iss", TOKEN_AUDIENCE);
    json_set_str(d, "/jti", random_uuid(id));
    json_set_str(d, "/sub", subject);
    json_set_str(d, "/kubernetes.io/namespace", meta_namespace(o->account));
    set_ref(d, "serviceaccount", meta_name(o->account), meta_uid(o->account));
    if (o->bound)
        set_ref(d, o->bound->claim, meta_name(o->object), meta_uid(o->object));
    return json_text(d->root);
}

static yyjson_mut_val *audiences_in(yyjson_mut_doc *d, yyjson_val *request)
{
    yyjson_val *asked = json_at(request, "/spec/audiences");
    yyjson_mut_val *list;

    if (yyjson_arr_size(asked))
        return yyjson_val_mut_copy(d, asked);
    list = yyjson_mut_arr(d);
    yyjson_mut_arr_add_str(d, list, TOKEN_AUDIENCE);
    return list;
}

static int issue(struct rest_server *s, const struct order *o, yyjson_mut_doc *claims, char **ret, struct gw_error *err)
{
    _cleanup_free_ char *text = claims_of(o, claims);

    return jwt_sign(s->token_key, text, ret, err);
}

int account_token_for_secret(struct rest_server *s, yyjson_val *account, yyjson_val *secret, char **ret,
                             struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *claims = json_object();
    const struct order o = {
        .account = account,
        .audiences = audiences_in(claims, NULL),
        .now_s = s->now(s->data) / 1000,
        .bound = account_bound_find("Secret"),
        .object = secret,
    };

    return issue(s, &o, claims, ret, err);
}

/* --- TokenRequest --- */

/* The object that spec.boundObjectRef names, as Kubernetes checks it (registry/core/serviceaccount/storage/token.go).
 */
static int read_bound(struct rest_server *s, yyjson_val *account, yyjson_val *ref, struct order *o, yyjson_doc **ret,
                      struct gw_error *err)
{
    const char *kind_name = json_str_or(ref, "/kind", ""), *name = json_str_or(ref, "/name", ""),
               *uid = json_str_or(ref, "/uid", "");
    const struct kind *kind;
    yyjson_val *object;
    int r;

    o->bound = account_bound_find(kind_name);
    if (!o->bound || !streq(json_str_or(ref, "/apiVersion", "v1"), "v1"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "spec.boundObjectRef: cannot bind a token to a %s of %s: want a Pod, Secret or Node of v1",
                            *kind_name ? kind_name : "(no kind)", json_str_or(ref, "/apiVersion", "v1"));
    kind = kinds_find_kind(s->kinds, "", NULL, kind_name);
    r = kind ? rest_read(s, kind, kind->namespaced ? meta_namespace(account) : NULL, name, ret, err)
             : gw_error_set(err, GW_BAD_REQUEST, "spec.boundObjectRef: kind %s is not served", kind_name);
    if (r < 0)
        return r;
    object = o->object = yyjson_doc_get_root(*ret);
    if (*uid && !streq(uid, meta_uid(object)))
        return gw_error_set(err, GW_CONFLICT,
                            "the UID in the bound object reference (%s) does not match the UID in record (%s): the "
                            "object might have been deleted and then recreated",
                            uid, meta_uid(object));
    if (streq(kind_name, "Pod") &&
        !streq(json_str_or(object, "/spec/serviceAccountName", "default"), meta_name(account)))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "cannot bind token for serviceaccount \"%s\" to pod running with different serviceaccount "
                            "name",
                            meta_name(account));
    return 0;
}

static int answer(struct rest_server *s, yyjson_val *account, yyjson_val *request, yyjson_mut_doc *d,
                  struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *claims = json_object();
    _cleanup_doc_ yyjson_doc *object = NULL;
    _cleanup_key_ char *token = NULL;
    struct order o = {.account = account, .now_s = s->now(s->data) / 1000};
    yyjson_val *ref = json_at(request, "/spec/boundObjectRef");
    char time[CLOCK_TEXT_MAX];
    int r = yyjson_is_obj(ref) ? read_bound(s, account, ref, &o, &object, err) : 0;

    if (r < 0)
        return r;
    o.audiences = audiences_in(claims, request);
    o.exp_s = o.now_s + json_int(request, "/spec/expirationSeconds", 3600);
    r = issue(s, &o, claims, &token, err);
    if (r < 0)
        return r;
    json_set(d, "/spec/audiences", audiences_in(d, request));
    json_set_str(d, "/status/token", token);
    json_set_str(d, "/status/expirationTimestamp", clock_format(o.exp_s * 1000, time));
    return 0;
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(s->kinds, "authentication.k8s.io", NULL, "TokenRequest");
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *account = NULL, *request = NULL;
    int r;

    if (!streq(t->verb, "create"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (!s->token_key || !kind)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "this server has no key for tokens");
    r = rest_decode(s, q, kind, &d, err);
    r = r < 0 ? r : rest_read(s, t->kind, t->namespace, t->name, &account, err);
    if (r < 0)
        return r;
    request = yyjson_mut_doc_imut_copy(d, NULL);
    json_set_str(d, "/metadata/name", t->name);
    json_set_str(d, "/metadata/namespace", t->namespace);
    r = answer(s, yyjson_doc_get_root(account), yyjson_doc_get_root(request), d, err);
    if (r == 0)
        api_response_json(response, 201, json_encode(yyjson_mut_doc_get_root(d)));
    return r;
}

const struct rest_extra account_token_extras[] = {
    {.group = "",
     .resource = "serviceaccounts",
     .subresource = "token",
     .kind = "TokenRequest",
     .verbs = "create",
     .handle = handle},
    {0},
};

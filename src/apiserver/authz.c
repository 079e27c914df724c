#include "apiserver/authz.h"

#include <string.h>

#include "base/str.h"

#define CSR_GROUP "certificates.k8s.io"
#define CSR_RESOURCE "certificatesigningrequests"

const char *authz_node_of(const struct api_user *user)
{
    if (!api_user_in_group(user, GROUP_NODES) || !str_starts(user->name, NODE_USER_PREFIX))
        return "";
    return user->name + strlen(NODE_USER_PREFIX);
}

bool authz_may_discover(const struct api_user *user)
{
    return api_user_in_group(user, GROUP_AUTHENTICATED);
}

/* A request made with the same token is not told apart from one's own: all joining nodes bring the same one, and what
 * they could read of each other is a public key. */
static bool own_csr(struct rest_server *s, const struct api_user *user, const struct rest_target *t)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    const char *by;

    if (!t->name || !t->kind || rest_read(s, t->kind, NULL, t->name, &doc, NULL) < 0)
        return t->name != NULL; /* absent: let it be said */
    by = json_str(yyjson_doc_get_root(doc), "/spec/username");
    return by && streq(by, user->name);
}

static bool bootstrapper_may(struct rest_server *s, const struct api_user *user, const struct rest_target *t,
                             yyjson_val *object)
{
    if (!streq(t->group, CSR_GROUP) || !streq(t->resource, CSR_RESOURCE) || t->subresource)
        return false;
    if (streq(t->verb, "create"))
        return !object ||
               streq(json_str_or(object, "/spec/signerName", ""), "kubernetes.io/kube-apiserver-client-kubelet");
    return streq(t->verb, "get") && own_csr(s, user, t);
}

int authz_check(void *data, const struct api_user *user, const struct rest_target *target, yyjson_val *old,
                yyjson_val *object, struct gw_error *err)
{
    struct rest_server *s = data;
    const char *node = authz_node_of(user);

    if (api_user_in_group(user, GROUP_MASTERS))
        return 0;
    if (api_user_in_group(user, GROUP_CONTROLLERS))
        return authz_is_vmi(target) && old && object ? authz_check_vmi(s, NULL, user, target, old, object, err) : 0;
    if (*node)
        return authz_check_node(s, node, user, target, old, object, err);
    if (api_user_in_group(user, GROUP_BOOTSTRAPPERS) && bootstrapper_may(s, user, target, object))
        return 0;
    return rest_forbid(user, target, NULL, err);
}

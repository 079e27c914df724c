#include "apiserver/authz.h"

#include <string.h>

#include "api/selector.h"
#include "apiserver/roles.h"
#include "base/alloc.h"

#define CSR_GROUP "certificates.k8s.io"
#define CSR_RESOURCE "certificatesigningrequests"

const char *authz_node_of(const struct api_user *user)
{
    if (!api_user_in_group(user, GROUP_NODES) || !str_starts(user->name, NODE_USER_PREFIX))
        return "";
    return user->name + strlen(NODE_USER_PREFIX);
}

bool authz_is_master(const struct api_user *user)
{
    return api_user_in_group(user, GROUP_MASTERS) || api_user_in_group(user, GROUP_CONTROLLERS);
}

/* --- Roles --- */

/* "metadata.name=X" selects one object: a list or watch of it is judged as X (Kubernetes does so since 1.4). */
static struct field_selector *name_selector(const struct rest_target *t)
{
    static const char *const allowed[] = {"metadata.name", NULL};
    struct field_selector *fs = NULL;

    if (!t->name && t->field_selector)
        (void)field_selector_parse(t->field_selector, allowed, &fs, NULL);
    return fs;
}

static bool has_role(struct rest_server *s, const struct api_user *user, const struct rest_target *t, struct str *why)
{
    _cleanup_field_selector_ struct field_selector *fs = name_selector(t);
    _cleanup_free_ char *resource =
        t->path ? NULL
                : xasprintf("%s%s%s", t->resource, t->subresource ? "/" : "", t->subresource ? t->subresource : "");
    const struct rbac_request q = {
        .verb = t->verb,
        .group = t->group,
        .resource = resource,
        .name = fs ? field_selector_exact(fs, "metadata.name") : t->name,
        .path = t->path,
    };
    const struct rbac_user who = roles_user(user);
    struct rbac_grant grant;
    bool found;

    if (!s->roles)
        return false;
    found = rbac_policy_allows(roles_lock(s->roles), &who, rest_target_namespace(t), &q, &grant);
    if (found && why)
        rbac_grant_text(why, &grant);
    roles_unlock(s->roles);
    return found;
}

void authz_why(struct rest_server *s, const struct api_user *user, const struct rest_target *target, struct str *out)
{
    if (!authz_is_master(user) && !*authz_node_of(user))
        (void)has_role(s, user, target, out);
}

static bool is_written(const struct rest_target *t, yyjson_val *object)
{
    return object && streq(t->group, RBAC_GROUP);
}

static int check_roles(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                       yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    if (!has_role(s, user, target, NULL))
        return rest_forbid(user, target, NULL, err);
    return is_written(target, object) ? authz_check_escalation(s, user, target, old, object, err) : 0;
}

/* --- Joining nodes --- */

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

/* All, but for what would give a guest or a disk two owners. */
static int check_controllers(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                             yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    if (target->path || !old || !object)
        return 0;
    if (authz_is_vmi(target))
        return authz_check_vmi(s, NULL, user, target, old, object, err);
    return authz_is_claim(target) ? authz_check_claim(s, user, target, old, object, err) : 0;
}

int authz_check(void *data, const struct api_user *user, const struct rest_target *target, yyjson_val *old,
                yyjson_val *object, struct gw_error *err)
{
    struct rest_server *s = data;
    const char *node = authz_node_of(user);

    if (s->roles)
        roles_keep_up(s->roles);
    if (api_user_in_group(user, GROUP_MASTERS))
        return 0;
    if (api_user_in_group(user, GROUP_CONTROLLERS))
        return check_controllers(s, user, target, old, object, err);
    if (*node && !target->path)
        return authz_check_node(s, node, user, target, old, object, err);
    if (!target->path && api_user_in_group(user, GROUP_BOOTSTRAPPERS) && bootstrapper_may(s, user, target, object))
        return 0;
    return check_roles(s, user, target, old, object, err);
}

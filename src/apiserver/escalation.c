/* Who may write roles must not thereby get, or give, rights that he lacks: every rule of a role that is written, and of
 * the role that a binding names, must be covered by the writer's own rules there. The verbs escalate (on a role) and
 * bind (on the role named) lift this (Kubernetes: registry/rbac/escalation_check). */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/roles.h"
#include "base/alloc.h"

struct writer {
    const struct rbac_policy *policy;
    const struct api_user *user;
    struct rbac_user who;
    const struct rest_target *target;
    const char *namespace; /* NULL: everywhere */
    yyjson_val *object;
};

static bool holds(void *data, const struct rbac_request *q)
{
    const struct writer *w = data;

    return rbac_policy_allows(w->policy, &w->who, w->namespace, q, NULL);
}

static int refuse(const struct writer *w, struct gw_error *err, const char *why)
{
    return gw_error_set(err, GW_FORBIDDEN, "%s.%s \"%s\" is forbidden: %s", w->target->resource, w->target->group,
                        meta_name(w->object), why);
}

static void add_groups(struct str *out, const struct api_user *u)
{
    for (size_t i = 0; i < u->n_groups; i++)
        str_printf(out, "%s\"%s\"", i ? " " : "", u->groups[i]);
}

static int check_held(struct writer *w, yyjson_val *rules, struct gw_error *err)
{
    _cleanup_str_ struct str lacking = {0}, why = {0};
    yyjson_val *rule;

    json_each(rules, rule)
        if (!rbac_rule_covered(rule, holds, w)) {
            str_putc(&lacking, '\n');
            rbac_rule_text(&lacking, rule);
        }
    if (!lacking.len)
        return 0;
    str_printf(&why, "user \"%s\" (groups=[", w->user->name);
    add_groups(&why, w->user);
    str_printf(&why, "]) is attempting to grant RBAC permissions not currently held:%s", str_text(&lacking));
    return refuse(w, err, str_text(&why));
}

/* Labels that others put on their roles decide what flows together, so only who has every right may say that they do.
 */
static int check_aggregation(struct writer *w, yyjson_val *old, struct gw_error *err)
{
    const struct rbac_request all = {.verb = "*", .group = "*", .resource = "*"}, paths = {.verb = "*", .path = "*"};

    if (!json_at(w->object, "/aggregationRule") && !json_at(old, "/aggregationRule"))
        return 0;
    if (holds(w, &all) && holds(w, &paths))
        return 0;
    return refuse(w, err, "must have cluster-admin privileges to use the aggregationRule");
}

static int check_role(struct writer *w, yyjson_val *old, struct gw_error *err)
{
    const struct rbac_request escalate = {
        .verb = "escalate", .group = RBAC_GROUP, .resource = w->target->resource, .name = meta_name(w->object)};
    int r = holds(w, &escalate) ? 0 : check_aggregation(w, old, err);

    return r < 0 || holds(w, &escalate) ? r : check_held(w, json_at(w->object, "/rules"), err);
}

static int check_binding(struct writer *w, struct gw_error *err)
{
    bool role = streq(json_str_or(w->object, "/roleRef/kind", ""), "Role");
    const char *name = json_str_or(w->object, "/roleRef/name", ""), *resource = role ? "roles" : "clusterroles";
    const char *home = role ? w->namespace : "";
    const struct rbac_request bind = {.verb = "bind", .group = RBAC_GROUP, .resource = resource, .name = name};

    if (holds(w, &bind))
        return 0;
    if (!rbac_policy_has_role(w->policy, home, name)) {
        gw_error_set(err, GW_NOT_FOUND, "%s.%s \"%s\" not found", resource, RBAC_GROUP, name);
        return -ENOENT;
    }
    return check_held(w, rbac_policy_rules(w->policy, home, name), err);
}

int authz_check_escalation(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                           yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    struct writer w = {
        .user = user, .who = roles_user(user), .target = target, .namespace = target->namespace, .object = object};
    int r;

    w.policy = roles_lock(s->roles);
    r = str_ends(target->resource, "bindings") ? check_binding(&w, err) : check_role(&w, old, err);
    roles_unlock(s->roles);
    return r;
}

/* Roles and bindings: rules that could never allow anything are refused, and so are subjects that nobody could be. A
 * binding keeps its role, so that whoever may edit its subjects can't turn it into another right (Kubernetes:
 * apis/rbac/validation). */
#include <string.h>

#include "api/rules/common.h"
#include "api/rules/kinds.h"

#define GROUP "rbac.authorization.k8s.io"

/* --- Roles --- */

static bool is_empty(yyjson_val *rule, const char *field)
{
    return yyjson_arr_size(yyjson_obj_get(rule, field)) == 0;
}

static void check_urls(struct where *w, size_t i, yyjson_val *rule, bool namespaced)
{
    _cleanup_free_ char *urls = field_quote(yyjson_obj_get(rule, "nonResourceURLs"));
    const char *field = at(w, "rules[%zu].nonResourceURLs", i);

    if (namespaced)
        field_invalid(w->err, field, urls, "namespaced rules cannot apply to non-resource URLs");
    if (!is_empty(rule, "apiGroups") || !is_empty(rule, "resources") || !is_empty(rule, "resourceNames"))
        field_invalid(w->err, field, urls, "rules cannot apply to both regular resources and non-resource URLs");
}

static void check_rules(yyjson_val *role, bool namespaced, struct gw_error *err)
{
    struct where w = {.base = "", .err = err};
    yyjson_val *rule;
    size_t i;

    json_each_at(json_at(role, "/rules"), i, rule) {
        if (is_empty(rule, "verbs"))
            field_required(err, at(&w, "rules[%zu].verbs", i), "verbs must contain at least one value");
        if (!is_empty(rule, "nonResourceURLs")) {
            check_urls(&w, i, rule, namespaced);
            continue;
        }
        if (is_empty(rule, "apiGroups"))
            field_required(err, at(&w, "rules[%zu].apiGroups", i), "resource rules must supply at least one api group");
        if (is_empty(rule, "resources"))
            field_required(err, at(&w, "rules[%zu].resources", i), "resource rules must supply at least one resource");
    }
}

static void validate_role(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    check_rules(object, true, err);
}

static void validate_clusterrole(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    yyjson_val *aggregation = json_at(object, "/aggregationRule");

    check_rules(object, false, err);
    if (aggregation && is_empty(aggregation, "clusterRoleSelectors"))
        field_required(err, "aggregationRule.clusterRoleSelectors",
                       "at least one clusterRoleSelector required if aggregationRule is non-nil");
}

/* --- Bindings --- */

static void binding_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_mut_val *subjects = yyjson_mut_obj_get(d->root, "subjects"), *s;
    yyjson_mut_arr_iter it;

    yyjson_mut_arr_iter_init(subjects, &it);
    while ((s = yyjson_mut_arr_iter_next(&it))) {
        yyjson_mut_val *kind = yyjson_mut_obj_get(s, "kind"), *group = yyjson_mut_obj_get(s, "apiGroup");

        if ((!group || yyjson_mut_equals_str(group, "")) &&
            (yyjson_mut_equals_str(kind, "User") || yyjson_mut_equals_str(kind, "Group")))
            yyjson_mut_obj_put(s, yyjson_mut_str(d, "apiGroup"), yyjson_mut_str(d, GROUP));
    }
}

static void check_word(struct gw_error *err, const char *field, const char *text, const char *const *supported)
{
    _cleanup_free_ char *quoted = xasprintf("\"%s\"", text);

    for (const char *const *s = supported; *s; s++)
        if (streq(*s, text))
            return;
    field_unsupported(err, field, quoted, supported);
}

static void check_role_ref(yyjson_val *binding, bool namespaced, struct gw_error *err)
{
    static const char *const groups[] = {GROUP, NULL}, *const kinds[] = {"ClusterRole", "Role", NULL};

    check_word(err, "roleRef.apiGroup", json_str_or(binding, "/roleRef/apiGroup", ""), groups);
    check_word(err, "roleRef.kind", json_str_or(binding, "/roleRef/kind", ""),
               namespaced ? kinds : (const char *const[]){"ClusterRole", NULL});
    if (!*json_str_or(binding, "/roleRef/name", ""))
        field_required(err, "roleRef.name", "%s", "");
}

static void check_subject(struct where *w, size_t i, yyjson_val *subject)
{
    static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
    const char *kind = json_str_or(subject, "/kind", ""), *group = json_str_or(subject, "/apiGroup", "");
    bool account = streq(kind, "ServiceAccount");

    if (!*json_str_or(subject, "/name", ""))
        field_required(w->err, at(w, "subjects[%zu].name", i), "%s", "");
    check_word(w->err, at(w, "subjects[%zu].kind", i), kind, kinds);
    check_word(w->err, at(w, "subjects[%zu].apiGroup", i), group, (const char *const[]){account ? "" : GROUP, NULL});
    if (account && !*json_str_or(subject, "/namespace", ""))
        field_required(w->err, at(w, "subjects[%zu].namespace", i), "%s", "");
}

static void check_binding(yyjson_val *object, yyjson_val *old, bool namespaced, struct gw_error *err)
{
    struct where w = {.base = "", .err = err};
    yyjson_val *ref = json_at(object, "/roleRef"), *subject;
    size_t i;

    check_role_ref(object, namespaced, err);
    json_each_at(json_at(object, "/subjects"), i, subject)
        check_subject(&w, i, subject);
    if (old && !json_equal(ref, json_at(old, "/roleRef"))) {
        _cleanup_free_ char *text = field_quote(ref);

        field_invalid(err, "roleRef", text, "cannot change roleRef");
    }
}

static void validate_rolebinding(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    check_binding(object, old, true, err);
}

static void validate_clusterrolebinding(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    check_binding(object, old, false, err);
}

const struct rules role_rules = {.group = GROUP, .kind = "Role", .validate = validate_role};
const struct rules clusterrole_rules = {.group = GROUP, .kind = "ClusterRole", .validate = validate_clusterrole};
const struct rules rolebinding_rules = {
    .group = GROUP, .kind = "RoleBinding", .set_defaults = binding_defaults, .validate = validate_rolebinding};
const struct rules clusterrolebinding_rules = {.group = GROUP,
                                               .kind = "ClusterRoleBinding",
                                               .set_defaults = binding_defaults,
                                               .validate = validate_clusterrolebinding};

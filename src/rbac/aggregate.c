#include "api/selector.h"
#include "rbac/rbac.h"

static bool is_selected(yyjson_val *selectors, yyjson_val *role)
{
    yyjson_val *item;

    json_each(selectors, item) {
        _cleanup_selector_ struct selector *s = NULL;

        if (selector_from_object(item, &s, NULL) == 0 && selector_matches(s, json_at(role, "/metadata/labels")))
            return true;
    }
    return false;
}

static bool is_listed(yyjson_mut_val *list, yyjson_val *rule)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(rule);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    yyjson_mut_val *item;

    while ((item = yyjson_mut_arr_iter_next(&it)))
        if (yyjson_mut_equals(item, d->root))
            return true;
    return false;
}

static void add_rules(yyjson_mut_doc *d, yyjson_mut_val *list, yyjson_val *role)
{
    yyjson_val *rule;

    json_each(json_at(role, "/rules"), rule)
        if (!is_listed(list, rule))
            yyjson_mut_arr_append(list, yyjson_val_mut_copy(d, rule));
}

yyjson_mut_val *rbac_aggregate(yyjson_mut_doc *d, yyjson_val *role, yyjson_val *const *roles, size_t n)
{
    yyjson_val *selectors = json_at(role, "/aggregationRule/clusterRoleSelectors");
    const char *name = json_str_or(role, "/metadata/name", "");
    yyjson_mut_val *list;

    if (!json_at(role, "/aggregationRule"))
        return NULL;
    list = yyjson_mut_arr(d);
    for (size_t i = 0; i < n; i++)
        if (!streq(json_str_or(roles[i], "/metadata/name", ""), name) && is_selected(selectors, roles[i]))
            add_rules(d, list, roles[i]);
    return list;
}

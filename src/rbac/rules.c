#include <string.h>

#include "rbac/rbac.h"

static bool has_text(yyjson_val *list, const char *text)
{
    yyjson_val *item;

    json_each(list, item)
        if (yyjson_equals_str(item, text))
            return true;
    return false;
}

static bool has_word(yyjson_val *rule, const char *field, const char *word)
{
    yyjson_val *list = yyjson_obj_get(rule, field);

    return has_text(list, word) || has_text(list, "*");
}

/* "*" stands for all resources with all their subresources, "x/log" as written, and "*" before a slash for any
 * resource. */
static bool has_resource(yyjson_val *rule, const char *resource)
{
    const char *slash = strchr(resource, '/'), *text;
    yyjson_val *item;

    if (has_word(rule, "resources", resource))
        return true;
    if (!slash)
        return false;
    json_each(yyjson_obj_get(rule, "resources"), item)
        if ((text = yyjson_get_str(item)) && text[0] == '*' && streq(text + 1, slash))
            return true;
    return false;
}

static bool has_name(yyjson_val *rule, const char *name)
{
    yyjson_val *names = yyjson_obj_get(rule, "resourceNames");

    return yyjson_arr_size(names) == 0 || (name && *name && has_text(names, name));
}

static bool has_path(yyjson_val *rule, const char *path)
{
    yyjson_val *item;

    json_each(yyjson_obj_get(rule, "nonResourceURLs"), item) {
        const char *text = yyjson_get_str(item);
        size_t len = text ? strlen(text) : 0;

        if (len && (streq(text, path) || (text[len - 1] == '*' && strncmp(text, path, len - 1) == 0)))
            return true;
    }
    return false;
}

bool rbac_rule_allows(yyjson_val *rule, const struct rbac_request *q)
{
    if (!has_word(rule, "verbs", q->verb))
        return false;
    if (!q->resource)
        return has_path(rule, q->path);
    return has_word(rule, "apiGroups", q->group) && has_resource(rule, q->resource) && has_name(rule, q->name);
}

bool rbac_rules_allow(yyjson_val *rules, const struct rbac_request *q)
{
    yyjson_val *rule;

    json_each(rules, rule)
        if (rbac_rule_allows(rule, q))
            return true;
    return false;
}

/* --- Covering: every request that a rule stands for, asked one by one. A wildcard is asked as the word it is, which
 * only a wildcard answers. --- */

struct cover {
    yyjson_val *rule;
    rbac_allows_fn *allows;
    void *data;
};

static bool paths_covered(const struct cover *c, const char *verb)
{
    yyjson_val *path;

    json_each(yyjson_obj_get(c->rule, "nonResourceURLs"), path)
        if (!c->allows(c->data, &(struct rbac_request){.verb = verb, .path = yyjson_get_str(path)}))
            return false;
    return true;
}

static bool names_covered(const struct cover *c, struct rbac_request *q)
{
    yyjson_val *names = yyjson_obj_get(c->rule, "resourceNames"), *name;

    q->name = NULL;
    if (yyjson_arr_size(names) == 0)
        return c->allows(c->data, q);
    json_each(names, name) {
        q->name = yyjson_get_str(name);
        if (!c->allows(c->data, q))
            return false;
    }
    return true;
}

static bool resources_covered(const struct cover *c, const char *verb)
{
    yyjson_val *group, *resource;

    json_each(yyjson_obj_get(c->rule, "apiGroups"), group)
        json_each(yyjson_obj_get(c->rule, "resources"), resource) {
            struct rbac_request q = {
                .verb = verb, .group = yyjson_get_str(group), .resource = yyjson_get_str(resource)};

            if (!names_covered(c, &q))
                return false;
        }
    return true;
}

bool rbac_rule_covered(yyjson_val *rule, rbac_allows_fn *allows, void *data)
{
    const struct cover c = {rule, allows, data};
    yyjson_val *verb;

    json_each(yyjson_obj_get(rule, "verbs"), verb)
        if (!paths_covered(&c, yyjson_get_str(verb)) || !resources_covered(&c, yyjson_get_str(verb)))
            return false;
    return true;
}

static bool allowed_by_rules(void *data, const struct rbac_request *q)
{
    return rbac_rules_allow(data, q);
}

void rbac_rules_missing(yyjson_val *have, yyjson_val *wanted, yyjson_mut_doc *d, yyjson_mut_val *out)
{
    yyjson_val *rule;

    json_each(wanted, rule)
        if (!rbac_rule_covered(rule, allowed_by_rules, have))
            yyjson_mut_arr_append(out, yyjson_val_mut_copy(d, rule));
}

/* --- Text --- */

void rbac_rule_text(struct str *out, yyjson_val *rule)
{
    static const char *const fields[][2] = {{"apiGroups", "APIGroups"},
                                            {"resources", "Resources"},
                                            {"resourceNames", "ResourceNames"},
                                            {"nonResourceURLs", "NonResourceURLs"},
                                            {"verbs", "Verbs"}};
    const char *before = "{";
    yyjson_val *item;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        yyjson_val *list = yyjson_obj_get(rule, fields[i][0]);
        size_t k;

        if (yyjson_arr_size(list) == 0)
            continue;
        str_printf(out, "%s%s:[", before, fields[i][1]);
        json_each_at(list, k, item)
            str_printf(out, "%s\"%s\"", k ? " " : "", yyjson_get_str(item));
        str_putc(out, ']');
        before = ", ";
    }
    str_putc(out, '}');
}

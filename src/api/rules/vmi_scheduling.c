#include <string.h>

#include "api/names.h"
#include "api/rules/vmi_spec.h"

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

static bool is_integer(const char *text)
{
    const char *digits = text + (*text == '-');

    return *digits && strspn(digits, "0123456789") == strlen(digits);
}

/* One condition {key, operator, values}; path is its field path below the spec. */
static void check_requirement(struct where *w, const char *path, yyjson_val *r)
{
    const char *operator= json_str_or(r, "/operator", ""), *key = json_str_or(r, "/key", "");
    const char *fault = qualified_name_fault(key);
    size_t values = yyjson_arr_size(yyjson_obj_get(r, "values"));
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(r, "values")),
                        *key_text = field_quote(yyjson_obj_get(r, "key"));

    if (fault)
        field_invalid(w->err, at(w, "%s.key", path), key_text, "%s", fault);
    if ((streq(operator, "In") || streq(operator, "NotIn")) && values == 0)
        field_required(w->err, at(w, "%s.values", path), "must be specified when `operator` is 'In' or 'NotIn'");
    else if ((streq(operator, "Exists") || streq(operator, "DoesNotExist")) && values > 0)
        field_forbidden(w->err, at(w, "%s.values", path),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if ((streq(operator, "Gt") || streq(operator, "Lt")) &&
             (values != 1 || !is_integer(json_str_or(r, "/values/0", ""))))
        field_invalid(w->err, at(w, "%s.values", path), text, "must be one integer for operators 'Gt' and 'Lt'");
}

static void check_requirements(struct where *w, const char *path, const char *list, yyjson_val *requirements)
{
    yyjson_val *r;
    size_t i;

    json_each_at(requirements, i, r) {
        _cleanup_free_ char *item = xasprintf("%s.%s[%zu]", path, list, i);
        check_requirement(w, item, r);
    }
}

static void check_node_term(struct where *w, const char *path, yyjson_val *term)
{
    yyjson_val *fields = yyjson_obj_get(term, "matchFields"), *f;
    size_t i;

    check_requirements(w, path, "matchExpressions", yyjson_obj_get(term, "matchExpressions"));
    check_requirements(w, path, "matchFields", fields);
    json_each_at(fields, i, f) {
        _cleanup_free_ char *text = field_quote(yyjson_obj_get(f, "key"));
        if (!streq(json_str_or(f, "/key", ""), "metadata.name"))
            field_invalid(w->err, at(w, "%s.matchFields[%zu].key", path, i), text, "not a valid field selector key");
    }
}

static void check_node_affinity(struct where *w, yyjson_val *affinity)
{
    yyjson_val *required = yyjson_obj_get(affinity, REQUIRED), *item;
    yyjson_val *terms = yyjson_obj_get(required, "nodeSelectorTerms");
    size_t i;

    if (required && yyjson_arr_size(terms) == 0)
        field_required(w->err, at(w, "affinity.nodeAffinity.%s.nodeSelectorTerms", REQUIRED),
                       "must have at least one node selector term");
    json_each_at(terms, i, item) {
        _cleanup_free_ char *path = xasprintf("affinity.nodeAffinity.%s.nodeSelectorTerms[%zu]", REQUIRED, i);
        check_node_term(w, path, item);
    }
    json_each_at(yyjson_obj_get(affinity, PREFERRED), i, item) {
        _cleanup_free_ char *path = xasprintf("affinity.nodeAffinity.%s[%zu].preference", PREFERRED, i);
        check_node_term(w, path, yyjson_obj_get(item, "preference"));
    }
}

static void check_pod_term(struct where *w, const char *path, yyjson_val *term)
{
    static const char *const selectors[] = {"labelSelector", "namespaceSelector"};

    if (!*json_str_or(term, "/topologyKey", ""))
        field_required(w->err, at(w, "%s.topologyKey", path), "can not be empty");
    for (size_t i = 0; i < ARRAY_SIZE(selectors); i++) {
        yyjson_val *selector = yyjson_obj_get(term, selectors[i]);
        _cleanup_free_ char *below = xasprintf("%s.%s", path, selectors[i]);
        _cleanup_free_ char *labels = xasprintf("%s.matchLabels", below);
        labels_check(at(w, "%s", labels), yyjson_obj_get(selector, "matchLabels"), w->err);
        check_requirements(w, below, "matchExpressions", yyjson_obj_get(selector, "matchExpressions"));
    }
}

static void check_pod_affinity(struct where *w, const char *name, yyjson_val *affinity)
{
    yyjson_val *item;
    size_t i;

    json_each_at(yyjson_obj_get(affinity, REQUIRED), i, item) {
        _cleanup_free_ char *path = xasprintf("affinity.%s.%s[%zu]", name, REQUIRED, i);
        check_pod_term(w, path, item);
    }
    json_each_at(yyjson_obj_get(affinity, PREFERRED), i, item) {
        _cleanup_free_ char *path = xasprintf("affinity.%s.%s[%zu].podAffinityTerm", name, PREFERRED, i);
        check_pod_term(w, path, yyjson_obj_get(item, "podAffinityTerm"));
    }
}

static void check_toleration(struct where *w, size_t i, yyjson_val *t)
{
    const char *key = json_str_or(t, "/key", ""), *operator= json_str_or(t, "/operator", "Equal");
    const char *fault = *key ? qualified_name_fault(key) : NULL;
    _cleanup_free_ char *text = xasprintf("\"%s\"", operator), *key_text = xasprintf("\"%s\"", key);

    if (fault)
        field_invalid(w->err, at(w, "tolerations[%zu].key", i), key_text, "%s", fault);
    if (!*key && !streq(operator, "Exists"))
        field_invalid(w->err, at(w, "tolerations[%zu].operator", i), text,
                      "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (streq(operator, "Exists") && *json_str_or(t, "/value", ""))
        field_invalid(w->err, at(w, "tolerations[%zu].operator", i), text,
                      "value must be empty when `operator` is 'Exists'");
    if (yyjson_obj_get(t, "tolerationSeconds") && !streq(json_str_or(t, "/effect", ""), "NoExecute"))
        field_invalid(w->err, at(w, "tolerations[%zu].effect", i), "\"\"",
                      "effect must be 'NoExecute' when `tolerationSeconds` is set");
}

void vmi_scheduling_check(yyjson_val *spec, struct where *w)
{
    yyjson_val *item;
    size_t i;

    labels_check(at(w, "nodeSelector"), json_at(spec, "/nodeSelector"), w->err);
    check_node_affinity(w, json_at(spec, "/affinity/nodeAffinity"));
    check_pod_affinity(w, "podAffinity", json_at(spec, "/affinity/podAffinity"));
    check_pod_affinity(w, "podAntiAffinity", json_at(spec, "/affinity/podAntiAffinity"));
    json_each_at(json_at(spec, "/tolerations"), i, item)
        check_toleration(w, i, item);
}

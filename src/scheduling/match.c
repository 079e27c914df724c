/* Does a node or a taint match: pure questions about two objects. */
#include "scheduling/query.h"

#include <string.h>

#include "api/meta.h"
#include "api/selector.h"

/* matchFields: the only field that nodes can be selected by is metadata.name, with In or NotIn. */
static bool fields_match(yyjson_val *fields, yyjson_val *node)
{
    yyjson_val *f, *value;

    json_each(fields, f) {
        bool in = streq(json_str_or(f, "/operator", ""), "In"), listed = false;
        if (!streq(json_str_or(f, "/key", ""), "metadata.name"))
            return false;
        json_each(json_at(f, "/values"), value)
            listed = listed || yyjson_equals_str(value, meta_name(node));
        if (listed != in)
            return false;
    }
    return true;
}

bool node_term_matches(yyjson_val *term, yyjson_val *node)
{
    yyjson_val *expressions = json_at(term, "/matchExpressions"), *fields = json_at(term, "/matchFields");
    _cleanup_selector_ struct selector *s = NULL;

    if (!yyjson_arr_size(expressions) && !yyjson_arr_size(fields))
        return false; /* an empty term matches nothing, as Kubernetes has it */
    if (!fields_match(fields, node))
        return false;
    if (!yyjson_arr_size(expressions))
        return true;
    return selector_from_expressions(expressions, &s, NULL) >= 0 &&
           selector_matches(s, json_at(node, "/metadata/labels"));
}

bool sched_node_terms_match(yyjson_val *terms, yyjson_val *node)
{
    yyjson_val *term;

    json_each(terms, term)
        if (node_term_matches(term, node))
            return true;
    return false;
}

static bool tolerates(yyjson_val *t, yyjson_val *taint)
{
    const char *key = json_str_or(t, "/key", ""), *effect = json_str_or(t, "/effect", "");
    bool exists = streq(json_str_or(t, "/operator", "Equal"), "Exists");

    if (*effect && !streq(effect, json_str_or(taint, "/effect", "")))
        return false;
    if (*key && !streq(key, json_str_or(taint, "/key", "")))
        return false;
    if (exists)
        return true;
    return *key && streq(json_str_or(t, "/value", ""), json_str_or(taint, "/value", ""));
}

bool sched_tolerates(yyjson_val *tolerations, yyjson_val *taint)
{
    yyjson_val *t;

    json_each(tolerations, t)
        if (tolerates(t, taint))
            return true;
    return false;
}

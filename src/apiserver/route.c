#include "apiserver/route.h"

#include <errno.h>
#include <string.h>

/* The verb for a method on an item and on a collection; NULL where there is none. GET of a collection may turn into a
 * watch. */
static const struct {
    const char *method, *item, *collection;
} verbs[] = {
    {"GET", "get", "list"},      {"HEAD", "get", "list"},  {"POST", NULL, "create"},
    {"PUT", "update", "update"}, {"PATCH", "patch", NULL}, {"DELETE", "delete", "deletecollection"},
};

static const char *find_verb(const char *method, const struct rest_target *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!streq(verbs[i].method, method))
            continue;
        if (t->subresource && streq(method, "POST"))
            return "create"; /* pods/NAME/binding and the like */
        return t->name ? verbs[i].item : verbs[i].collection;
    }
    return NULL;
}

/* /api/VERSION/... and /apis/GROUP/VERSION/...; returns how many segments that took, 0 if it is neither. */
static size_t take_group_version(const struct http_uri *uri, struct rest_target *t)
{
    char **s = uri->segments;

    if (uri->n_segments >= 3 && streq(s[0], "api")) {
        t->group = "";
        t->version = s[1];
        return 2;
    }
    if (uri->n_segments >= 4 && streq(s[0], "apis")) {
        t->group = s[1];
        t->version = s[2];
        return 3;
    }
    return 0;
}

/* What stands behind the name: "start", "evacuate/cancel". Points into the decoded path. */
static const char *rest_of_path(const struct http_uri *uri, size_t first)
{
    const char *p = uri->path + 1;

    for (size_t i = 0; i < first; i++)
        p += strlen(uri->segments[i]) + 1;
    return p;
}

/* The Namespace kind lives under the word that begins the paths of namespaced kinds: only these are its subresources.
 */
static bool is_namespace_subresource(const char *segment)
{
    return streq(segment, "status") || streq(segment, "finalize");
}

int route_target(const char *method, const struct http_uri *uri, struct rest_target *ret, struct gw_error *err)
{
    struct rest_target t = {0};
    size_t at = take_group_version(uri, &t), left = uri->n_segments - at;
    char **s = uri->segments + at;

    if (at == 0)
        return -ENOENT;
    if (left >= 3 && streq(s[0], "namespaces") && !(left == 3 && is_namespace_subresource(s[2]))) {
        t.namespace = s[1];
        s += 2;
        left -= 2;
    }
    t.resource = s[0];
    t.name = left > 1 ? s[1] : NULL;
    t.subresource = left > 2 ? rest_of_path(uri, uri->n_segments - left + 2) : NULL;
    t.verb = find_verb(method, &t);
    if (!t.verb)
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (streq(t.verb, "list") && http_uri_flag(uri, "watch"))
        t.verb = "watch";
    t.label_selector = http_uri_param(uri, "labelSelector");
    t.field_selector = http_uri_param(uri, "fieldSelector");
    *ret = t;
    return 0;
}

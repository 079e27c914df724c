#include "apiserver/selection.h"

#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"

int selection_parse(const struct kind *kind, const char *namespace, const char *labels, const char *fields,
                    struct selection *ret, struct gw_error *err)
{
    int r = selector_parse(labels, &ret->labels, err);

    if (r == 0)
        r = field_selector_parse(fields, kind->selectable, &ret->fields, err);
    if (r < 0)
        return r;

    const char *name = field_selector_exact(ret->fields, "metadata.name");

    if (!namespace && kind->namespaced)
    namespace = field_selector_exact(ret->fields, "metadata.namespace");
    if (!kind->namespaced || (namespace && !*namespace))
    namespace = NULL;
    if (name && *name && (namespace || !kind->namespaced)) {
        ret->only = kind_key(kind, namespace, name);
        ret->prefix = xstrdup(ret->only);
    } else {
        ret->prefix = xasprintf("%s%s%s", kind->prefix, namespace ? namespace : "", namespace ? "/" : "");
    }
    return 0;
}

void selection_done(struct selection *s)
{
    selector_free(s->labels);
    field_selector_free(s->fields);
    free(s->prefix);
    free(s->only);
    if (s->guard)
        s->guard->free(s->guard);
    *s = (struct selection){0};
}

bool selection_is_everything(const struct selection *s)
{
    return !s->guard && selector_is_everything(s->labels) && field_selector_is_everything(s->fields);
}

bool selection_has_key(const struct selection *s, const char *key)
{
    return s->only ? streq(key, s->only) : str_starts(key, s->prefix);
}

bool selection_has_object(const struct selection *s, yyjson_val *object)
{
    return selector_matches(s->labels, json_at(object, "/metadata/labels")) &&
           field_selector_matches(s->fields, object) && (!s->guard || s->guard->may_see(s->guard, meta_name(object)));
}

bool selection_matches(const struct selection *s, const struct blob *stored)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (selection_is_everything(s))
        return true;
    return json_parse(stored->data, stored->len, &doc, NULL) == 0 && selection_has_object(s, yyjson_doc_get_root(doc));
}

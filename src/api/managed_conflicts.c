/* The words of a conflict, as kube-apiserver has them: kubectl shows them as they are. */
#include "api/managed_entry.h"
#include "base/alloc.h"

struct conflicts {
    struct gw_error *err;
    struct str message;
    char *with; /* the manager at hand, as messages name it */
    size_t n;
    char *only; /* the field, while there is one conflict */
};

static void add_conflict(void *data, const char *path)
{
    struct conflicts *c = data;

    gw_error_add_cause(c->err, "FieldManagerConflict", path, "conflict with %s", c->with);
    str_printf(&c->message, "\n- %s", path);
    free(c->only);
    c->only = xstrdup(path);
    c->n++;
}

/* `"kubectl-edit" with subresource "status" using v1` */
static char *name_of(yyjson_mut_val *entry)
{
    const char *subresource = text_of(entry, "subresource");
    struct str name = {0};

    str_printf(&name, "\"%s\"", text_of(entry, "manager"));
    if (*subresource)
        str_printf(&name, " with subresource \"%s\"", subresource);
    if (!is_apply(entry))
        str_printf(&name, " using %s", text_of(entry, "apiVersion"));
    return str_take(&name);
}

int managed_check(yyjson_mut_doc *d, yyjson_mut_val *entries, yyjson_mut_val *own, yyjson_mut_val *set,
                  struct gw_error *err)
{
    struct conflicts c = {.err = err};
    yyjson_mut_val *entry;
    size_t i, n;
    int r = 0;

    yyjson_mut_arr_foreach(entries, i, n, entry) {
        yyjson_mut_val *common = entry == own ? NULL : field_set_common(d, set_of(entry), set);
        _cleanup_free_ char *with = NULL;

        if (!common || field_set_empty(common))
            continue;
        c.with = with = name_of(entry);
        str_printf(&c.message, "%sconflicts with %s:", c.message.len ? "\n" : "", with);
        field_set_each(common, add_conflict, &c);
        if (c.n == 1) { /* in case it stays the only one */
            _cleanup_free_ char *text = xasprintf("conflict with %s: %s", with, c.only);

            free(c.only);
            c.only = TAKE_PTR(text);
        }
    }
    if (c.n == 1)
        r = gw_error_set(err, GW_CONFLICT, "Apply failed with 1 conflict: %s", c.only);
    else if (c.n > 1)
        r = gw_error_set(err, GW_CONFLICT, "Apply failed with %zu conflicts: %s", c.n, str_text(&c.message));
    str_done(&c.message);
    free(c.only);
    return r;
}

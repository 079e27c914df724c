#include "api/managed_fields.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"

#define APPLY "Apply"
#define UPDATE "Update"
/* Clients may send sets back; those that this module makes are narrower. */
#define WIDTH_MAX (16 * FIELD_SET_WIDTH)
#define BEFORE_FIRST_APPLY "before-first-apply"

/* Objects that many programs write would otherwise grow with each of them: the oldest entries become one. */
#define UPDATES_MAX 10
#define ANCIENT "ancient-changes"

/* --- Entries --- */

static const char *text_of(yyjson_mut_val *entry, const char *key)
{
    const char *text = yyjson_mut_get_str(yyjson_mut_obj_get(entry, key));

    return text ? text : "";
}

static yyjson_mut_val *set_of(yyjson_mut_val *entry)
{
    return yyjson_mut_obj_get(entry, "fieldsV1");
}

static bool is_apply(yyjson_mut_val *entry)
{
    return streq(text_of(entry, "operation"), APPLY);
}

static bool is_set(yyjson_val *node)
{
    yyjson_val *key, *value;

    if (!yyjson_is_obj(node) || yyjson_obj_size(node) > WIDTH_MAX)
        return false;
    json_each_member(node, key, value)
        if (!is_set(value))
            return false;
    return true;
}

static bool is_valid(yyjson_val *entry)
{
    const char *operation = json_str_or(entry, "/operation", ""), *type = json_str_or(entry, "/fieldsType", "");

    return (streq(operation, APPLY) || streq(operation, UPDATE)) && streq(type, "FieldsV1") &&
           is_set(yyjson_obj_get(entry, "fieldsV1"));
}

yyjson_mut_val *managed_read(yyjson_mut_doc *d, yyjson_val *entries)
{
    yyjson_val *entry;

    json_each(entries, entry)
        if (!is_valid(entry))
            return yyjson_mut_arr(d);
    return yyjson_is_arr(entries) ? yyjson_val_mut_copy(d, entries) : yyjson_mut_arr(d);
}

bool managed_is_reset(yyjson_val *entries)
{
    yyjson_val *only = yyjson_arr_size(entries) == 1 ? yyjson_arr_get_first(entries) : NULL, *key, *value;

    json_each_member(only, key, value)
        if (!yyjson_is_null(value))
            return false;
    return yyjson_is_obj(only);
}

static const char *const unmanaged[] = {"f:apiVersion", "f:kind"};
static const char *const unmanaged_metadata[] = {
    "f:name",          "f:namespace",         "f:uid",
    "f:generation",    "f:creationTimestamp", "f:deletionTimestamp",
    "f:selfLink",      "f:resourceVersion",   "f:deletionGracePeriodSeconds",
    "f:managedFields",
};

void managed_forget(yyjson_mut_val *set)
{
    yyjson_mut_val *metadata = yyjson_mut_obj_get(set, "f:metadata");

    for (size_t i = 0; i < ARRAY_SIZE(unmanaged); i++)
        yyjson_mut_obj_remove_key(set, unmanaged[i]);
    for (size_t i = 0; metadata && i < ARRAY_SIZE(unmanaged_metadata); i++)
        yyjson_mut_obj_remove_key(metadata, unmanaged_metadata[i]);
    yyjson_mut_obj_remove_key(metadata, "."); /* every object has metadata */
    if (metadata && field_set_empty(metadata))
        yyjson_mut_obj_remove_key(set, "f:metadata");
}

static yyjson_mut_val *new_entry(yyjson_mut_doc *d, const struct managed_writer *w, const char *operation)
{
    yyjson_mut_val *entry = yyjson_mut_obj(d);

    yyjson_mut_obj_add_strcpy(d, entry, "manager", w->manager);
    yyjson_mut_obj_add_str(d, entry, "operation", operation);
    yyjson_mut_obj_add_strcpy(d, entry, "apiVersion", w->api_version);
    yyjson_mut_obj_add_strcpy(d, entry, "time", w->time);
    yyjson_mut_obj_add_str(d, entry, "fieldsType", "FieldsV1");
    yyjson_mut_obj_add_obj(d, entry, "fieldsV1");
    if (w->subresource)
        yyjson_mut_obj_add_strcpy(d, entry, "subresource", w->subresource);
    return entry;
}

/* Who applies may come with another version of the kind and is the same; updates count for each version. */
static bool is_own(yyjson_mut_val *entry, const struct managed_writer *w, const char *operation)
{
    return streq(text_of(entry, "manager"), w->manager) && streq(text_of(entry, "operation"), operation) &&
           streq(text_of(entry, "subresource"), w->subresource ? w->subresource : "") &&
           (streq(operation, APPLY) || streq(text_of(entry, "apiVersion"), w->api_version));
}

static yyjson_mut_val *find_own(yyjson_mut_val *entries, const struct managed_writer *w, const char *operation)
{
    yyjson_mut_val *entry;
    size_t i, n;

    yyjson_mut_arr_foreach(entries, i, n, entry)
        if (is_own(entry, w, operation))
            return entry;
    return NULL;
}

static void drop(yyjson_mut_val *entries, yyjson_mut_val *entry)
{
    yyjson_mut_val *item;
    size_t i, n;

    yyjson_mut_arr_foreach(entries, i, n, item)
        if (item == entry) {
            yyjson_mut_arr_remove(entries, i);
            return;
        }
}

/* Applied ones come first, and the latest of its sort last. */
static void place(yyjson_mut_val *entries, yyjson_mut_val *entry)
{
    yyjson_mut_val *item;
    size_t i, n, at = yyjson_mut_arr_size(entries);

    if (is_apply(entry))
        yyjson_mut_arr_foreach(entries, i, n, item)
            if (!is_apply(item)) {
                at = i;
                break;
            }
    yyjson_mut_arr_insert(entries, entry, at);
}

/* Others lose these fields, and their entries go when nothing is left in them. */
static void take_from_others(yyjson_mut_val *entries, yyjson_mut_val *own, yyjson_mut_val *set)
{
    yyjson_mut_arr_iter it;
    yyjson_mut_val *entry;

    yyjson_mut_arr_iter_init(entries, &it);
    while ((entry = yyjson_mut_arr_iter_next(&it))) {
        if (entry == own)
            continue;
        field_set_remove(set_of(entry), set);
        if (field_set_empty(set_of(entry)))
            yyjson_mut_arr_iter_remove(&it);
    }
}

/* --- Update --- */

static void merge_oldest(yyjson_mut_doc *d, yyjson_mut_val *entries)
{
    yyjson_mut_val *entry, *first = NULL, *second = NULL;
    size_t i, n, updates = 0;

    yyjson_mut_arr_foreach(entries, i, n, entry) {
        if (is_apply(entry) || *text_of(entry, "subresource"))
            continue;
        updates++;
        if (!first)
            first = entry;
        else if (!second)
            second = entry;
    }
    if (updates <= UPDATES_MAX || !streq(text_of(first, "apiVersion"), text_of(second, "apiVersion")))
        return;
    field_set_add(d, set_of(first), set_of(second));
    yyjson_mut_obj_put(first, yyjson_mut_str(d, "manager"), yyjson_mut_str(d, ANCIENT));
    drop(entries, second);
}

bool managed_update(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w,
                    const struct field_changes *changes)
{
    yyjson_mut_val *own = find_own(entries, w, UPDATE), *set;

    if (field_set_empty(changes->set) && field_set_empty(changes->removed))
        return false;
    take_from_others(entries, own, changes->set);
    take_from_others(entries, own, changes->removed);
    if (own)
        drop(entries, own);
    else
        own = new_entry(d, w, UPDATE);
    set = set_of(own);
    field_set_remove(set, changes->removed);
    field_set_add(d, set, changes->set);
    if (field_set_empty(set))
        return true;
    yyjson_mut_obj_put(own, yyjson_mut_str(d, "time"), yyjson_mut_strcpy(d, w->time));
    place(entries, own);
    merge_oldest(d, entries);
    return true;
}

/* --- Apply --- */

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

static int refuse_conflicts(yyjson_mut_doc *d, yyjson_mut_val *entries, yyjson_mut_val *own, yyjson_mut_val *set,
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

int managed_apply(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w, yyjson_mut_val *named,
                  const struct field_changes *changes, bool force, struct gw_error *err)
{
    yyjson_mut_val *own = find_own(entries, w, APPLY);
    int r = force ? 0 : refuse_conflicts(d, entries, own, changes->set, err);

    if (r < 0)
        return r;
    take_from_others(entries, own, changes->set);
    take_from_others(entries, own, changes->removed);
    if (own && yyjson_mut_equals(set_of(own), named) && field_set_empty(changes->set) &&
        field_set_empty(changes->removed))
        return 0;
    if (own)
        drop(entries, own);
    if (field_set_empty(named))
        return 0;
    own = new_entry(d, w, APPLY);
    yyjson_mut_obj_put(own, yyjson_mut_str(d, "fieldsV1"), named);
    place(entries, own);
    return 0;
}

yyjson_mut_val *managed_applied(yyjson_mut_val *entries, const struct managed_writer *w)
{
    yyjson_mut_val *own = find_own(entries, w, APPLY);

    return own ? set_of(own) : NULL;
}

yyjson_mut_val *managed_by_others(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w)
{
    yyjson_mut_val *all = yyjson_mut_obj(d), *entry;
    size_t i, n;

    yyjson_mut_arr_foreach(entries, i, n, entry)
        if (!is_own(entry, w, APPLY))
            field_set_add(d, all, set_of(entry));
    return all;
}

void managed_begin(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct schema *s, yyjson_val *object,
                   const char *api_version, const char *time)
{
    struct managed_writer before = {.manager = BEFORE_FIRST_APPLY, .api_version = api_version, .time = time};
    struct field_changes all = field_set_compare(s, NULL, object, d);

    managed_forget(all.set);
    (void)managed_update(d, entries, &before, &all);
}

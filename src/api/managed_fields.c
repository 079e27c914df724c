#include "api/managed_fields.h"

#include <string.h>

#include "api/managed_entry.h"
#include "base/alloc.h"

#define BEFORE_FIRST_APPLY "before-first-apply"

/* Objects that many programs write would otherwise grow with each of them: the oldest entries become one. */
#define UPDATES_MAX 10
#define ANCIENT "ancient-changes"

/* --- Entries --- */

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

int managed_apply(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w, yyjson_mut_val *named,
                  const struct field_changes *changes, bool force, struct gw_error *err)
{
    yyjson_mut_val *own = find_own(entries, w, APPLY);
    int r = force ? 0 : managed_check(d, entries, own, changes->set, err);

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

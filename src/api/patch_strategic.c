/* Kubernetes' strategic merge patch. Objects merge by key as in RFC 7386. What happens to a list is said by the schema:
 * without a strategy it is replaced; with "merge" its items are matched, by their merge key when they are objects and
 * by value when they are not. Directives in the patch change that:
 *
 *   {"$patch": "replace", ...}              the object takes the place of the old one
 *   [{"$patch": "replace"}, ...]            the list takes the place of the old one
 *   {"$patch": "delete", KEY: V}            in a list: the item with that merge key goes
 *   "$deleteFromPrimitiveList/F": [...]     these values leave list F
 *   "$setElementOrder/F": [...]             the order of list F afterwards
 *   "$retainKeys": [...]                    all other keys of the object go
 *
 * See the Kubernetes community's document "Strategic Merge Patch". */
#include <string.h>

#include "api/patch.h"
#include "base/alloc.h"
#include "base/str.h"

#define DELETE_FROM "$deleteFromPrimitiveList/"
#define SET_ORDER "$setElementOrder/"

struct merger {
    yyjson_mut_doc *doc;
    struct gw_error *err;
};

static int malformed(struct merger *m, const char *what, const char *name)
{
    return gw_error_set(m->err, GW_BAD_REQUEST, "malformed strategic merge patch: %s%s%s", what, *name ? ": " : "",
                        name);
}

static const char *directive(yyjson_val *object)
{
    return yyjson_get_str(yyjson_obj_get(object, "$patch"));
}

static const struct property *property_of(const struct schema *s, const char *name)
{
    return s ? schema_property(s, name) : NULL;
}

static const struct schema *child_schema(const struct schema *s, const char *name)
{
    return s ? schema_child(s, name) : NULL;
}

/* Whether the comma-separated strategy of a field names this one. */
static bool has_strategy(const struct property *p, const char *strategy)
{
    size_t len = strlen(strategy);

    for (const char *at = p ? p->strategy : NULL; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strncmp(at, strategy, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    return false;
}

static int merge_object(struct merger *m, const struct schema *s, yyjson_mut_val *target, yyjson_val *patch);

/* A value of the patch as it is when nothing was there before: without directives and nulls. */
static int fresh(struct merger *m, const struct property *p, const struct schema *s, yyjson_val *value,
                 yyjson_mut_val **ret)
{
    yyjson_mut_val *copy;
    yyjson_val *item;
    int rc;

    if (yyjson_is_obj(value)) {
        *ret = yyjson_mut_obj(m->doc);
        return merge_object(m, s, *ret, value);
    }
    if (!yyjson_is_arr(value) || !s || !s->items || !has_strategy(p, "merge")) {
        *ret = yyjson_val_mut_copy(m->doc, value);
        return 0;
    }
    *ret = yyjson_mut_arr(m->doc);
    json_each(value, item) {
        if (directive(item))
            continue;
        if ((rc = fresh(m, NULL, s->items, item, &copy)) < 0)
            return rc;
        yyjson_mut_arr_append(*ret, copy);
    }
    return 0;
}

static yyjson_mut_val *copy_of(struct merger *m, yyjson_val *v)
{
    return yyjson_val_mut_copy(m->doc, v);
}

/* What two list items are matched by. */
static yyjson_mut_val *identity(yyjson_mut_val *item, const char *merge_key)
{
    return merge_key ? yyjson_mut_obj_get(item, merge_key) : item;
}

/* The position of the item with that identity, or -1. */
static long find_item(yyjson_mut_val *list, const char *merge_key, yyjson_mut_val *wanted)
{
    yyjson_mut_val *item, *id;
    size_t i, n;

    yyjson_mut_arr_foreach(list, i, n, item)
        if ((id = identity(item, merge_key)) && wanted && yyjson_mut_equals(id, wanted))
            return (long)i;
    return -1;
}

static int merge_item(struct merger *m, const struct schema *s, yyjson_mut_val *list, const char *merge_key,
                      yyjson_val *item)
{
    yyjson_val *key = yyjson_obj_get(item, merge_key);
    yyjson_mut_val *copy;
    int rc;

    if (!yyjson_is_obj(item) || !key)
        return malformed(m, "a list item lacks its merge key", merge_key);
    long at = find_item(list, merge_key, copy_of(m, key));
    if (directive(item) && streq(directive(item), "delete")) {
        if (at >= 0)
            yyjson_mut_arr_remove(list, (size_t)at);
        return 0;
    }
    if (at >= 0)
        return merge_object(m, s, yyjson_mut_arr_get(list, (size_t)at), item);
    if ((rc = fresh(m, NULL, s, item, &copy)) < 0)
        return rc;
    yyjson_mut_arr_append(list, copy);
    return 0;
}

static bool replaces_list(yyjson_val *patch)
{
    yyjson_val *item;

    json_each(patch, item)
        if (yyjson_is_obj(item) && str_same(directive(item), "replace"))
            return true;
    return false;
}

static int merge_list(struct merger *m, const struct property *p, yyjson_mut_val *list, yyjson_val *patch)
{
    const struct schema *items = p->schema->items;
    bool replace = replaces_list(patch);
    yyjson_val *item;
    int rc;

    if (replace)
        yyjson_mut_arr_clear(list);
    json_each(patch, item) {
        if (replace && str_same(directive(item), "replace"))
            continue;
        if (p->merge_key) {
            if ((rc = merge_item(m, items, list, p->merge_key, item)) < 0)
                return rc;
        } else if (find_item(list, NULL, copy_of(m, item)) < 0) {
            yyjson_mut_arr_append(list, copy_of(m, item));
        }
    }
    return 0;
}

static int merge_value(struct merger *m, const struct schema *s, yyjson_mut_val *target, const char *name,
                       yyjson_val *value)
{
    const struct property *p = property_of(s, name);
    yyjson_mut_val *child = yyjson_mut_obj_get(target, name), *copy;
    int rc;

    if (yyjson_is_null(value)) {
        yyjson_mut_obj_remove_key(target, name);
        return 0;
    }
    if (yyjson_is_obj(value) && str_same(directive(value), "delete")) {
        yyjson_mut_obj_remove_key(target, name);
        return 0;
    }
    if (yyjson_is_obj(value) && yyjson_mut_is_obj(child) && !has_strategy(p, "replace"))
        return merge_object(m, child_schema(s, name), child, value);
    if (yyjson_is_arr(value) && yyjson_mut_is_arr(child) && has_strategy(p, "merge"))
        return merge_list(m, p, child, value);
    if ((rc = fresh(m, p, child_schema(s, name), value, &copy)) < 0)
        return rc;
    yyjson_mut_obj_put(target, yyjson_mut_strcpy(m->doc, name), copy);
    return 0;
}

static int delete_primitives(struct merger *m, yyjson_mut_val *target, const char *name, yyjson_val *values)
{
    yyjson_mut_val *list = yyjson_mut_obj_get(target, name);
    yyjson_val *value;
    long at;

    if (!yyjson_is_arr(values))
        return malformed(m, "a list is expected at", DELETE_FROM);
    json_each(values, value)
        while ((at = find_item(list, NULL, copy_of(m, value))) >= 0)
            yyjson_mut_arr_remove(list, (size_t)at);
    return 0;
}

static int retain_keys(struct merger *m, yyjson_mut_val *target, yyjson_val *patch, yyjson_val *retain)
{
    _cleanup_(map_freep) struct map *kept = map_new(NULL);
    yyjson_mut_obj_iter it;
    yyjson_mut_val *old;
    yyjson_val *key, *value;

    if (!yyjson_is_arr(retain))
        return malformed(m, "a list is expected at", "$retainKeys");
    json_each(retain, value)
        if (yyjson_is_str(value))
            map_put(kept, yyjson_get_str(value), value);
    json_each_member(patch, key, value)
        if (*yyjson_get_str(key) != '$' && !yyjson_is_null(value) && !map_has(kept, yyjson_get_str(key)))
            return malformed(m, "a field is not among $retainKeys", yyjson_get_str(key));
    yyjson_mut_obj_iter_init(target, &it);
    while ((old = yyjson_mut_obj_iter_next(&it)))
        if (!map_has(kept, yyjson_mut_get_str(old)))
            yyjson_mut_obj_iter_remove(&it);
    return 0;
}

/* The items of `list` whose identity is (or is not) in `order`, moved to a new list; those in it come in its order. */
static yyjson_mut_val *pick(struct merger *m, yyjson_mut_val *list, const char *key, yyjson_mut_val *order, bool listed)
{
    yyjson_mut_val *picked = yyjson_mut_arr(m->doc), *item;
    size_t i, n;

    if (listed) {
        yyjson_mut_arr_foreach(order, i, n, item) {
            long at = find_item(list, key, identity(item, key));
            if (at >= 0)
                yyjson_mut_arr_append(picked, yyjson_mut_val_mut_copy(m->doc, yyjson_mut_arr_get(list, (size_t)at)));
        }
    } else {
        yyjson_mut_arr_foreach(list, i, n, item)
            if (find_item(order, key, identity(item, key)) < 0)
                yyjson_mut_arr_append(picked, yyjson_mut_val_mut_copy(m->doc, item));
    }
    return picked;
}

/* Items that only the server has keep their place relative to the ones that were there before. `before` is the list as
 * it was, in which those are looked up. */
static yyjson_mut_val *interleave(struct merger *m, const char *key, yyjson_mut_val *own, yyjson_mut_val *listed,
                                  yyjson_mut_val *before)
{
    yyjson_mut_val *result = yyjson_mut_arr(m->doc);

    while (yyjson_mut_arr_size(own) || yyjson_mut_arr_size(listed)) {
        yyjson_mut_val *a = yyjson_mut_arr_get_first(own), *b = yyjson_mut_arr_get_first(listed);
        long at_b = b ? find_item(before, key, identity(b, key)) : -1;
        bool first = !b || (a && at_b >= 0 && find_item(before, key, identity(a, key)) < at_b);
        yyjson_mut_arr_append(result, yyjson_mut_arr_remove_first(first ? own : listed));
    }
    return result;
}

static int set_order(struct merger *m, const struct schema *s, yyjson_mut_val *target, const char *name,
                     yyjson_val *order, yyjson_mut_val *before)
{
    const struct property *p = property_of(s, name);
    yyjson_mut_val *list = yyjson_mut_obj_get(target, name), *wanted = copy_of(m, order);
    const char *key = p ? p->merge_key : NULL;

    if (!yyjson_is_arr(order))
        return malformed(m, "a list is expected at", SET_ORDER);
    if (!yyjson_mut_is_arr(list))
        return 0;
    list = interleave(m, key, pick(m, list, key, wanted, false), pick(m, list, key, wanted, true), before);
    yyjson_mut_obj_put(target, yyjson_mut_strcpy(m->doc, name), list);
    return 0;
}

/* First what takes away, then what adds; order is set when all items are there. */
enum pass { PASS_DELETE, PASS_MERGE, PASS_ORDER, PASS_MAX };

static int run_pass(struct merger *m, enum pass pass, const struct schema *s, yyjson_mut_val *target, yyjson_val *patch,
                    yyjson_mut_val *before)
{
    yyjson_val *key, *value;
    int rc = 0;

    json_each_member(patch, key, value) {
        const char *name = yyjson_get_str(key);
        bool deletes = str_starts(name, DELETE_FROM), orders = str_starts(name, SET_ORDER);
        if (deletes && pass == PASS_DELETE)
            rc = delete_primitives(m, target, name + strlen(DELETE_FROM), value);
        else if (orders && pass == PASS_ORDER)
            rc = set_order(m, s, target, name + strlen(SET_ORDER), value,
                           yyjson_mut_obj_get(before, name + strlen(SET_ORDER)));
        else if (!deletes && !orders && pass == PASS_MERGE && !streq(name, "$patch") && !streq(name, "$retainKeys"))
            rc = merge_value(m, s, target, name, value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool has_order(yyjson_val *patch)
{
    yyjson_val *key, *value;

    json_each_member(patch, key, value)
        if (str_starts(yyjson_get_str(key), SET_ORDER))
            return true;
    return false;
}

static int merge_object(struct merger *m, const struct schema *s, yyjson_mut_val *target, yyjson_val *patch)
{
    yyjson_val *retain = yyjson_obj_get(patch, "$retainKeys");
    yyjson_mut_val *before = has_order(patch) ? yyjson_mut_val_mut_copy(m->doc, target) : NULL;
    const char *how = directive(patch);
    int rc;

    if (how && streq(how, "replace"))
        yyjson_mut_obj_clear(target);
    else if (how && !streq(how, "merge"))
        return malformed(m, "unknown $patch", how);
    if (retain && (rc = retain_keys(m, target, patch, retain)) < 0)
        return rc;
    for (enum pass pass = PASS_DELETE; pass < PASS_MAX; pass++)
        if ((rc = run_pass(m, pass, s, target, patch, before)) < 0)
            return rc;
    return 0;
}

int patch_strategic(yyjson_mut_doc *doc, const struct schema *schema, yyjson_val *patch, struct gw_error *err)
{
    struct merger m = {.doc = doc, .err = err};

    if (!yyjson_is_obj(patch))
        return malformed(&m, "an object is expected", "");
    return merge_object(&m, schema, yyjson_mut_doc_get_root(doc), patch);
}

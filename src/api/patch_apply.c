/* The merge of server-side apply. Two trees of values are walked together with two trees of fields: what the applier
 * had named before, and what others own. A field that only the former has goes, with all below it; but of maps and
 * lists only the parts that were named go, because rules of the server may have added others. */
#include <string.h>

#include "api/field_set.h"
#include "api/patch.h"
#include "base/alloc.h"

struct applier {
    yyjson_mut_doc *d;
    yyjson_val *root; /* the old object */
    unsigned depth;
    struct gw_error *err;
    int fault;
};

/* Nodes of the two sets at one place; NULL: nothing there. */
struct owned {
    yyjson_mut_val *applied, *kept;
};

static struct owned step(struct owned o, const char *element)
{
    return (struct owned){yyjson_mut_obj_get(o.applied, element), yyjson_mut_obj_get(o.kept, element)};
}

static yyjson_mut_val *merge(struct applier *a, const struct schema *s, yyjson_val *old, yyjson_val *wanted,
                             struct owned o);

static bool is_bag(const struct applier *a, const struct schema *s, yyjson_val *value)
{
    return field_set_splits(s, value, a->depth) && (yyjson_is_arr(value) || !s || !s->n_properties);
}

/* Something that the configuration does not name. NULL: it goes. */
static yyjson_mut_val *leave(struct applier *a, const struct schema *s, yyjson_val *value, bool stays, struct owned o)
{
    yyjson_mut_val *left;

    if (!o.applied)
        return yyjson_val_mut_copy(a->d, value);
    if (!o.kept && !stays && (!is_bag(a, s, value) || field_set_member(o.applied)))
        return NULL;
    left = merge(a, s, value, NULL, o);
    return o.kept || stays || yyjson_mut_get_len(left) ? left : NULL;
}

static void put(struct applier *a, yyjson_mut_val *object, yyjson_val *key, yyjson_mut_val *value)
{
    if (value)
        yyjson_mut_obj_add(object, yyjson_val_mut_copy(a->d, key), value);
}

static yyjson_mut_val *merge_object(struct applier *a, const struct schema *s, yyjson_val *old, yyjson_val *wanted,
                                    struct owned o)
{
    yyjson_mut_val *result = yyjson_mut_obj(a->d);
    yyjson_val *key, *value, *new;

    json_each_member(old, key, value) {
        const char *name = yyjson_get_str(key);
        const struct schema *child = s ? schema_child(s, name) : NULL;
        _cleanup_free_ char *element = field_set_name(name);
        struct owned below = step(o, element);

        new = yyjson_obj_getn(wanted, name, yyjson_get_len(key));
        if (new)
            put(a, result, key, merge(a, child, value, new, below));
        else
            put(a, result, key, leave(a, child, value, old == a->root && streq(name, "metadata"), below));
    }
    json_each_member(wanted, key, value)
        if (!yyjson_obj_getn(old, yyjson_get_str(key), yyjson_get_len(key)))
            put(a, result, key,
                merge(a, s ? schema_child(s, yyjson_get_str(key)) : NULL, NULL, value, (struct owned){0}));
    return result;
}

/* The items by their elements; a fault when the configuration has one twice, or without its keys. */
static struct map *index_items(struct applier *a, const struct schema *s, yyjson_val *list, bool strict)
{
    struct map *items = map_new(NULL);
    yyjson_val *item;

    json_each(list, item) {
        _cleanup_free_ char *element = field_set_item(s, item);

        if (strict && !element)
            a->fault = gw_error_set(a->err, GW_BAD_REQUEST,
                                    "cannot apply: an item of a list lacks the keys that tell it from others");
        else if (strict && map_has(items, element))
            a->fault = gw_error_set(a->err, GW_BAD_REQUEST, "cannot apply: duplicate entries for key %s", element + 2);
        else if (element)
            map_put(items, element, item);
    }
    return items;
}

static void append_wanted(struct applier *a, const struct schema *s, yyjson_mut_val *result, struct map *old,
                          yyjson_val *item, struct owned o)
{
    _cleanup_free_ char *element = field_set_item(s, item);

    if (element)
        yyjson_mut_arr_append(result, merge(a, s->items, map_get(old, element), item, step(o, element)));
}

/* Items that both have come in the order of the configuration, at the places that such items had; new ones at the end.
 */
static yyjson_mut_val *merge_list(struct applier *a, const struct schema *s, yyjson_val *old, yyjson_val *wanted,
                                  struct owned o)
{
    _cleanup_(map_freep) struct map *before = index_items(a, s, old, false);
    _cleanup_(map_freep) struct map *named = index_items(a, s, wanted, true);
    yyjson_mut_val *result = yyjson_mut_arr(a->d), *left;
    yyjson_arr_iter next = yyjson_arr_iter_with(wanted);
    yyjson_val *item;

    json_each(old, item) {
        _cleanup_free_ char *element = field_set_item(s, item);

        if (element && map_has(named, element))
            append_wanted(a, s, result, before, yyjson_arr_iter_next(&next), o);
        else if ((left = leave(a, s->items, item, false, element ? step(o, element) : (struct owned){0})))
            yyjson_mut_arr_append(result, left);
    }
    while ((item = yyjson_arr_iter_next(&next)))
        append_wanted(a, s, result, before, item, o);
    return result;
}

static yyjson_mut_val *merge(struct applier *a, const struct schema *s, yyjson_val *old, yyjson_val *wanted,
                             struct owned o)
{
    yyjson_val *shape = wanted ? wanted : old;
    yyjson_mut_val *result;

    if (!field_set_splits(s, shape, a->depth) || (old && !field_set_splits(s, old, a->depth)))
        return yyjson_val_mut_copy(a->d, shape);
    if (old && yyjson_get_type(old) != yyjson_get_type(shape))
        old = NULL;
    a->depth++;
    result = yyjson_is_obj(shape) ? merge_object(a, s, old, wanted, o) : merge_list(a, s, old, wanted, o);
    a->depth--;
    return result;
}

int patch_apply(yyjson_mut_doc *d, const struct schema *schema, yyjson_val *old, yyjson_val *configuration,
                yyjson_mut_val *applied, yyjson_mut_val *kept, yyjson_mut_val **ret, struct gw_error *err)
{
    struct applier a = {.d = d, .root = old, .err = err};
    yyjson_mut_val *result = merge(&a, schema, old, configuration, (struct owned){applied, kept});

    if (a.fault == 0)
        *ret = result;
    return a.fault;
}

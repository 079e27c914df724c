#include "api/field_set.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/* --- Elements of paths --- */

char *field_set_name(const char *name)
{
    return xasprintf("f:%s", name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* An item may leave out a key that has a default. */
static yyjson_val *key_value(const struct schema *items, yyjson_val *item, const char *key)
{
    yyjson_val *value = yyjson_obj_get(item, key);
    const struct property *p = !value && items ? schema_property(items, key) : NULL;

    return p ? p->default_value : value;
}

static char *map_item(const struct schema *list, yyjson_val *item)
{
    yyjson_val *keys = yyjson_obj_get(list->source, "x-kubernetes-list-map-keys"), *key, *value;
    size_t n = yyjson_arr_size(keys), i;
    _cleanup_free_ const char **sorted = xnew_n(const char *, n + 1);
    _cleanup_str_ struct str out = {0};

    if (!n || !yyjson_is_obj(item))
        return NULL;
    json_each_at(keys, i, key)
        sorted[i] = yyjson_get_str(key);
    qsort(sorted, n, sizeof(*sorted), by_text);
    for (i = 0; i < n; i++) {
        _cleanup_blob_ struct blob *text = NULL;
        value = sorted[i] ? key_value(list->items, item, sorted[i]) : NULL;
        if (!value || yyjson_is_ctn(value))
            return NULL;
        text = json_encode_val(value);
        str_printf(&out, "%s\"%s\":%s", i ? "," : "k:{", sorted[i], text->data);
    }
    str_putc(&out, '}');
    return str_take(&out);
}

char *field_set_item(const struct schema *list, yyjson_val *item)
{
    if (list->list_type == LIST_MAP)
        return map_item(list, item);

    _cleanup_blob_ struct blob *text = json_encode_val(item);

    return xasprintf("v:%s", text->data);
}

/* --- From values --- */

bool field_set_splits(const struct schema *s, yyjson_val *value, unsigned depth)
{
    if (depth >= FIELD_SET_DEPTH || yyjson_get_len(value) > FIELD_SET_WIDTH)
        return false;
    if (yyjson_is_obj(value))
        return !(s && s->atomic);
    return yyjson_is_arr(value) && s && s->type == SCHEMA_ARRAY && s->list_type != LIST_ATOMIC;
}

/* What is empty is owned as such. */
static bool has_parts(const struct schema *s, yyjson_val *value, unsigned depth)
{
    return yyjson_is_ctn(value) && yyjson_get_len(value) > 0 && field_set_splits(s, value, depth);
}

static const struct schema *child_of(const struct schema *s, const char *name)
{
    return s ? schema_child(s, name) : NULL;
}

/* Says that the place of node is in the set itself, or that it is not. */
static void mark(yyjson_mut_doc *d, yyjson_mut_val *node)
{
    if (!field_set_member(node))
        yyjson_mut_obj_insert(node, yyjson_mut_str(d, FIELD_SET_SELF), yyjson_mut_obj(d), 0);
}

static void attach(yyjson_mut_doc *d, yyjson_mut_val *to, const char *element, yyjson_mut_val *node)
{
    yyjson_mut_obj_add(to, yyjson_mut_strcpy(d, element), node);
}

/* every: the places of structs and of containers as such are in it too, as for values that come or go. */
static yyjson_mut_val *members(const struct schema *s, yyjson_val *value, bool every, unsigned depth, yyjson_mut_doc *d)
{
    yyjson_mut_val *node = yyjson_mut_obj(d), *below;
    yyjson_val *key, *child;

    if (!has_parts(s, value, depth))
        return node;
    json_each_member(value, key, child) {
        const char *name = yyjson_get_str(key);
        _cleanup_free_ char *element = field_set_name(name);

        below = members(child_of(s, name), child, every, depth + 1, d);
        if (every || !s || !schema_property(s, name))
            mark(d, below);
        attach(d, node, element, below);
    }
    json_each(value, child) {
        _cleanup_free_ char *element = field_set_item(s, child);

        if (!element)
            continue;
        below = members(s->items, child, every, depth + 1, d);
        mark(d, below);
        attach(d, node, element, below);
    }
    return node;
}

yyjson_mut_val *field_set_of(const struct schema *s, yyjson_val *value, yyjson_mut_doc *d)
{
    return members(s, value, false, 0, d);
}

/* --- Comparison: NULL stands for no change --- */

static struct field_changes compare(const struct schema *s, yyjson_val *before, yyjson_val *after, unsigned depth,
                                    yyjson_mut_doc *d);

static void attach_changes(struct field_changes *c, const char *element, struct field_changes below, yyjson_mut_doc *d)
{
    if (below.set) {
        c->set = c->set ? c->set : yyjson_mut_obj(d);
        attach(d, c->set, element, below.set);
    }
    if (below.removed) {
        c->removed = c->removed ? c->removed : yyjson_mut_obj(d);
        attach(d, c->removed, element, below.removed);
    }
}

static void compare_field(struct field_changes *c, const struct schema *s, const char *name, yyjson_val *before,
                          yyjson_val *after, unsigned depth, yyjson_mut_doc *d)
{
    struct field_changes below = compare(child_of(s, name), before, after, depth, d);

    if (below.set || below.removed) {
        _cleanup_free_ char *element = field_set_name(name);

        attach_changes(c, element, below, d);
    }
}

/* By the whole name, should there be a NUL in it. */
static yyjson_val *member_of(yyjson_val *object, yyjson_val *key)
{
    return yyjson_obj_getn(object, yyjson_get_str(key), yyjson_get_len(key));
}

static struct field_changes compare_objects(const struct schema *s, yyjson_val *before, yyjson_val *after,
                                            unsigned depth, yyjson_mut_doc *d)
{
    struct field_changes c = {0};
    yyjson_val *key, *value;

    json_each_member(after, key, value)
        compare_field(&c, s, yyjson_get_str(key), member_of(before, key), value, depth + 1, d);
    json_each_member(before, key, value)
        if (!member_of(after, key))
            compare_field(&c, s, yyjson_get_str(key), value, NULL, depth + 1, d);
    return c;
}

static struct map *items_of(const struct schema *s, yyjson_val *list)
{
    struct map *items = map_new(NULL);
    yyjson_val *item;

    json_each(list, item) {
        _cleanup_free_ char *element = field_set_item(s, item);

        if (element && !map_has(items, element))
            map_put(items, element, item);
    }
    return items;
}

static struct field_changes compare_lists(const struct schema *s, yyjson_val *before, yyjson_val *after, unsigned depth,
                                          yyjson_mut_doc *d)
{
    _cleanup_(map_freep) struct map *old = items_of(s, before);
    _cleanup_(map_freep) struct map *new = items_of(s, after);
    struct field_changes c = {0};
    const char *element;
    void *item;

    for (size_t i = 0; map_next(new, &i, &element, &item);)
        attach_changes(&c, element, compare(s->items, map_get(old, element), item, depth + 1, d), d);
    for (size_t i = 0; map_next(old, &i, &element, &item);)
        if (!map_has(new, element))
            attach_changes(&c, element, compare(s->items, item, NULL, depth + 1, d), d);
    return c;
}

static yyjson_mut_val *whole(const struct schema *s, yyjson_val *value, unsigned depth, yyjson_mut_doc *d)
{
    yyjson_mut_val *node = members(s, value, true, depth, d);

    mark(d, node);
    return node;
}

static struct field_changes compare(const struct schema *s, yyjson_val *before, yyjson_val *after, unsigned depth,
                                    yyjson_mut_doc *d)
{
    struct field_changes c = {0};

    if (!before)
        c.set = whole(s, after, depth, d);
    else if (!after)
        c.removed = whole(s, before, depth, d);
    else if (yyjson_get_type(before) != yyjson_get_type(after) || !has_parts(s, before, depth) ||
             !has_parts(s, after, depth))
        c.set = json_equal(before, after) ? NULL : whole(s, after, depth, d);
    else if (yyjson_is_obj(after))
        return compare_objects(s, before, after, depth, d);
    else
        return compare_lists(s, before, after, depth, d);
    return c;
}

struct field_changes field_set_compare(const struct schema *s, yyjson_val *before, yyjson_val *after, yyjson_mut_doc *d)
{
    struct field_changes c = {0};

    if (before)
        c = compare(s, before, after, 0, d);
    else
        c.set = members(s, after, true, 0, d);
    c.set = c.set ? c.set : yyjson_mut_obj(d);
    c.removed = c.removed ? c.removed : yyjson_mut_obj(d);
    return c;
}

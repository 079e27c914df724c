/* The algebra of sets of fields: what can be said without a schema. */
#include <string.h>

#include "api/field_set.h"
#include "base/alloc.h"
#include "base/str.h"

bool field_set_empty(yyjson_mut_val *set)
{
    return yyjson_mut_obj_size(set) == 0;
}

bool field_set_member(yyjson_mut_val *node)
{
    return field_set_empty(node) || yyjson_mut_obj_get(node, FIELD_SET_SELF);
}

/* --- Set operations. A node is a member, or has members below it, or both; others leave their parent. --- */

static void set_self(yyjson_mut_doc *d, yyjson_mut_val *node, bool member)
{
    yyjson_mut_obj_remove_key(node, FIELD_SET_SELF);
    if (member && !field_set_empty(node))
        yyjson_mut_obj_insert(node, yyjson_mut_str(d, FIELD_SET_SELF), yyjson_mut_obj(d), 0);
}

static bool is_self(yyjson_mut_val *key)
{
    return yyjson_mut_equals_str(key, FIELD_SET_SELF);
}

static void add_below(yyjson_mut_doc *d, yyjson_mut_val *set, yyjson_mut_val *other)
{
    yyjson_mut_val *key, *value, *mine;
    size_t i, n;

    yyjson_mut_obj_foreach(other, i, n, key, value) {
        if (is_self(key))
            continue;
        mine = yyjson_mut_obj_getn(set, yyjson_mut_get_str(key), yyjson_mut_get_len(key));
        if (!mine) {
            yyjson_mut_obj_add(set, yyjson_mut_val_mut_copy(d, key), yyjson_mut_val_mut_copy(d, value));
            continue;
        }
        bool member = field_set_member(mine) || field_set_member(value);
        add_below(d, mine, value);
        set_self(d, mine, member);
    }
}

void field_set_add(yyjson_mut_doc *d, yyjson_mut_val *set, yyjson_mut_val *other)
{
    add_below(d, set, other);
}

/* Removes the members of other at and below this place. True: nothing is left. */
static bool remove_node(yyjson_mut_val *mine, yyjson_mut_val *other)
{
    if (field_set_empty(mine) || field_set_empty(other))
        return field_set_member(other);
    if (yyjson_mut_obj_get(other, FIELD_SET_SELF))
        yyjson_mut_obj_remove_key(mine, FIELD_SET_SELF);
    field_set_remove(mine, other);
    if (field_set_empty(mine))
        return true;
    if (yyjson_mut_obj_size(mine) == 1) /* the place alone, perhaps */
        yyjson_mut_obj_remove_key(mine, FIELD_SET_SELF);
    return false;
}

void field_set_remove(yyjson_mut_val *set, yyjson_mut_val *other)
{
    yyjson_mut_obj_iter it;
    yyjson_mut_val *key, *there;

    yyjson_mut_obj_iter_init(set, &it);
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        if (is_self(key))
            continue;
        there = yyjson_mut_obj_getn(other, yyjson_mut_get_str(key), yyjson_mut_get_len(key));
        if (there && remove_node(yyjson_mut_obj_iter_get_val(key), there))
            yyjson_mut_obj_iter_remove(&it);
    }
}

yyjson_mut_val *field_set_common(yyjson_mut_doc *d, yyjson_mut_val *a, yyjson_mut_val *b)
{
    yyjson_mut_val *set = yyjson_mut_obj(d), *key, *value, *there, *below;
    size_t i, n;

    yyjson_mut_obj_foreach(a, i, n, key, value) {
        there = yyjson_mut_obj_getn(b, yyjson_mut_get_str(key), yyjson_mut_get_len(key));
        if (is_self(key) || !there)
            continue;
        bool member = field_set_member(value) && field_set_member(there);
        below = field_set_common(d, value, there);
        if (!member && field_set_empty(below))
            continue;
        set_self(d, below, member);
        yyjson_mut_obj_add(set, yyjson_mut_val_mut_copy(d, key), below);
    }
    return set;
}

/* --- Texts --- */

/* "f:a" -> ".a", "k:{"name":"a"}" -> "[name="a"]", "v:1" -> "[=1]" as structured-merge-diff writes paths. */
static void write_element(struct str *path, const char *element)
{
    _cleanup_doc_ yyjson_doc *keys = NULL;
    yyjson_val *key, *value;
    const char *separator = "[";

    if (*element == 'f')
        str_printf(path, ".%s", element + 2);
    else if (*element == 'v')
        str_printf(path, "[=%s]", element + 2);
    else if (*element == 'k' && json_parse(element + 2, strlen(element + 2), &keys, NULL) == 0)
        json_each_member(yyjson_doc_get_root(keys), key, value) {
            _cleanup_blob_ struct blob *text = json_encode_val(value);

            str_printf(path, "%s%s=%s", separator, yyjson_get_str(key), text->data);
            separator = ",";
        }
    if (keys)
        str_putc(path, ']');
}

static void each(yyjson_mut_val *set, struct str *path, void (*visit)(void *data, const char *path), void *data)
{
    yyjson_mut_val *key, *value;
    size_t i, n, before = path->len;

    yyjson_mut_obj_foreach(set, i, n, key, value) {
        if (is_self(key))
            continue;
        write_element(path, yyjson_mut_get_str(key));
        if (field_set_member(value))
            visit(data, str_text(path));
        each(value, path, visit, data);
        path->len = before;
        if (path->data)
            path->data[before] = '\0';
    }
}

void field_set_each(yyjson_mut_val *set, void (*visit)(void *data, const char *path), void *data)
{
    _cleanup_str_ struct str path = {0};

    each(set, &path, visit, data);
}

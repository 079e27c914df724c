/* The two mutable steps of a write: pruning and defaulting. */
#include <string.h>

#include "api/field_path.h"
#include "api/schema.h"
#include "base/alloc.h"
#include "base/str.h"

struct pruner {
    yyjson_mut_doc *doc;
    struct text_vec *faults;
    struct str path;
};

static void report(struct pruner *p, const char *what, const char *name)
{
    if (p->faults)
        text_vec_push(p->faults,
                      xasprintf("%s field \"%s%s%s\"", what, str_text(&p->path), p->path.len ? "." : "", name));
}

/* Small objects are compared pairwise; large ones (maps that anybody may fill) need an index to stay linear. */
#define SMALL_OBJECT 16

/* The value of the first key of that name, which may be the given one itself. */
static yyjson_mut_val *first_of(yyjson_mut_val *object, yyjson_mut_val *key, struct map *index)
{
    const char *name = yyjson_mut_get_str(key);
    yyjson_mut_val *value = yyjson_mut_obj_iter_get_val(key);

    if (!index)
        return yyjson_mut_obj_getn(object, name, yyjson_mut_get_len(key));
    if (!map_has(index, name))
        map_put(index, name, value);
    return map_get(index, name);
}

/* Drops all but the last of equal keys, as Go's decoder does: the later value moves to the place of the first one. */
static void drop_duplicates(struct pruner *p, yyjson_mut_val *object)
{
    _cleanup_(map_freep) struct map *index = yyjson_mut_obj_size(object) > SMALL_OBJECT ? map_new(NULL) : NULL;
    yyjson_mut_obj_iter it;
    yyjson_mut_val *key, *value, *first;

    yyjson_mut_obj_iter_init(object, &it);
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        value = yyjson_mut_obj_iter_get_val(key);
        first = first_of(object, key, index);
        if (first == value)
            continue;
        report(p, "duplicate", yyjson_mut_get_str(key));
        first->tag = value->tag;
        first->uni = value->uni;
        yyjson_mut_obj_iter_remove(&it);
    }
}

/* Names with a NUL inside would look like shorter ones to everything that reads C strings. */
static const struct schema *child_of(const struct schema *s, yyjson_mut_val *key)
{
    const char *name = yyjson_mut_get_str(key);

    return strlen(name) == yyjson_mut_get_len(key) ? schema_child(s, name) : NULL;
}

static void prune(struct pruner *p, const struct schema *s, yyjson_mut_val *value);

static void prune_at(struct pruner *p, const struct schema *s, const char *name, yyjson_mut_val *value)
{
    size_t before = field_path_enter(&p->path, name);

    prune(p, s, value);
    field_path_leave(&p->path, before);
}

static void prune_object(struct pruner *p, const struct schema *s, yyjson_mut_val *object)
{
    yyjson_mut_obj_iter it;
    yyjson_mut_val *key, *value;

    drop_duplicates(p, object);
    yyjson_mut_obj_iter_init(object, &it);
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        const char *name = yyjson_mut_get_str(key);
        const struct schema *child = child_of(s, key);
        value = yyjson_mut_obj_iter_get_val(key);
        if (!child && s->preserve_unknown)
            continue;
        if (!child)
            report(p, "unknown", name);
        if (!child || (yyjson_mut_is_null(value) && !child->nullable && child->type != SCHEMA_ANY))
            yyjson_mut_obj_iter_remove(&it);
        else
            prune_at(p, child, name, value);
    }
}

static void prune_array(struct pruner *p, const struct schema *s, yyjson_mut_val *array)
{
    size_t i, n, before;
    yyjson_mut_val *item;

    yyjson_mut_arr_foreach(array, i, n, item) {
        before = field_path_enter_item(&p->path, i);
        prune(p, s->items, item);
        field_path_leave(&p->path, before);
    }
}

/* Readers of quantities then have one form to care for. */
static void number_to_text(struct pruner *p, yyjson_mut_val *value)
{
    _cleanup_free_ char *text = yyjson_mut_val_write(value, 0, NULL);

    if (text) {
        yyjson_mut_val *copy = yyjson_mut_strcpy(p->doc, text);
        value->tag = copy->tag;
        value->uni = copy->uni;
    }
}

static void prune(struct pruner *p, const struct schema *s, yyjson_mut_val *value)
{
    if (s->type == SCHEMA_OBJECT && yyjson_mut_is_obj(value))
        prune_object(p, s, value);
    else if (s->type == SCHEMA_ARRAY && s->items && yyjson_mut_is_arr(value))
        prune_array(p, s, value);
    else if (s->type == SCHEMA_INT_OR_STRING && yyjson_mut_is_num(value) && str_same(s->format, "quantity"))
        number_to_text(p, value);
}

void schema_prune(const struct schema *s, yyjson_mut_doc *d, yyjson_mut_val *value, struct text_vec *faults)
{
    struct pruner p = {.doc = d, .faults = faults};

    prune(&p, s, value);
    str_done(&p.path);
}

static void default_properties(const struct schema *s, yyjson_mut_doc *d, yyjson_mut_val *object)
{
    for (size_t i = 0; i < s->n_properties; i++) {
        const struct property *p = &s->properties[i];
        yyjson_mut_val *child;
        if (!p->default_value && !p->schema->has_defaults)
            continue;
        child = yyjson_mut_obj_get(object, p->name);
        if (!child && p->default_value) {
            child = yyjson_val_mut_copy(d, p->default_value);
            yyjson_mut_obj_add(object, yyjson_mut_str(d, p->name), child);
        }
        if (child)
            schema_default(p->schema, d, child);
    }
}

/* Property names and default texts are not copied: kinds live as long as the process (api/kind.h). */
void schema_default(const struct schema *s, yyjson_mut_doc *d, yyjson_mut_val *value)
{
    size_t i, n;
    yyjson_mut_val *key, *item;

    if (!s->has_defaults)
        return;
    if (s->type == SCHEMA_ARRAY && s->items)
        yyjson_mut_arr_foreach(value, i, n, item)
            schema_default(s->items, d, item);
    if (s->type != SCHEMA_OBJECT || !yyjson_mut_is_obj(value))
        return;
    default_properties(s, d, value);
    if (s->additional)
        yyjson_mut_obj_foreach(value, i, n, key, item)
            schema_default(s->additional, d, item);
}

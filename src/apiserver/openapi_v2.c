#include "apiserver/openapi_v2.h"

#include <string.h>

#include "apiserver/openapi.h"
#include "base/alloc.h"
#include "base/str.h"

#define SCHEMAS_V3 "#/components/schemas/"
#define DEFINITIONS "#/definitions/"

static yyjson_mut_val *get(yyjson_mut_val *object, const char *key)
{
    return yyjson_mut_obj_get(object, key);
}

static void put(yyjson_mut_doc *d, yyjson_mut_val *object, const char *key, yyjson_mut_val *value)
{
    yyjson_mut_obj_put(object, yyjson_mut_strcpy(d, key), value);
}

static void move(yyjson_mut_doc *d, yyjson_mut_val *from, const char *key, yyjson_mut_val *to)
{
    yyjson_mut_val *value = get(from, key);

    if (value)
        put(d, to, key, yyjson_mut_val_mut_copy(d, value));
}

/* --- Schemas, changed in place --- */

static void convert(yyjson_mut_doc *d, yyjson_mut_val *schema);

static void convert_ref(yyjson_mut_doc *d, yyjson_mut_val *schema, const char *target)
{
    _cleanup_free_ char *ref = xasprintf(DEFINITIONS "%s", target + strlen(SCHEMAS_V3));

    put(d, schema, "$ref", yyjson_mut_strcpy(d, ref));
}

/* v2 has references beside descriptions, where v3 needs allOf; and readers who stop at a list without items. */
static void convert_type(yyjson_mut_doc *d, yyjson_mut_val *schema)
{
    yyjson_mut_val *only = yyjson_mut_arr_get_first(get(schema, "allOf"));
    const char *target = yyjson_mut_get_str(get(only ? only : schema, "$ref"));

    yyjson_mut_obj_remove_key(schema, "allOf");
    yyjson_mut_obj_remove_key(schema, "nullable");
    if (target)
        convert_ref(d, schema, target);
    if (yyjson_mut_equals_str(get(schema, "type"), "array") && !get(schema, "items"))
        put(d, schema, "items", yyjson_mut_obj(d));
    if (yyjson_mut_get_bool(get(schema, "x-kubernetes-preserve-unknown-fields")))
        yyjson_mut_obj_remove_key(schema, "properties"); /* kubectl would refuse all others */
}

static void convert(yyjson_mut_doc *d, yyjson_mut_val *schema)
{
    yyjson_mut_val *key, *value;
    size_t i, n;

    if (!yyjson_mut_is_obj(schema))
        return;
    convert_type(d, schema);
    convert(d, get(schema, "items"));
    convert(d, get(schema, "additionalProperties"));
    yyjson_mut_obj_foreach(get(schema, "properties"), i, n, key, value)
        convert(d, value);
}

static void add_definitions(yyjson_mut_doc *d, yyjson_mut_val *definitions, yyjson_mut_doc *v3)
{
    yyjson_mut_val *key, *value, *copy;
    size_t i, n;

    yyjson_mut_obj_foreach(json_mut_at(v3, "/components/schemas"), i, n, key, value) {
        if (get(definitions, yyjson_mut_get_str(key))) /* shared by several groups */
            continue;
        copy = yyjson_mut_val_mut_copy(d, value);
        convert(d, copy);
        put(d, definitions, yyjson_mut_get_str(key), copy);
    }
}

/* --- Paths --- */

static yyjson_mut_val *convert_parameters(yyjson_mut_doc *d, yyjson_mut_val *parameters)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *p, *o;
    size_t i, n;

    yyjson_mut_arr_foreach(parameters, i, n, p) {
        o = yyjson_mut_arr_add_obj(d, list);
        move(d, p, "name", o);
        move(d, p, "in", o);
        move(d, p, "description", o);
        move(d, p, "required", o);
        put(d, o, "type", yyjson_mut_str(d, "string"));
    }
    return list;
}

/* The media types of a v3 content; and its schema, which is the same for all of them. */
static yyjson_mut_val *media_of(yyjson_mut_doc *d, yyjson_mut_val *content, yyjson_mut_val **ret_schema)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *key, *value;
    size_t i, n;

    *ret_schema = NULL;
    yyjson_mut_obj_foreach(content, i, n, key, value) {
        yyjson_mut_arr_append(list, yyjson_mut_val_mut_copy(d, key));
        if (!*ret_schema) {
            *ret_schema = yyjson_mut_val_mut_copy(d, get(value, "schema"));
            convert(d, *ret_schema);
        }
    }
    return list;
}

static void add_body(yyjson_mut_doc *d, yyjson_mut_val *op, yyjson_mut_val *body, yyjson_mut_val *parameters)
{
    yyjson_mut_val *schema, *media = media_of(d, get(body, "content"), &schema), *o;

    if (!schema)
        return;
    put(d, op, "consumes", media);
    o = yyjson_mut_arr_add_obj(d, parameters);
    yyjson_mut_obj_add_str(d, o, "name", "body");
    yyjson_mut_obj_add_str(d, o, "in", "body");
    yyjson_mut_obj_add_bool(d, o, "required", true);
    yyjson_mut_obj_add_val(d, o, "schema", schema);
}

static void add_responses(yyjson_mut_doc *d, yyjson_mut_val *op, yyjson_mut_val *responses)
{
    yyjson_mut_val *to = yyjson_mut_obj_add_obj(d, op, "responses"), *key, *value, *schema, *media, *o;
    size_t i, n;

    yyjson_mut_obj_foreach(responses, i, n, key, value) {
        o = yyjson_mut_obj(d);
        media = media_of(d, get(value, "content"), &schema);
        move(d, value, "description", o);
        if (schema)
            put(d, o, "schema", schema);
        put(d, op, "produces", media);
        put(d, to, yyjson_mut_get_str(key), o);
    }
}

static yyjson_mut_val *convert_operation(yyjson_mut_doc *d, yyjson_mut_val *v3)
{
    static const char *const same[] = {"operationId", "x-kubernetes-action", "x-kubernetes-group-version-kind"};
    yyjson_mut_val *op = yyjson_mut_obj(d), *parameters = convert_parameters(d, get(v3, "parameters"));

    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        move(d, v3, same[i], op);
    add_body(d, op, get(v3, "requestBody"), parameters);
    if (yyjson_mut_arr_size(parameters))
        put(d, op, "parameters", parameters);
    add_responses(d, op, get(v3, "responses"));
    return op;
}

static void add_paths(yyjson_mut_doc *d, yyjson_mut_val *paths, yyjson_mut_doc *v3)
{
    yyjson_mut_val *path, *item, *key, *value, *o;
    size_t i, n, j, m;

    yyjson_mut_obj_foreach(json_mut_at(v3, "/paths"), i, n, path, item) {
        o = yyjson_mut_obj(d);
        yyjson_mut_obj_foreach(item, j, m, key, value) {
            const char *name = yyjson_mut_get_str(key);
            put(d, o, name, streq(name, "parameters") ? convert_parameters(d, value) : convert_operation(d, value));
        }
        put(d, paths, yyjson_mut_get_str(path), o);
    }
}

yyjson_mut_doc *openapi_v2_document(const struct catalog_vec *catalog)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *paths, *definitions;

    json_set_str(d, "/swagger", "2.0");
    json_set_str(d, "/info/title", "Godwit");
    json_set_str(d, "/info/version", "v" GODWIT_VERSION);
    paths = yyjson_mut_obj_add_obj(d, d->root, "paths");
    definitions = yyjson_mut_obj_add_obj(d, d->root, "definitions");
    VEC_EACH(catalog, g)
        VEC_EACH(&g->versions, v) {
            _cleanup_mut_doc_ yyjson_mut_doc *v3 = openapi_tree(g, *v);

            add_paths(d, paths, v3);
            add_definitions(d, definitions, v3);
        }
    return d;
}

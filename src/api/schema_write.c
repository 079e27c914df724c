/* Schemas as plain OpenAPI v3: for kubectl (components of a document, with references) and for
 * CustomResourceDefinitions (expanded, because structural schemas know no references). */
#include <string.h>

#include "api/crd.h"
#include "base/alloc.h"

/* Deeper than any real type; only a type that contains itself gets here. */
#define EXPAND_MAX 40

struct writer {
    yyjson_mut_doc *doc;
    const char *ref_prefix;
    struct map *refs; /* NULL: expand */
    int depth;
};

/* Keywords that mean the same here and there. */
static const char *const plain[] = {
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "nullable",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
};

/* Formats of kinds that other API servers don't know would only cause warnings there. */
static const char *const known_formats[] = {"int32", "int64", "double", "date-time", "byte",
                                            "ipv4",  "ipv6",  "cidr",   "uuid",      "mac"};

static bool is_known_format(const char *format)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_formats); i++)
        if (streq(known_formats[i], format))
            return true;
    return false;
}

const char *schema_title(const struct schema *s)
{
    return json_str_or(s->source, "/title", s->ref);
}

static yyjson_mut_val *write_schema(struct writer *w, const struct schema *s);

static void put(struct writer *w, yyjson_mut_val *to, const char *key, yyjson_mut_val *value)
{
    yyjson_mut_obj_add(to, yyjson_mut_strcpy(w->doc, key), value);
}

static void write_type(struct writer *w, const struct schema *s, yyjson_mut_val *to)
{
    const char *type = schema_type_string(s->type);
    const char *format = s->format && streq(s->format, "micro-time") ? "date-time" : s->format;

    if (s->type == SCHEMA_INT_OR_STRING && !w->refs) {
        yyjson_mut_val *any = yyjson_mut_arr(w->doc);
        yyjson_mut_obj_add_str(w->doc, yyjson_mut_arr_add_obj(w->doc, any), "type", "integer");
        yyjson_mut_obj_add_str(w->doc, yyjson_mut_arr_add_obj(w->doc, any), "type", "string");
        put(w, to, "anyOf", any);
        if (!yyjson_obj_get(s->source, "x-kubernetes-int-or-string"))
            put(w, to, "x-kubernetes-int-or-string", yyjson_mut_bool(w->doc, true));
        return;
    }
    if (*type)
        put(w, to, "type", yyjson_mut_str(w->doc, type));
    else if (!s->preserve_unknown)
        put(w, to, "x-kubernetes-preserve-unknown-fields", yyjson_mut_bool(w->doc, true));
    if (format && (w->refs || is_known_format(format)))
        put(w, to, "format", yyjson_mut_strcpy(w->doc, format));
}

/* A reference must stand alone in OpenAPI 3.0; allOf lets description and default stand beside it. */
static yyjson_mut_val *write_ref(struct writer *w, const struct schema *s, bool alone)
{
    _cleanup_free_ char *target = xasprintf("%s%s", w->ref_prefix, schema_title(s));
    yyjson_mut_val *ref = yyjson_mut_obj(w->doc), *all, *outer;

    if (!map_has(w->refs, s->ref))
        map_put(w->refs, s->ref, (void *)s);
    put(w, ref, "$ref", yyjson_mut_strcpy(w->doc, target));
    if (alone)
        return ref;
    outer = yyjson_mut_obj(w->doc);
    all = yyjson_mut_arr(w->doc);
    yyjson_mut_arr_append(all, ref);
    put(w, outer, "allOf", all);
    return outer;
}

/* Values have little to say in a reference, so that they stay small. */
static bool is_referred(const struct writer *w, const struct schema *s)
{
    return w->refs && s->ref && s->type == SCHEMA_OBJECT;
}

static void replace(struct writer *w, yyjson_mut_val *to, const char *key, const char *text)
{
    if (text)
        yyjson_mut_obj_put(to, yyjson_mut_str(w->doc, key), yyjson_mut_strcpy(w->doc, text));
}

static yyjson_mut_val *write_property(struct writer *w, const struct property *p)
{
    yyjson_mut_val *v = is_referred(w, p->schema) ? write_ref(w, p->schema, false) : write_schema(w, p->schema);

    replace(w, v, "description", p->description);
    if (p->default_value)
        yyjson_mut_obj_put(v, yyjson_mut_str(w->doc, "default"), yyjson_val_mut_copy(w->doc, p->default_value));
    if (w->refs) {
        replace(w, v, "x-kubernetes-patch-merge-key", p->merge_key);
        replace(w, v, "x-kubernetes-patch-strategy", p->strategy);
    }
    return v;
}

static yyjson_mut_val *write_child(struct writer *w, const struct schema *s)
{
    return is_referred(w, s) ? write_ref(w, s, true) : write_schema(w, s);
}

/* Fields that Godwit never supports are not promised to anybody. */
static void write_properties(struct writer *w, const struct schema *s, yyjson_mut_val *to)
{
    yyjson_mut_val *properties = yyjson_mut_obj(w->doc);

    for (size_t i = 0; i < s->n_properties; i++)
        if (s->properties[i].support != SUPPORT_NEVER)
            put(w, properties, s->properties[i].name, write_property(w, &s->properties[i]));
    if (s->n_properties)
        put(w, to, "properties", properties);
}

static yyjson_mut_val *write_schema(struct writer *w, const struct schema *s)
{
    yyjson_mut_val *to = yyjson_mut_obj(w->doc);
    yyjson_val *value;

    if (w->depth >= EXPAND_MAX) {
        put(w, to, "x-kubernetes-preserve-unknown-fields", yyjson_mut_bool(w->doc, true));
        return to;
    }
    w->depth++;
    if ((value = yyjson_obj_get(s->source, "description")))
        put(w, to, "description", yyjson_val_mut_copy(w->doc, value));
    write_type(w, s, to);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if ((value = yyjson_obj_get(s->source, plain[i])))
            put(w, to, plain[i], yyjson_val_mut_copy(w->doc, value));
    write_properties(w, s, to);
    if (s->items)
        put(w, to, "items", write_child(w, s->items));
    if (s->additional)
        put(w, to, "additionalProperties", write_child(w, s->additional));
    w->depth--;
    return to;
}

yyjson_mut_val *schema_write(const struct schema *s, yyjson_mut_doc *d, const char *ref_prefix, struct map *refs)
{
    return write_schema(&(struct writer){.doc = d, .ref_prefix = ref_prefix, .refs = refs}, s);
}

/* Structural OpenAPI v3 schemas, compiled from the JSON form of a kind file or a CustomResourceDefinition.
 *
 * Types are shared: a `$ref` compiles to a pointer, so common types exist once. What belongs to the field and not to
 * its type (description, default, protobuf number, support, merge key) lives in the property.
 *
 * A write goes through three steps, in this order, as in Kubernetes:
 *   schema_prune (mutable, reports unknown and duplicate fields), schema_default (mutable), schema_validate
 * (immutable). */
#pragma once

#include <regex.h>

#include "base/json.h"
#include "base/map.h"
#include "base/vec.h"

enum schema_type {
    SCHEMA_ANY,
    SCHEMA_OBJECT,
    SCHEMA_ARRAY,
    SCHEMA_STRING,
    SCHEMA_INTEGER,
    SCHEMA_NUMBER,
    SCHEMA_BOOLEAN,
    SCHEMA_INT_OR_STRING,
    SCHEMA_TYPE_MAX,
};

enum schema_support { SUPPORT_WORKS, SUPPORT_LATER, SUPPORT_NEVER };

enum list_type { LIST_ATOMIC, LIST_SET, LIST_MAP };

struct schema;

struct property {
    const char *name;
    struct schema *schema;
    const char *description;   /* or NULL */
    yyjson_val *default_value; /* or NULL */
    const char *reason;        /* of a field that is not supported, or NULL */
    const char *merge_key;     /* x-kubernetes-patch-merge-key, or NULL */
    const char *strategy;    /* x-kubernetes-patch-strategy: "merge", "replace", "retainKeys", a comma list; or NULL */
    unsigned protobuf;       /* field number, 0 = none */
    unsigned protobuf_in;    /* number of the message around it that JSON doesn't show, 0 = none */
    bool protobuf_omitempty; /* zero and false mean absent */
    enum schema_support support;
};

struct schema {
    enum schema_type type;
    enum list_type list_type;
    bool nullable;
    bool preserve_unknown;
    bool atomic;                 /* of objects: server-side apply owns them as a whole */
    bool embedded;               /* a whole object with apiVersion, kind and metadata */
    struct property *properties; /* in the order of the file */
    size_t n_properties;
    uint16_t *by_name;         /* indexes into properties, sorted by name */
    struct schema *items;      /* of arrays */
    struct schema *additional; /* of maps: the schema of each value */
    const char *format;        /* or NULL */
    regex_t *pattern;          /* or NULL */
    bool has_defaults;         /* somewhere in this subtree */
    bool has_unsupported;      /* somewhere in this subtree */
    const char *ref;           /* the name under kinds/defs, for a shared type; else NULL */
    yyjson_val *source;        /* the JSON it was compiled from: enum, minimum, required, ... */
};

struct schema_set;

/* Owns compiled schemas. resolve(data, name) gives the JSON of a shared type, which must outlive the set. */
struct schema_set *schema_set_new(yyjson_val *(*resolve)(void *data, const char *name), void *data);
struct schema_set *schema_set_free(struct schema_set *set);
DEFINE_CLEANUP(struct schema_set *, schema_set_free)

/* Compiles `source`, which must outlive the set. The result belongs to the set. Fails on a bad type, pattern or $ref,
 * with the path of the fault. */
int schema_compile(struct schema_set *set, yyjson_val *source, struct schema **ret, struct gw_error *err);

/* The property, or NULL. */
const struct property *schema_property(const struct schema *s, const char *name);
/* The schema below a field of an object or map: a property's or the additional one's, NULL when unknown. */
const struct schema *schema_child(const struct schema *s, const char *name);

VEC_DEFINE(text_vec, char *);            /* heap strings */
void text_vec_clear(struct text_vec *v); /* frees the strings and the array */

/* Removes unknown fields, duplicate keys (the last one stays) and nulls that are not nullable; quantities given as
 * numbers become strings, made in d. Each fault is appended to `faults` once, as `unknown field "spec.a.b"` or
 * `duplicate field "spec.a"`; faults may be NULL. */
void schema_prune(const struct schema *s, yyjson_mut_doc *d, yyjson_mut_val *value, struct text_vec *faults);

/* Fills in defaults of absent fields below value. Defaults are copied into d. */
void schema_default(const struct schema *s, yyjson_mut_doc *d, yyjson_mut_val *value);

/* Checks value and appends one cause per fault, in Kubernetes' words; path is the field path of value ("" for a whole
 * object). Fields that Godwit does not support are faults too, unless they ask for nothing (false, empty list). */
void schema_validate(const struct schema *s, yyjson_val *value, const char *path, struct gw_error *err);

const char *schema_type_string(enum schema_type type); /* "object"; "" for any, "string" for int-or-string */

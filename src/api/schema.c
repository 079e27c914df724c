#include "api/schema.h"

#include <assert.h>
#include <string.h>

#include "api/pattern.h"
#include "base/alloc.h"
#include "base/str.h"

VEC_DEFINE(schema_vec, struct schema *);

struct schema_set {
    struct schema_vec all;
    struct map *shared; /* by $ref name; values belong to `all` */
    yyjson_val *(*resolve)(void *data, const char *name);
    void *data;
};

static const char *const type_names[] = {
    [SCHEMA_ANY] = "",
    [SCHEMA_OBJECT] = "object",
    [SCHEMA_ARRAY] = "array",
    [SCHEMA_STRING] = "string",
    [SCHEMA_INTEGER] = "integer",
    [SCHEMA_NUMBER] = "number",
    [SCHEMA_BOOLEAN] = "boolean",
    [SCHEMA_INT_OR_STRING] = "string",
};
static_assert(ARRAY_SIZE(type_names) == SCHEMA_TYPE_MAX, "each type needs its name");

const char *schema_type_string(enum schema_type type)
{
    return type_names[type];
}

struct schema_set *schema_set_new(yyjson_val *(*resolve)(void *data, const char *name), void *data)
{
    struct schema_set *set = xnew(struct schema_set);

    set->shared = map_new(NULL);
    set->resolve = resolve;
    set->data = data;
    return set;
}

static void schema_free(struct schema *s)
{
    if (s->pattern) {
        regfree(s->pattern);
        free(s->pattern);
    }
    free(s->properties);
    free(s->by_name);
    free(s);
}

struct schema_set *schema_set_free(struct schema_set *set)
{
    if (!set)
        return NULL;
    VEC_EACH(&set->all, s)
        schema_free(*s);
    schema_vec_done(&set->all);
    map_free(set->shared);
    free(set);
    return NULL;
}

void text_vec_clear(struct text_vec *v)
{
    VEC_EACH(v, text)
        free(*text);
    text_vec_done(v);
}

/* A file with a fault in it is the author's, so faults are BadRequest with the place, as a path of schema keywords. */
struct compiler {
    struct schema_set *set;
    struct str path;
    struct gw_error *err;
    int depth;
};

static int fault(struct compiler *c, const char *what)
{
    return gw_error_set(c->err, GW_BAD_REQUEST, "schema%s: %s", str_text(&c->path), what);
}

static int compile(struct compiler *c, yyjson_val *source, struct schema **ret);

/* Compiles what stands at a path component below the present place. */
static int compile_at(struct compiler *c, const char *component, yyjson_val *source, struct schema **ret)
{
    size_t before = c->path.len;

    str_printf(&c->path, ".%s", component);
    int rc = compile(c, source, ret);
    if (rc == 0) {
        c->path.len = before;
        c->path.data[before] = '\0';
    }
    return rc;
}

static int parse_type(struct compiler *c, struct schema *s)
{
    const char *name = yyjson_get_str(yyjson_obj_get(s->source, "type"));
    bool either = yyjson_get_bool(yyjson_obj_get(s->source, "x-kubernetes-int-or-string"));

    if (either || (s->format && (streq(s->format, "int-or-string") || streq(s->format, "quantity")))) {
        s->type = SCHEMA_INT_OR_STRING;
        return 0;
    }
    if (!name) {
        bool object = yyjson_obj_get(s->source, "properties") || yyjson_obj_get(s->source, "additionalProperties");
        s->type = object ? SCHEMA_OBJECT : SCHEMA_ANY;
        return 0;
    }
    for (enum schema_type t = SCHEMA_OBJECT; t < SCHEMA_INT_OR_STRING; t++)
        if (streq(type_names[t], name)) {
            s->type = t;
            return 0;
        }
    return fault(c, "unknown type");
}

static int parse_pattern(struct compiler *c, struct schema *s)
{
    const char *pattern = yyjson_get_str(yyjson_obj_get(s->source, "pattern"));

    if (!pattern)
        return 0;
    s->pattern = xnew(regex_t);
    if (pattern_compile(pattern, s->pattern) == 0)
        return 0;
    free(TAKE_PTR(s->pattern));
    return fault(c, "the pattern is no regular expression that POSIX can express");
}

static int parse_list_type(struct compiler *c, struct schema *s)
{
    static const char *const names[] = {[LIST_ATOMIC] = "atomic", [LIST_SET] = "set", [LIST_MAP] = "map"};
    const char *name = yyjson_get_str(yyjson_obj_get(s->source, "x-kubernetes-list-type"));

    if (!name)
        return 0;
    for (enum list_type t = LIST_ATOMIC; t <= LIST_MAP; t++)
        if (streq(names[t], name)) {
            s->list_type = t;
            return 0;
        }
    return fault(c, "unknown x-kubernetes-list-type");
}

static const char *either_str(yyjson_val *source, const struct schema *s, const char *key)
{
    const char *text = yyjson_get_str(yyjson_obj_get(source, key));

    return text ? text : yyjson_get_str(yyjson_obj_get(s->source, key));
}

static int parse_support(struct compiler *c, const char *name, enum schema_support *ret)
{
    static const char *const names[] = {"works", "later", "never"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!name || streq(names[i], name)) {
            *ret = (enum schema_support)i;
            return 0;
        }
    return fault(c, "x-godwit-support is none of works, later, never");
}

/* N, or [M, N]: N within message M. */
static void read_protobuf_number(yyjson_val *number, struct property *p)
{
    bool within = yyjson_is_arr(number);

    p->protobuf_in = within ? (unsigned)yyjson_get_uint(yyjson_arr_get_first(number)) : 0;
    p->protobuf = (unsigned)yyjson_get_uint(within ? yyjson_arr_get_last(number) : number);
}

static int compile_property(struct compiler *c, yyjson_val *source, struct property *p)
{
    int rc = compile_at(c, p->name, source, &p->schema);

    if (rc < 0)
        return rc;
    p->description = either_str(source, p->schema, "description");
    p->default_value = yyjson_obj_get(source, "default");
    if (!p->default_value)
        p->default_value = yyjson_obj_get(p->schema->source, "default");
    p->reason = either_str(source, p->schema, "x-godwit-reason");
    p->merge_key = either_str(source, p->schema, "x-kubernetes-patch-merge-key");
    p->strategy = either_str(source, p->schema, "x-kubernetes-patch-strategy");
    read_protobuf_number(yyjson_obj_get(source, "x-protobuf"), p);
    p->protobuf_omitempty = yyjson_get_bool(yyjson_obj_get(source, "x-protobuf-omitempty"));
    return parse_support(c, either_str(source, p->schema, "x-godwit-support"), &p->support);
}

static int by_name(const void *a, const void *b, void *properties)
{
    const struct property *p = properties;

    return strcmp(p[*(const uint16_t *)a].name, p[*(const uint16_t *)b].name);
}

static int compile_properties(struct compiler *c, struct schema *s)
{
    yyjson_val *properties = yyjson_obj_get(s->source, "properties"), *key, *value;
    size_t len = yyjson_obj_size(properties);
    int rc;

    if (!len)
        return 0;
    if (len > UINT16_MAX)
        return fault(c, "too many properties");
    s->properties = xnew_n(struct property, len);
    s->by_name = xnew_n(uint16_t, len);
    json_each_member(properties, key, value) {
        struct property *p = &s->properties[s->n_properties];
        p->name = yyjson_get_str(key);
        if ((rc = compile_property(c, value, p)) < 0)
            return rc;
        s->by_name[s->n_properties] = (uint16_t)s->n_properties;
        s->n_properties++;
        s->has_defaults |= p->default_value || p->schema->has_defaults;
        s->has_unsupported |= p->support != SUPPORT_WORKS || p->schema->has_unsupported;
    }
    qsort_r(s->by_name, len, sizeof(*s->by_name), by_name, s->properties);
    return 0;
}

static int compile_children(struct compiler *c, struct schema *s)
{
    yyjson_val *items = yyjson_obj_get(s->source, "items");
    yyjson_val *additional = yyjson_obj_get(s->source, "additionalProperties");
    int rc = compile_properties(c, s);

    if (rc == 0 && yyjson_is_obj(items))
        rc = compile_at(c, "items", items, &s->items);
    if (rc == 0 && yyjson_is_obj(additional))
        rc = compile_at(c, "additionalProperties", additional, &s->additional);
    if (rc < 0)
        return rc;
    for (struct schema *child = s->items ? s->items : s->additional; child; child = NULL) {
        s->has_defaults |= child->has_defaults;
        s->has_unsupported |= child->has_unsupported;
    }
    if (yyjson_is_true(additional))
        s->preserve_unknown = true;
    return 0;
}

static int compile_body(struct compiler *c, struct schema *s)
{
    int rc;

    if (!yyjson_is_obj(s->source))
        return fault(c, "not an object");
    s->format = yyjson_get_str(yyjson_obj_get(s->source, "format"));
    s->nullable = yyjson_get_bool(yyjson_obj_get(s->source, "nullable"));
    s->embedded = yyjson_get_bool(yyjson_obj_get(s->source, "x-kubernetes-embedded-resource"));
    s->preserve_unknown = yyjson_get_bool(yyjson_obj_get(s->source, "x-kubernetes-preserve-unknown-fields"));
    s->atomic = str_same(json_str(s->source, "/x-kubernetes-map-type"), "atomic");
    if ((rc = parse_type(c, s)) < 0 || (rc = parse_pattern(c, s)) < 0 || (rc = parse_list_type(c, s)) < 0)
        return rc;
    return compile_children(c, s);
}

static struct schema *new_schema(struct compiler *c, yyjson_val *source)
{
    struct schema *s = xnew(struct schema);

    s->source = source;
    schema_vec_push(&c->set->all, s);
    return s;
}

/* A shared type; one that is met again while it is compiled contains itself, and is taken to have everything. */
static int compile_ref(struct compiler *c, const char *name, struct schema **ret)
{
    struct schema *s = map_get(c->set->shared, name);
    yyjson_val *source;

    if (s) {
        *ret = s;
        return 0;
    }
    source = c->set->resolve ? c->set->resolve(c->set->data, name) : NULL;
    if (!source)
        return fault(c, "$ref to a type that does not exist");
    s = new_schema(c, source);
    s->ref = name;
    s->has_defaults = s->has_unsupported = true;
    map_put(c->set->shared, name, s);
    *ret = s;
    int rc = compile_body(c, s);
    if (rc < 0)
        map_remove(c->set->shared, name);
    return rc;
}

static int compile(struct compiler *c, yyjson_val *source, struct schema **ret)
{
    const char *ref = yyjson_get_str(yyjson_obj_get(source, "$ref"));
    int rc;

    if (c->depth >= JSON_MAX_DEPTH)
        return fault(c, "nested too deep");
    c->depth++;
    if (ref) {
        rc = compile_ref(c, ref, ret);
    } else {
        *ret = new_schema(c, source);
        rc = compile_body(c, *ret);
    }
    c->depth--;
    return rc;
}

int schema_compile(struct schema_set *set, yyjson_val *source, struct schema **ret, struct gw_error *err)
{
    struct compiler c = {.set = set, .err = err};
    int rc = compile(&c, source, ret);

    str_done(&c.path);
    return rc;
}

const struct property *schema_property(const struct schema *s, const char *name)
{
    size_t low = 0, high = s->n_properties;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct property *p = &s->properties[s->by_name[middle]];
        int order = strcmp(name, p->name);
        if (order == 0)
            return p;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct schema *schema_child(const struct schema *s, const char *name)
{
    const struct property *p = schema_property(s, name);

    return p ? p->schema : s->additional;
}

/* One group-version as an OpenAPI v3 document. kubectl reads three things in it: the schema with the kind's
 * x-kubernetes-group-version-kind, the paths that lead to it, and, at the patch operation of such a path, the query
 * parameters (fieldValidation, dryRun) and the kinds of patches that the kind takes. */
#include <string.h>

#include "api/crd.h"
#include "apiserver/openapi.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

#define SCHEMAS "#/components/schemas/"
#define TYPE_PREFIX "io.godwit.types."

struct writer {
    yyjson_mut_doc *doc;
    yyjson_mut_val *paths, *schemas;
    struct map *refs;
    const struct kind *kind;
    const char *version;
    char *schema_name;
};

/* "io.kubevirt.v1.VirtualMachine": the group's labels backwards, as Kubernetes names its types. */
static char *schema_name(const struct kind *kind, const char *version)
{
    _cleanup_free_ char *group = xstrdup(*kind->group ? kind->group : "core.api.k8s.io");
    struct str name = {0};
    char *dot;

    while ((dot = strrchr(group, '.'))) {
        str_printf(&name, "%s.", dot + 1);
        *dot = '\0';
    }
    str_printf(&name, "%s.%s.%s", group, version, kind->kind);
    return str_take(&name);
}

static yyjson_mut_val *group_version_kind(struct writer *w)
{
    yyjson_mut_val *o = yyjson_mut_obj(w->doc);

    yyjson_mut_obj_add_strcpy(w->doc, o, "group", w->kind->group);
    yyjson_mut_obj_add_strcpy(w->doc, o, "kind", w->kind->kind);
    yyjson_mut_obj_add_strcpy(w->doc, o, "version", w->version);
    return o;
}

static yyjson_mut_val *own_ref(struct writer *w)
{
    _cleanup_free_ char *target = xasprintf(SCHEMAS "%s", w->schema_name);
    yyjson_mut_val *o = yyjson_mut_obj(w->doc);

    yyjson_mut_obj_add_strcpy(w->doc, o, "$ref", target);
    return o;
}

static yyjson_mut_val *object_schema(struct writer *w)
{
    yyjson_mut_val *o = yyjson_mut_obj(w->doc);

    yyjson_mut_obj_add_str(w->doc, o, "type", "object");
    return o;
}

static void add_parameter(struct writer *w, yyjson_mut_val *list, const char *in, const char *name,
                          const char *description)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(w->doc, list), *schema;

    yyjson_mut_obj_add_strcpy(w->doc, o, "name", name);
    yyjson_mut_obj_add_str(w->doc, o, "in", in);
    yyjson_mut_obj_add_str(w->doc, o, "description", description);
    if (streq(in, "path"))
        yyjson_mut_obj_add_bool(w->doc, o, "required", true);
    schema = yyjson_mut_obj_add_obj(w->doc, o, "schema");
    yyjson_mut_obj_add_str(w->doc, schema, "type", "string");
}

#define DRY_RUN "All: checks the request, but changes nothing."
#define FIELD_MANAGER "Name of the program that makes the change."
#define FIELD_VALIDATION "What happens with unknown and duplicate fields: Ignore, Warn or Strict."

static const struct parameter {
    const char *name, *description;
} write_parameters[] = {
    {"dryRun", DRY_RUN},
    {"fieldManager", FIELD_MANAGER},
    {"fieldValidation", FIELD_VALIDATION},
    {NULL, NULL},
};

static const struct parameter patch_parameters[] = {
    {"dryRun", DRY_RUN},
    {"fieldManager", FIELD_MANAGER},
    {"fieldValidation", FIELD_VALIDATION},
    {"force", "Server-side apply takes fields from other managers."},
    {NULL, NULL},
};

static const struct parameter list_parameters[] = {
    {"labelSelector", "Only objects whose labels fit."},
    {"fieldSelector", "Only objects whose fields fit."},
    {"limit", "At most so many objects; the answer tells how to go on."},
    {"continue", "Where the list that this token is from goes on."},
    {"resourceVersion", "How old the answer may be."},
    {"watch", "Streams the changes instead of a list."},
    {NULL, NULL},
};

static const struct parameter delete_parameters[] = {
    {"dryRun", DRY_RUN},
    {"gracePeriodSeconds", "Time in seconds that the object may take to end."},
    {"propagationPolicy", "What happens with dependents: Orphan, Background or Foreground."},
    {NULL, NULL},
};

static void add_parameters(struct writer *w, yyjson_mut_val *op, const struct parameter *p)
{
    yyjson_mut_val *list = p ? yyjson_mut_obj_add_arr(w->doc, op, "parameters") : NULL;

    for (; p && p->name; p++)
        add_parameter(w, list, "query", p->name, p->description);
}

static void add_content(struct writer *w, yyjson_mut_val *to, const char *type, yyjson_mut_val *schema)
{
    yyjson_mut_val *o = yyjson_mut_obj_add_obj(w->doc, to, type);

    yyjson_mut_obj_add_val(w->doc, o, "schema", schema);
}

static void add_patch_body(struct writer *w, yyjson_mut_val *op)
{
    yyjson_mut_val *content =
        yyjson_mut_obj_add_obj(w->doc, yyjson_mut_obj_add_obj(w->doc, op, "requestBody"), "content");

    add_content(w, content, "application/json-patch+json", object_schema(w));
    add_content(w, content, "application/merge-patch+json", object_schema(w));
    add_content(w, content, "application/apply-patch+yaml", object_schema(w));
    if (w->kind->builtin)
        add_content(w, content, "application/strategic-merge-patch+json", object_schema(w));
}

static void add_object_body(struct writer *w, yyjson_mut_val *op)
{
    yyjson_mut_val *content =
        yyjson_mut_obj_add_obj(w->doc, yyjson_mut_obj_add_obj(w->doc, op, "requestBody"), "content");

    add_content(w, content, "application/json", own_ref(w));
}

static void add_responses(struct writer *w, yyjson_mut_val *op, const char *code, bool object)
{
    yyjson_mut_val *ok = yyjson_mut_obj_add_obj(w->doc, yyjson_mut_obj_add_obj(w->doc, op, "responses"), code);

    yyjson_mut_obj_add_str(w->doc, ok, "description", "OK");
    add_content(w, yyjson_mut_obj_add_obj(w->doc, ok, "content"), "application/json",
                object ? own_ref(w) : object_schema(w));
}

static const struct operation {
    const char *method, *action;
    const struct parameter *parameters;
    const char *code;
    bool object; /* the answer is one object */
    void (*body)(struct writer *w, yyjson_mut_val *op);
} collection_operations[] =
    {
        {"get", "list", list_parameters, "200", false, NULL},
        {"post", "post", write_parameters, "201", true, add_object_body},
        {"delete", "deletecollection", delete_parameters, "200", false, NULL},
        {0},
},
  item_operations[] =
      {
          {"get", "get", NULL, "200", true, NULL},
          {"put", "put", write_parameters, "200", true, add_object_body},
          {"patch", "patch", patch_parameters, "200", true, add_patch_body},
          {"delete", "delete", delete_parameters, "200", false, NULL},
          {0},
},
  status_operations[] = {
      {"get", "get", NULL, "200", true, NULL},
      {"put", "put", write_parameters, "200", true, add_object_body},
      {"patch", "patch", patch_parameters, "200", true, add_patch_body},
      {0},
};

static void add_operation(struct writer *w, yyjson_mut_val *path, const struct operation *o, const char *suffix)
{
    yyjson_mut_val *op = yyjson_mut_obj_add_obj(w->doc, path, o->method);
    _cleanup_free_ char *id = xasprintf("%s%s%s%s", o->action, w->kind->kind, w->version, suffix);

    yyjson_mut_obj_add_strcpy(w->doc, op, "operationId", id);
    add_parameters(w, op, o->parameters);
    if (o->body)
        o->body(w, op);
    add_responses(w, op, o->code, o->object);
    yyjson_mut_obj_add_str(w->doc, op, "x-kubernetes-action", o->action);
    yyjson_mut_obj_add_val(w->doc, op, "x-kubernetes-group-version-kind", group_version_kind(w));
}

/* OpenAPI's actions are named like verbs, but for these. */
static bool is_served(const struct kind *kind, const char *action)
{
    return kind_has_verb(kind, streq(action, "post") ? "create" : streq(action, "put") ? "update" : action);
}

static void add_path(struct writer *w, bool namespaced, bool item, const char *suffix,
                     const struct operation *operations)
{
    const struct kind *k = w->kind;
    _cleanup_free_ char *path =
        xasprintf("/%s%s%s/%s/%s%s%s%s", *k->group ? "apis" : "api", *k->group ? "/" : "", k->group, w->version,
                  namespaced ? "namespaces/{namespace}/" : "", k->plural, item ? "/{name}" : "", suffix);
    yyjson_mut_val *o = yyjson_mut_obj(w->doc), *parameters = yyjson_mut_arr(w->doc);

    for (; operations->method; operations++)
        if (is_served(k, operations->action))
            add_operation(w, o, operations, *suffix ? "Status" : "");
    if (yyjson_mut_obj_size(o) == 0)
        return;
    if (item)
        add_parameter(w, parameters, "path", "name", "Name of the object.");
    if (namespaced)
        add_parameter(w, parameters, "path", "namespace", "Namespace of the object.");
    yyjson_mut_obj_add_val(w->doc, o, "parameters", parameters);
    yyjson_mut_obj_add(w->paths, yyjson_mut_strcpy(w->doc, path), o);
}

static void add_paths(struct writer *w)
{
    static const struct operation list_everywhere[] = {{"get", "list", list_parameters, "200", false, NULL}, {0}};
    const struct kind *k = w->kind;

    add_path(w, k->namespaced, false, "", collection_operations);
    add_path(w, k->namespaced, true, "", item_operations);
    if (k->has_status)
        add_path(w, k->namespaced, true, "/status", status_operations);
    if (k->namespaced)
        add_path(w, false, false, "", list_everywhere);
}

static void add_schema(struct writer *w)
{
    yyjson_mut_val *schema = schema_write(w->kind->schema, w->doc, SCHEMAS TYPE_PREFIX, w->refs);
    yyjson_mut_val *list = yyjson_mut_arr(w->doc);

    yyjson_mut_arr_append(list, group_version_kind(w));
    yyjson_mut_obj_add_val(w->doc, schema, "x-kubernetes-group-version-kind", list);
    yyjson_mut_obj_add(w->schemas, yyjson_mut_strcpy(w->doc, w->schema_name), schema);
}

static void add_kind(struct writer *w, const struct kind *kind)
{
    w->kind = kind;
    w->schema_name = schema_name(kind, w->version);
    add_paths(w);
    add_schema(w);
    free(TAKE_PTR(w->schema_name));
}

/* Writing a shared type may bring up more of them: until none is left. */
static void add_shared_types(struct writer *w)
{
    _cleanup_(map_freep) struct map *done = map_new(NULL);

    while (map_len(w->refs)) {
        _cleanup_free_ char *name = NULL;
        const struct schema *s = NULL;
        const char *key;
        size_t cursor = 0;
        if (!map_next(w->refs, &cursor, &key, (void **)&s))
            break;
        name = xasprintf(TYPE_PREFIX "%s", schema_title(s));
        if (!map_has(done, key)) {
            map_put(done, key, (void *)s);
            yyjson_mut_obj_add(w->schemas, yyjson_mut_strcpy(w->doc, name),
                               schema_write(s, w->doc, SCHEMAS TYPE_PREFIX, w->refs));
        }
        map_remove(w->refs, s->ref);
    }
}

yyjson_mut_doc *openapi_tree(const struct catalog_group *g, const char *version)
{
    yyjson_mut_doc *d = json_object();
    _cleanup_(map_freep) struct map *refs = map_new(NULL);
    struct writer w = {.doc = d, .version = version, .refs = refs};

    json_set_str(d, "/openapi", "3.0.0");
    json_set_str(d, "/info/title", "Godwit");
    json_set_str(d, "/info/version", "v" GODWIT_VERSION);
    w.paths = yyjson_mut_obj_add_obj(d, d->root, "paths");
    w.schemas = yyjson_mut_obj_add_obj(d, yyjson_mut_obj_add_obj(d, d->root, "components"), "schemas");
    VEC_EACH(&g->kinds, k)
        if (kind_version(*k, version))
            add_kind(&w, *k);
    add_shared_types(&w);
    return d;
}

struct blob *openapi_document(const struct catalog_group *g, const char *version)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = openapi_tree(g, version);

    return json_encode(d->root);
}

#include "api/crd.h"

#include <inttypes.h>
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/rules.h"
#include "base/alloc.h"
#include "base/str.h"

/* Keywords of schemas that change what is valid and that Godwit does not evaluate: refused rather than ignored. */
static const struct {
    const char *keyword;
    const char *why;
} unsupported[] = {
    {"x-kubernetes-validations", "validation rules (CEL) are not supported: remove them from the schema"},
    {"$ref", "references are not allowed in structural schemas"},
    {"oneOf", "not supported yet"},
    {"allOf", "not supported yet"},
    {"not", "not supported yet"},
    {"anyOf", "not supported yet, except beside x-kubernetes-int-or-string"},
    {"x-godwit-support", "reserved for kinds that are built in"},
    {"x-protobuf", "reserved for kinds that are built in"},
};

static void check_keywords(yyjson_val *schema, const char *path, struct gw_error *err)
{
    bool either = json_bool(schema, "/x-kubernetes-int-or-string", false);

    for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
        const char *keyword = unsupported[i].keyword;
        if (!yyjson_obj_get(schema, keyword) || (either && (streq(keyword, "anyOf") || streq(keyword, "allOf"))))
            continue;
        _cleanup_free_ char *field = xasprintf("%s.%s", path, keyword);
        field_forbidden(err, field, "%s", unsupported[i].why);
    }
}

/* Where a schema stands, and what Kubernetes says when it has no type there (k8s.io/apiextensions-apiserver,
 * pkg/apiserver/schema/validation.go). */
#define AT_ROOT "must not be empty at the root"
#define AT_FIELD "must not be empty for specified object fields"
#define AT_ITEM "must not be empty for specified array items"

static void check_type(yyjson_val *schema, const char *path, const char *fault, struct gw_error *err)
{
    bool any = json_bool(schema, "/x-kubernetes-int-or-string", false) ||
               json_bool(schema, "/x-kubernetes-preserve-unknown-fields", false);
    _cleanup_free_ char *field = xasprintf("%s.type", path);

    if (!*json_str_or(schema, "/type", "") && (!any || streq(fault, AT_ROOT)))
        field_required(err, field, "%s", fault);
}

static void check_schema(yyjson_val *schema, const char *path, const char *no_type, struct gw_error *err)
{
    static const char *const nested[][2] = {{"items", AT_ITEM}, {"additionalProperties", AT_FIELD}};
    yyjson_val *key, *value;

    check_type(schema, path, no_type, err);
    check_keywords(schema, path, err);
    json_each_member(yyjson_obj_get(schema, "properties"), key, value) {
        _cleanup_free_ char *field = xasprintf("%s.properties[%s]", path, yyjson_get_str(key));
        check_schema(value, field, AT_FIELD, err);
    }
    for (size_t k = 0; k < ARRAY_SIZE(nested); k++)
        if (yyjson_is_obj(value = yyjson_obj_get(schema, nested[k][0]))) {
            _cleanup_free_ char *field = xasprintf("%s.%s", path, nested[k][0]);
            check_schema(value, field, nested[k][1], err);
        }
}

/* The version that objects are stored in; its schema and columns hold for all versions. */
static yyjson_val *storage_version(yyjson_val *crd)
{
    yyjson_val *item;

    json_each(json_at(crd, "/spec/versions"), item)
        if (json_bool(item, "/storage", false))
            return item;
    return NULL;
}

static void check_versions(yyjson_val *crd, struct gw_error *err)
{
    yyjson_val *storage = storage_version(crd), *item;
    yyjson_val *shared = json_at(storage, "/schema/openAPIV3Schema");
    size_t i, stored = 0;

    json_each_at(json_at(crd, "/spec/versions"), i, item) {
        yyjson_val *schema = json_at(item, "/schema/openAPIV3Schema");
        _cleanup_free_ char *field = xasprintf("spec.versions[%zu].schema.openAPIV3Schema", i);
        stored += json_bool(item, "/storage", false);
        if (!schema)
            field_required(err, field, "schemas are required");
        else if (!json_equal(schema, shared))
            field_forbidden(err, field, "versions with different schemas are not supported yet");
    }
    if (stored != 1)
        field_invalid(err, "spec.versions", "\"\"", "must have exactly one version marked as storage version");
    if (shared)
        check_schema(shared, "spec.versions[*].schema.openAPIV3Schema", AT_ROOT, err);
}

static void check_names(yyjson_val *crd, struct gw_error *err)
{
    const char *group = json_str_or(crd, "/spec/group", ""), *plural = json_str_or(crd, "/spec/names/plural", "");
    _cleanup_free_ char *name = xasprintf("%s.%s", plural, group),
                        *quoted = field_quote(json_at(crd, "/metadata/name"));
    const char *fault = name_fault_dns_subdomain(group);

    if (!streq(name, meta_name(crd)))
        field_invalid(err, "metadata.name", quoted, "must be spec.names.plural+\".\"+spec.group");
    if (fault || !strchr(group, '.')) {
        _cleanup_free_ char *text = field_quote(json_at(crd, "/spec/group"));
        field_invalid(err, "spec.group", text, "%s", fault ? fault : "should be a domain with at least one dot");
    }
    if ((fault = name_fault_dns_1035(plural))) {
        _cleanup_free_ char *text = field_quote(json_at(crd, "/spec/names/plural"));
        field_invalid(err, "spec.names.plural", text, "%s", fault);
    }
}

static char *lower(const char *text)
{
    char *copy = xstrdup(text);

    for (char *c = copy; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return copy;
}

static void add_versions(yyjson_mut_doc *d, yyjson_val *crd)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *to;
    yyjson_val *item;

    json_each(json_at(crd, "/spec/versions"), item) {
        to = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_strcpy(d, to, "name", json_str_or(item, "/name", ""));
        yyjson_mut_obj_add_bool(d, to, "storage", json_bool(item, "/storage", false));
        yyjson_mut_obj_add_bool(d, to, "served", json_bool(item, "/served", true));
        if (json_bool(item, "/deprecated", false)) {
            _cleanup_free_ char *text =
                xasprintf("%s/%s %s is deprecated", json_str_or(crd, "/spec/group", ""), json_str_or(item, "/name", ""),
                          json_str_or(crd, "/spec/names/kind", ""));
            yyjson_mut_obj_add_strcpy(d, to, "deprecated", json_str_or(item, "/deprecationWarning", text));
        }
    }
    json_set(d, "/versions", list);
}

static void add_columns(yyjson_mut_doc *d, yyjson_val *version)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *to;
    yyjson_val *item;

    json_each(json_at(version, "/additionalPrinterColumns"), item) {
        to = yyjson_val_mut_copy(d, item);
        yyjson_mut_obj_rename_key(d, to, "jsonPath", "path");
        yyjson_mut_arr_append(list, to);
    }
    json_set(d, "/columns", list);
}

static void add_selectable(yyjson_mut_doc *d, yyjson_val *version)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(json_at(version, "/selectableFields"), item) {
        const char *path = json_str_or(item, "/jsonPath", "");
        yyjson_mut_arr_add_strcpy(d, list, path + (*path == '.'));
    }
    json_set(d, "/selectableFields", list);
}

/* A kind's own metadata schema wins over what the definition may say about it. */
static void add_schema(yyjson_mut_doc *d, yyjson_val *version)
{
    yyjson_val *schema = json_at(version, "/schema/openAPIV3Schema");

    json_set(d, "/schema", schema ? yyjson_val_mut_copy(d, schema) : yyjson_mut_obj(d));
    json_remove(d, "/schema/properties/metadata");
    json_remove(d, "/schema/properties/apiVersion");
    json_remove(d, "/schema/properties/kind");
}

/* Which definition, in which wording: only a change of spec makes the kind another one. FNV-1a of the spec. */
static char *origin_of(yyjson_val *crd)
{
    _cleanup_free_ char *text = field_quote(json_at(crd, "/spec"));
    uint64_t h = 1469598103934665603ULL;

    for (const char *c = text; *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211ULL;
    return xasprintf("%s/%016" PRIx64, meta_uid(crd), h);
}

/* The JSON form of a kind file. */
static yyjson_mut_doc *kind_file(yyjson_val *crd)
{
    static const char *const names[] = {"plural", "kind", "listKind", "shortNames", "categories"};
    yyjson_val *version = storage_version(crd), *value;
    yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *singular = lower(json_str_or(crd, "/spec/names/kind", ""));
    _cleanup_free_ char *origin = origin_of(crd);

    json_set_str(d, "/group", json_str_or(crd, "/spec/group", ""));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if ((value = yyjson_obj_get(json_at(crd, "/spec/names"), names[i])))
            yyjson_mut_obj_add(d->root, yyjson_mut_str(d, names[i]), yyjson_val_mut_copy(d, value));
    json_set_str(d, "/singular", json_str_or(crd, "/spec/names/singular", singular));
    json_set_str(d, "/scope", json_str_or(crd, "/spec/scope", ""));
    json_set_str(d, "/origin", origin);
    add_versions(d, crd);
    add_columns(d, version);
    add_selectable(d, version);
    add_schema(d, version);
    if (json_at(version, "/subresources/status"))
        json_set(d, "/subresources", yyjson_mut_arr_with_str(d, (const char *[]){"status"}, 1));
    return d;
}

static int compile(struct kinds *kinds, yyjson_val *crd, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = kind_file(crd);
    _cleanup_doc_ yyjson_doc *file = yyjson_mut_doc_imut_copy(d, NULL);

    return kinds_add_json(kinds, meta_name(crd), yyjson_doc_get_root(file), err);
}

void crd_validate(yyjson_val *crd, struct gw_error *err)
{
    _cleanup_(kinds_freep) struct kinds *probe = NULL;
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    check_names(crd, err);
    check_versions(crd, err);
    if (json_at(crd, "/spec/conversion/webhook"))
        field_forbidden(err, "spec.conversion.webhook", "conversion webhooks are not supported");
    if (err->n_causes)
        return;
    probe = kinds_new_empty();
    if (compile(probe, crd, &fault) < 0)
        field_invalid(err, "spec", "\"\"", "%s", gw_error_message(&fault));
}

int crd_register(struct kinds *kinds, yyjson_val *crd, struct gw_error *err)
{
    const char *group = json_str_or(crd, "/spec/group", ""), *plural = json_str_or(crd, "/spec/names/plural", "");
    const struct kind *old = kinds_find(kinds, group, NULL, plural),
                      *same = kinds_find_kind(kinds, group, NULL, json_str_or(crd, "/spec/names/kind", ""));
    _cleanup_free_ char *origin = origin_of(crd);

    if ((old && !old->origin) || (same && !same->origin))
        return gw_error_set(err, GW_FORBIDDEN, "%s is built in and can't be defined anew",
                            (old ? old : same)->resource);
    if (old && streq(old->origin, origin))
        return 0;
    return compile(kinds, crd, err);
}

void crd_unregister(struct kinds *kinds, yyjson_val *crd)
{
    const char *group = json_str_or(crd, "/spec/group", ""), *plural = json_str_or(crd, "/spec/names/plural", "");
    const struct kind *old = kinds_find(kinds, group, NULL, plural);

    if (old && old->origin)
        (void)kinds_remove(kinds, group, plural);
}

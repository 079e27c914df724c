/* From the JSON form of a kind file to struct kind, all but the compiled schema. */
#include "api/kind_read.h"

#include <string.h>

#include "api/jsonpath.h"
#include "api/rules.h"
#include "base/alloc.h"
#include "base/str.h"

struct kind_data {
    yyjson_doc *file;
};

struct kind *kind_free(struct kind *kind)
{
    if (kind->data)
        yyjson_doc_free(kind->data->file);
    for (size_t i = 0; i < kind->n_columns; i++)
        jsonpath_free(kind->columns[i].path);
    free(kind->data);
    free(kind->columns);
    free(kind->versions);
    free(kind->short_names);
    free(kind->categories);
    free(kind->selectable);
    free(kind->prefix);
    free(kind->resource);
    free(kind->qualified);
    free(kind);
    return NULL;
}

/* The texts of a list of strings, NULL-terminated; the array is freed by the kind, the texts belong to the file. */
static const char **texts_of(yyjson_val *list)
{
    const char **texts = xnew_n(const char *, yyjson_arr_size(list) + 1);
    yyjson_val *item;
    size_t len = 0;

    json_each(list, item)
        if (yyjson_is_str(item))
            texts[len++] = yyjson_get_str(item);
    return texts;
}

static int fault(struct gw_error *err, const char *what)
{
    return gw_error_set(err, GW_BAD_REQUEST, "%s", what);
}

static int read_versions(struct kind *kind, yyjson_val *file, struct gw_error *err)
{
    yyjson_val *list = json_at(file, "/versions"), *item;
    size_t storage = 0;

    kind->versions = xnew_n(struct kind_version, yyjson_arr_size(list) + 1);
    json_each(list, item) {
        struct kind_version *v = &kind->versions[kind->n_versions++];
        *v = (struct kind_version){
            .name = json_str(item, "/name"),
            .storage = json_bool(item, "/storage", false),
            .served = json_bool(item, "/served", true),
            .deprecated = json_str(item, "/deprecated"),
        };
        if (!v->name)
            return fault(err, "a version without name");
        storage += v->storage;
    }
    return storage == 1 ? 0 : fault(err, "exactly one version must be the storage version");
}

static int add_column(struct kind *kind, yyjson_val *item, struct gw_error *err)
{
    struct kind_column *c = &kind->columns[kind->n_columns++];

    *c = (struct kind_column){
        .name = json_str(item, "/name"),
        .type = json_str_or(item, "/type", "string"),
        .format = json_str_or(item, "/format", ""),
        .description = json_str_or(item, "/description", ""),
        .priority = (int)json_int(item, "/priority", 0),
        .empty = json_str(item, "/empty"),
        .path_text = json_str(item, "/path"),
    };
    if (!c->name || !c->path_text)
        return fault(err, "a column needs name and path");
    if (*c->path_text == '=')
        return (c->cell = cell_find(c->path_text + 1)) ? 0 : fault(err, "a column has an unknown function");
    return jsonpath_parse(c->path_text, &c->path, err);
}

static int add_default_column(struct kind *kind, struct gw_error *err)
{
    struct kind_column *c = &kind->columns[kind->n_columns++];

    *c = (struct kind_column){
        .name = "Age",
        .type = "date",
        .format = "",
        .description = "How long ago the object was created.",
        .path_text = ".metadata.creationTimestamp",
    };
    return jsonpath_parse(c->path_text, &c->path, err);
}

static int read_columns(struct kind *kind, yyjson_val *file, struct gw_error *err)
{
    yyjson_val *list = json_at(file, "/columns"), *item;
    int rc;

    kind->columns = xnew_n(struct kind_column, yyjson_arr_size(list) + 1);
    if (!yyjson_arr_size(list))
        return add_default_column(kind, err);
    json_each(list, item)
        if ((rc = add_column(kind, item, err)) < 0)
            return rc;
    return 0;
}

static int read_name_rule(struct kind *kind, yyjson_val *file, struct gw_error *err)
{
    static const char *const names[] = {
        [NAME_DNS_SUBDOMAIN] = "dns-subdomain",
        [NAME_DNS_LABEL] = "dns-label",
        [NAME_PATH_SEGMENT] = "path-segment",
        [NAME_DNS_1035] = "dns-1035",
    };
    const char *name = json_str_or(file, "/nameRule", names[0]);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (streq(names[i], name)) {
            kind->name_rule = (enum name_rule)i;
            return 0;
        }
    return fault(err, "nameRule is none of dns-subdomain, dns-label, path-segment, dns-1035");
}

static int read_names(struct kind *kind, yyjson_val *file, struct gw_error *err)
{
    const char *scope = json_str_or(file, "/scope", "");

    kind->group = json_str(file, "/group");
    kind->kind = json_str(file, "/kind");
    kind->plural = json_str(file, "/plural");
    kind->singular = json_str(file, "/singular");
    kind->list_kind = json_str(file, "/listKind");
    if (!kind->group || !kind->kind || !kind->plural || !kind->singular || !kind->list_kind)
        return fault(err, "group, kind, plural and singular are required");
    if (!streq(scope, "Namespaced") && !streq(scope, "Cluster"))
        return fault(err, "scope is neither Namespaced nor Cluster");
    kind->namespaced = streq(scope, "Namespaced");
    kind->short_names = texts_of(json_at(file, "/shortNames"));
    kind->categories = texts_of(json_at(file, "/categories"));
    kind->selectable = texts_of(json_at(file, "/selectableFields"));
    return 0;
}

static bool lists(yyjson_val *list, const char *text)
{
    return json_find(list, "", text) != NULL;
}

static void derive(struct kind *kind, yyjson_val *file)
{
    bool core = kind->group[0] == '\0';

    kind->has_status = lists(json_at(file, "/subresources"), "status");
    kind->verbs = json_str_or(file, "/verbs", KIND_VERBS);
    kind->computed = json_bool(file, "/computed", false);
    kind->view_of = json_str(file, "/viewOf");
    kind->refused = json_str(file, "/refused");
    kind->stored = kind_has_verb(kind, "get") && !kind->computed;
    kind->origin = json_str(file, "/origin");
    kind->builtin = json_bool(file, "/builtin", false);
    kind->protobuf = json_bool(file, "/protobuf", false);
    kind->prefix = xasprintf("/registry/%s/%s/", core || kind->view_of ? "core" : kind->group,
                             kind->view_of ? kind->view_of : kind->plural);
    kind->resource = xasprintf("%s%s%s", kind->plural, core ? "" : ".", kind->group);
    kind->qualified = xasprintf("%s%s%s", kind->kind, core ? "" : ".", kind->group);
    kind->rules = kind->refused ? &refused_rules : rules_find(kind->group, kind->kind);
}

/* Every object has apiVersion, kind and metadata: they need not stand in each file. Metadata is field 1 of every
 * message in Kubernetes' protobuf definitions. */
static void imply_common_fields(yyjson_mut_doc *d)
{
    static const char common[] =
        "{\"apiVersion\":{\"type\":\"string\",\"description\":\"Group and version of the kind, such as kubevirt.io/v1; "
        "without a group v1.\"},\"kind\":{\"type\":\"string\",\"description\":\"What the object is, such as "
        "VirtualMachine.\"},\"metadata\":{\"$ref\":\"objectmeta\",\"x-protobuf\":1,\"description\":\"Name, labels, "
        "owners, "
        "and what the server keeps of every object.\"}}";
    _cleanup_doc_ yyjson_doc *implied = yyjson_read(common, sizeof(common) - 1, 0);
    yyjson_mut_val *properties = yyjson_val_mut_copy(d, yyjson_doc_get_root(implied)), *key, *value;
    yyjson_mut_obj_iter it;

    yyjson_mut_obj_iter_init(json_mut_at(d, "/schema/properties"), &it);
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        value = yyjson_mut_obj_iter_get_val(key);
        if (yyjson_mut_obj_get(properties, yyjson_mut_get_str(key)))
            continue;
        key = yyjson_mut_val_mut_copy(d, key);
        yyjson_mut_obj_add(properties, key, yyjson_mut_val_mut_copy(d, value));
    }
    json_set(d, "/schema/properties", properties);
    json_set_str(d, "/schema/type", "object");
}

static yyjson_doc *complete_file(yyjson_val *file)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(file);

    imply_common_fields(d);
    if (!json_str(file, "/listKind") && json_str(file, "/kind")) {
        _cleanup_free_ char *list_kind = xasprintf("%sList", json_str(file, "/kind"));
        json_set_str(d, "/listKind", list_kind);
    }
    return yyjson_mut_doc_imut_copy(d, NULL);
}

static int read_all(struct kind *kind, struct gw_error *err)
{
    yyjson_val *file = yyjson_doc_get_root(kind->data->file);
    int rc;

    if ((rc = read_names(kind, file, err)) < 0 || (rc = read_versions(kind, file, err)) < 0 ||
        (rc = read_columns(kind, file, err)) < 0 || (rc = read_name_rule(kind, file, err)) < 0)
        return rc;
    derive(kind, file);
    return 0;
}

int kind_read(yyjson_val *file, struct kind **ret, struct gw_error *err)
{
    _cleanup_(kind_freep) struct kind *kind = xnew(struct kind);
    int rc;

    kind->data = xnew(struct kind_data);
    kind->data->file = complete_file(file);
    if ((rc = read_all(kind, err)) < 0)
        return rc;
    *ret = TAKE_PTR(kind);
    return 0;
}

yyjson_val *kind_schema_source(const struct kind *kind)
{
    return json_at(yyjson_doc_get_root(kind->data->file), "/schema");
}

const struct kind_version *kind_version(const struct kind *kind, const char *version)
{
    for (size_t i = 0; i < kind->n_versions; i++)
        if (kind->versions[i].served && streq(kind->versions[i].name, version))
            return &kind->versions[i];
    return NULL;
}

const char *kind_storage_version(const struct kind *kind)
{
    for (size_t i = 0; i < kind->n_versions; i++)
        if (kind->versions[i].storage)
            return kind->versions[i].name;
    return NULL;
}

char *kind_api_version(const struct kind *kind, const char *version)
{
    for (size_t i = 0; !version && i < kind->n_versions; i++)
        if (kind->versions[i].served)
            version = kind->versions[i].name;
    if (!version)
        version = kind_storage_version(kind);
    return kind->group[0] ? xasprintf("%s/%s", kind->group, version) : xstrdup(version);
}

bool kind_has_verb(const struct kind *kind, const char *verb)
{
    size_t len = strlen(verb);

    for (const char *p = kind->verbs; (p = strstr(p, verb)); p += len)
        if ((p == kind->verbs || p[-1] == ' ') && (p[len] == '\0' || p[len] == ' '))
            return true;
    return false;
}

char *kind_key(const struct kind *kind, const char *namespace, const char *name)
{
    return kind->namespaced ? xasprintf("%s%s/%s", kind->prefix, namespace, name)
                            : xasprintf("%s%s", kind->prefix, name);
}

int kind_invalid(const struct kind *kind, const char *name, struct gw_error *err)
{
    _cleanup_str_ struct str list = {0};

    if (!err->n_causes)
        return err->message ? err->number : 0;
    if (str_starts(err->message, "admission webhook "))
        return err->number; /* rules that speak for a webhook have said it in its words */
    for (size_t i = 0; i < err->n_causes; i++) {
        const struct gw_cause *c = &err->causes[i];
        str_printf(&list, "%s%s%s%s", i ? ", " : "", c->field, *c->field ? ": " : "", c->message);
    }
    return gw_error_set(err, GW_INVALID, "%s \"%s\" is invalid: %s%s%s", kind->qualified, name,
                        err->n_causes > 1 ? "[" : "", str_text(&list), err->n_causes > 1 ? "]" : "");
}

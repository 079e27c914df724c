/* A kind as CustomResourceDefinition, so that the kind files can serve on another API server. */
#include <string.h>

#include "api/crd.h"

static void add_texts(yyjson_mut_doc *d, const char *path, const char **texts)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    for (; *texts; texts++)
        yyjson_mut_arr_add_strcpy(d, list, *texts);
    if (yyjson_mut_arr_size(list))
        json_set(d, path, list);
}

static void add_names(yyjson_mut_doc *d, const struct kind *kind)
{
    json_set_str(d, "/apiVersion", "apiextensions.k8s.io/v1");
    json_set_str(d, "/kind", "CustomResourceDefinition");
    json_set_str(d, "/metadata/name", kind->resource);
    json_set_str(d, "/spec/group", kind->group);
    json_set_str(d, "/spec/scope", kind->namespaced ? "Namespaced" : "Cluster");
    json_set_str(d, "/spec/names/kind", kind->kind);
    json_set_str(d, "/spec/names/listKind", kind->list_kind);
    json_set_str(d, "/spec/names/plural", kind->plural);
    json_set_str(d, "/spec/names/singular", kind->singular);
    add_texts(d, "/spec/names/shortNames", kind->short_names);
    add_texts(d, "/spec/names/categories", kind->categories);
}

static yyjson_mut_val *columns(yyjson_mut_doc *d, const struct kind *kind)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    for (size_t i = 0; i < kind->n_columns; i++) {
        const struct kind_column *c = &kind->columns[i];
        if (c->cell) /* computed here only */
            continue;
        yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_strcpy(d, o, "name", c->name);
        yyjson_mut_obj_add_strcpy(d, o, "type", c->type);
        yyjson_mut_obj_add_strcpy(d, o, "jsonPath", c->path_text);
        if (c->priority)
            yyjson_mut_obj_add_int(d, o, "priority", c->priority);
    }
    return list;
}

/* The API server there has its own idea of metadata. */
static yyjson_mut_val *schema_of(yyjson_mut_doc *d, const struct kind *kind)
{
    yyjson_mut_val *schema = schema_write(kind->schema, d, NULL, NULL), *metadata = yyjson_mut_obj(d);

    yyjson_mut_obj_add_str(d, metadata, "type", "object");
    yyjson_mut_obj_put(yyjson_mut_obj_get(schema, "properties"), yyjson_mut_str(d, "metadata"), metadata);
    return schema;
}

static void add_version(yyjson_mut_doc *d, yyjson_mut_val *list, const struct kind *kind, const struct kind_version *v)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_strcpy(d, o, "name", v->name);
    yyjson_mut_obj_add_bool(d, o, "served", v->served);
    yyjson_mut_obj_add_bool(d, o, "storage", v->storage);
    if (v->deprecated) {
        yyjson_mut_obj_add_bool(d, o, "deprecated", true);
        yyjson_mut_obj_add_strcpy(d, o, "deprecationWarning", v->deprecated);
    }
    yyjson_mut_obj_add_val(d, o, "additionalPrinterColumns", columns(d, kind));
    if (kind->has_status)
        yyjson_mut_obj_add_obj(d, yyjson_mut_obj_add_obj(d, o, "subresources"), "status");
    yyjson_mut_obj_add_val(d, yyjson_mut_obj_add_obj(d, o, "schema"), "openAPIV3Schema", schema_of(d, kind));
}

yyjson_mut_doc *crd_from_kind(const struct kind *kind)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *versions = yyjson_mut_arr(d);

    add_names(d, kind);
    for (size_t i = 0; i < kind->n_versions; i++)
        add_version(d, versions, kind, &kind->versions[i]);
    json_set(d, "/spec/versions", versions);
    return d;
}

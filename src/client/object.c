#include "client/object.h"

#include <stdlib.h>
#include <string.h>

char *object_key_of(const char *ns, const char *name, char *buf)
{
    snprintf(buf, OBJECT_KEY_MAX, "%s%s%s", ns ? ns : "", ns && *ns ? "/" : "", name);
    return buf;
}

char *object_key(yyjson_val *obj, char *buf)
{
    return object_key_of(json_str(obj, "/metadata/namespace"), json_str_or(obj, "/metadata/name", ""), buf);
}

void object_key_split(const char *key, char *ns, char *name)
{
    const char *slash = strchr(key, '/');

    snprintf(ns, OBJECT_KEY_MAX, "%.*s", slash ? (int)(slash - key) : 0, key);
    snprintf(name, OBJECT_KEY_MAX, "%s", slash ? slash + 1 : key);
}

uint64_t object_version(yyjson_val *obj)
{
    return strtoull(json_str_or(obj, "/metadata/resourceVersion", "0"), NULL, 10);
}

/* Annotations that only their writer reads and that may be as large as the object. */
static const char *const bulky[] = {"/metadata/managedFields",
                                    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"};

yyjson_doc *object_trim(yyjson_val *obj, const char *api_version, const char *kind, const char *const *keep)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = keep ? json_object() : json_copy(obj);

    if (!json_mut_str(d, "/apiVersion"))
        json_set_str(d, "/apiVersion", json_str_or(obj, "/apiVersion", api_version));
    if (!json_mut_str(d, "/kind"))
        json_set_str(d, "/kind", json_str_or(obj, "/kind", kind));
    if (keep)
        json_set(d, "/metadata", yyjson_val_mut_copy(d, json_at(obj, "/metadata")));
    for (size_t i = 0; i < (keep ? ARRAY_SIZE(bulky) : 1); i++)
        json_remove(d, bulky[i]);
    for (; keep && *keep; keep++)
        if (json_at(obj, *keep))
            json_set(d, *keep, yyjson_val_mut_copy(d, json_at(obj, *keep)));
    return yyjson_mut_doc_imut_copy(d, NULL);
}

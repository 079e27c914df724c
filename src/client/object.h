/* Keys and versions of API objects. */
#pragma once

#include "base/json.h"

/* "ns/name", or "name" for kinds without namespaces. buf holds OBJECT_KEY_MAX; returns buf. */
#define OBJECT_KEY_MAX 512
char *object_key(yyjson_val *obj, char *buf);
char *object_key_of(const char *ns, const char *name, char *buf);

/* Splits a key; ns is "" for kinds without. Both buffers hold OBJECT_KEY_MAX. */
void object_key_split(const char *key, char *ns, char *name);

/* metadata.resourceVersion as a number, 0 if there is none. */
uint64_t object_version(yyjson_val *obj);

/* What an informer keeps of obj: apiVersion and kind (given where obj, as an item of a list, has none), metadata
 * without managedFields, and the values at the JSON pointers of keep; keep NULL = everything but managedFields. A
 * compact copy. */
yyjson_doc *object_trim(yyjson_val *obj, const char *api_version, const char *kind, const char *const *keep);

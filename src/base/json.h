/* Small helpers over yyjson. Paths are JSON pointers (RFC 6901), as yyjson takes them:
 * "/metadata/labels/kubevirt.io~1size".
 *
 * Documents come in two forms: immutable (yyjson_doc, yyjson_val) for reading, mutable (yyjson_mut_doc, yyjson_mut_val)
 * for building. Read functions here return NULL or the given fallback when the path is absent or of another type. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <yyjson.h>

#include "base/blob.h"
#include "base/cleanup.h"
#include "base/error.h"

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free)
DEFINE_CLEANUP(yyjson_mut_doc *, yyjson_mut_doc_free)
#define _cleanup_doc_ _cleanup_(yyjson_doc_freep)
#define _cleanup_mut_doc_ _cleanup_(yyjson_mut_doc_freep)

/* Strict RFC 8259 parse; the error names line and column (BadRequest). Depth is limited (JSON_MAX_DEPTH). The document
 * owns its text: data may go away. */
#define JSON_MAX_DEPTH 200
int json_parse(const void *data, size_t len, yyjson_doc **ret, struct gw_error *err);

/* A whole file of at most max bytes, as fs_read() and fs_write() have it: -ENOENT if absent; durable when it returns 0.
 */
int json_load(const char *path, size_t max, yyjson_doc **ret, struct gw_error *err);
int json_save(const char *path, const yyjson_mut_doc *d, mode_t mode, struct gw_error *err);

yyjson_val *json_at(yyjson_val *v, const char *path);
const char *json_str(yyjson_val *v, const char *path);
const char *json_str_or(yyjson_val *v, const char *path, const char *fallback);
int64_t json_int(yyjson_val *v, const char *path, int64_t fallback);
bool json_bool(yyjson_val *v, const char *path, bool fallback);
/* The string value of a key that may contain '/' and '~', such as a label or annotation name. */
const char *json_key_str(yyjson_val *v, const char *path, const char *key);

/* Loops over the items of an array, the same with their index, and over the members of an object. What is absent (NULL)
 * or of another type has none. In place of yyjson's own macros, which count on from NULL. */
#define json_each(array, item) JSON_EACH_ITEM_(array, item, JSON_UNIQUE_(_items_, __COUNTER__))
#define json_each_at(array, i, item) JSON_EACH_AT_(array, i, item, JSON_UNIQUE_(_items_, __COUNTER__))
#define json_each_member(object, key, value) JSON_EACH_MEMBER_(object, key, value, JSON_UNIQUE_(_members_, __COUNTER__))

#define JSON_EACH_ITEM_(array, item, it) \
    for (yyjson_arr_iter it = yyjson_arr_iter_with(array); ((item) = yyjson_arr_iter_next(&it));)
#define JSON_EACH_AT_(array, i, item, it) \
    for (yyjson_arr_iter it = ((i) = 0, yyjson_arr_iter_with(array)); ((item) = yyjson_arr_iter_next(&it)); (i)++)
#define JSON_EACH_MEMBER_(object, key, value, it) \
    for (yyjson_obj_iter it = yyjson_obj_iter_with(object); \
         ((value) = yyjson_obj_iter_get_val((key) = yyjson_obj_iter_next(&it)));)
#define JSON_UNIQUE_(name, number) JSON_PASTE_(name, number)
#define JSON_PASTE_(name, number) name##number

/* The first item of an array whose string at path is text ("" is the item itself), or NULL. A NULL text finds nothing.
 */
yyjson_val *json_find(yyjson_val *array, const char *path, const char *text);

/* A new mutable document whose root is an empty object. */
yyjson_mut_doc *json_object(void);
yyjson_mut_doc *json_copy(yyjson_val *v);

/* Sets a value at a path, making the objects on the way. The strings are copied into the document. */
void json_set(yyjson_mut_doc *d, const char *path, yyjson_mut_val *value);
void json_set_str(yyjson_mut_doc *d, const char *path, const char *value);
void json_set_int(yyjson_mut_doc *d, const char *path, int64_t value);
void json_set_bool(yyjson_mut_doc *d, const char *path, bool value);
void json_remove(yyjson_mut_doc *d, const char *path);
yyjson_mut_val *json_mut_at(yyjson_mut_doc *d, const char *path);
const char *json_mut_str(yyjson_mut_doc *d, const char *path);

/* Appends key (escaped for a JSON pointer) to path: "/metadata/labels" + "a/b" -> "/metadata/labels/a~1b". Caller
 * frees. */
char *json_path(const char *path, const char *key);

/* Compact encoding. The char form is freed by the caller. */
struct blob *json_encode(yyjson_mut_val *v);
struct blob *json_encode_val(yyjson_val *v);
char *json_text(yyjson_mut_val *v);

/* Deep equality that ignores the order of keys (as yyjson has it for objects). */
bool json_equal(yyjson_val *a, yyjson_val *b);

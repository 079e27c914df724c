#include "base/json.h"

#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"

/* yyjson recurses nowhere, but our own walks over documents do: refuse what is nested deeper than any real object. */
static bool too_deep(const char *text, size_t len)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

int json_parse(const void *data, size_t len, yyjson_doc **ret, struct gw_error *err)
{
    yyjson_read_err fault;
    size_t line = 0, column = 0, chr = 0;

    if (too_deep(data, len))
        return gw_error_set(err, GW_BAD_REQUEST, "JSON is nested deeper than %d levels", JSON_MAX_DEPTH);
    yyjson_doc *doc = yyjson_read_opts((char *)data, len, 0, NULL, &fault);
    if (doc) {
        *ret = doc;
        return 0;
    }
    yyjson_locate_pos(data, len, fault.pos, &line, &column, &chr);
    return gw_error_set(err, GW_BAD_REQUEST, "invalid JSON: %s at line %zu, column %zu", fault.msg, line, column);
}

int json_load(const char *path, size_t max, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int r = fs_read(path, max, &text, &len, err);

    return r < 0 ? r : json_parse(text, len, ret, err);
}

int json_save(const char *path, const yyjson_mut_doc *d, mode_t mode, struct gw_error *err)
{
    _cleanup_free_ char *text = json_text(d->root);

    return fs_write(path, text, strlen(text), mode, err);
}

yyjson_val *json_at(yyjson_val *v, const char *path)
{
    return v ? yyjson_ptr_get(v, path) : NULL;
}

const char *json_str(yyjson_val *v, const char *path)
{
    return yyjson_get_str(json_at(v, path));
}

const char *json_str_or(yyjson_val *v, const char *path, const char *fallback)
{
    const char *s = json_str(v, path);

    return s ? s : fallback;
}

int64_t json_int(yyjson_val *v, const char *path, int64_t fallback)
{
    yyjson_val *n = json_at(v, path);

    return yyjson_is_int(n) ? yyjson_get_sint(n) : fallback;
}

bool json_bool(yyjson_val *v, const char *path, bool fallback)
{
    yyjson_val *b = json_at(v, path);

    return yyjson_is_bool(b) ? yyjson_get_bool(b) : fallback;
}

const char *json_key_str(yyjson_val *v, const char *path, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(json_at(v, path), key));
}

yyjson_val *json_find(yyjson_val *array, const char *path, const char *text)
{
    yyjson_val *item;

    json_each(array, item)
        if (text && str_same(json_str(item, path), text))
            return item;
    return NULL;
}

yyjson_mut_doc *json_object(void)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    yyjson_mut_doc_set_root(d, yyjson_mut_obj(d));
    return d;
}

yyjson_mut_doc *json_copy(yyjson_val *v)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    yyjson_mut_doc_set_root(d, yyjson_val_mut_copy(d, v));
    return d;
}

/* Splits one reference token off *path, unescaped into out. */
static bool next_token(const char **path, struct str *out)
{
    const char *p = *path;

    if (*p != '/')
        return false;
    out->len = 0;
    str_puts(out, "");
    for (p++; *p && *p != '/'; p++) {
        if (p[0] == '~' && (p[1] == '0' || p[1] == '1'))
            str_putc(out, *++p == '1' ? '/' : '~');
        else
            str_putc(out, *p);
    }
    *path = p;
    return true;
}

/* The member `key` of an object, made as an empty object where it is absent or is not one. */
static yyjson_mut_val *descend(yyjson_mut_doc *d, yyjson_mut_val *at, const char *key)
{
    yyjson_mut_val *child;

    if (yyjson_mut_is_arr(at))
        return yyjson_mut_arr_get(at, (size_t)strtoul(key, NULL, 10));
    child = yyjson_mut_obj_get(at, key);
    if (!child || yyjson_mut_is_null(child)) {
        child = yyjson_mut_obj(d);
        yyjson_mut_obj_put(at, yyjson_mut_strcpy(d, key), child);
    }
    return child;
}

void json_set(yyjson_mut_doc *d, const char *path, yyjson_mut_val *value)
{
    _cleanup_str_ struct str token = {0};
    yyjson_mut_val *at = yyjson_mut_doc_get_root(d);

    while (at && next_token(&path, &token)) {
        if (*path) {
            at = descend(d, at, str_text(&token));
        } else if (yyjson_mut_is_arr(at)) {
            yyjson_mut_arr_append(at, value);
        } else {
            yyjson_mut_obj_put(at, yyjson_mut_strcpy(d, str_text(&token)), value);
        }
    }
}

void json_set_str(yyjson_mut_doc *d, const char *path, const char *value)
{
    json_set(d, path, yyjson_mut_strcpy(d, value));
}

void json_set_int(yyjson_mut_doc *d, const char *path, int64_t value)
{
    json_set(d, path, yyjson_mut_sint(d, value));
}

void json_set_bool(yyjson_mut_doc *d, const char *path, bool value)
{
    json_set(d, path, yyjson_mut_bool(d, value));
}

void json_remove(yyjson_mut_doc *d, const char *path)
{
    (void)yyjson_mut_doc_ptr_remove(d, path);
}

yyjson_mut_val *json_mut_at(yyjson_mut_doc *d, const char *path)
{
    return yyjson_mut_doc_ptr_get(d, path);
}

const char *json_mut_str(yyjson_mut_doc *d, const char *path)
{
    return yyjson_mut_get_str(json_mut_at(d, path));
}

char *json_path(const char *path, const char *key)
{
    struct str out = {0};

    str_puts(&out, path);
    str_putc(&out, '/');
    for (; *key; key++) {
        if (*key == '~')
            str_puts(&out, "~0");
        else if (*key == '/')
            str_puts(&out, "~1");
        else
            str_putc(&out, *key);
    }
    return str_take(&out);
}

static struct blob *blob_from(char *text, size_t len)
{
    struct blob *b = blob_new(text, text ? len : 0);

    free(text);
    return b;
}

struct blob *json_encode(yyjson_mut_val *v)
{
    size_t len = 0;
    char *text = yyjson_mut_val_write(v, 0, &len);

    return blob_from(text, len);
}

struct blob *json_encode_val(yyjson_val *v)
{
    size_t len = 0;
    char *text = yyjson_val_write(v, 0, &len);

    return blob_from(text, len);
}

char *json_text(yyjson_mut_val *v)
{
    char *text = yyjson_mut_val_write(v, 0, NULL);

    return text ? text : xstrdup("null");
}

bool json_equal(yyjson_val *a, yyjson_val *b)
{
    if (!a || !b)
        return a == b;
    return yyjson_equals(a, b);
}

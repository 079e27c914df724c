/* RFC 6902, and RFC 7386 at the end. */
#include <ctype.h>
#include <string.h>

#include "api/patch.h"
#include "base/alloc.h"
#include "base/str.h"

/* What `copy` operations may add up to: they could double a document each time. */
#define COPY_BYTES_MAX (3 << 20)

struct patcher {
    yyjson_mut_doc *doc;
    yyjson_val *operation;
    size_t copied;
    struct gw_error *err;
};

/* Where a path leads: a member or an element of `parent`, which may be absent itself. */
struct place {
    yyjson_mut_val *parent; /* NULL: the whole document */
    char *token;            /* the last one, unescaped */
    yyjson_mut_val *value;  /* what is there now, or NULL */
};

static void place_done(struct place *p)
{
    free(p->token);
}
#define _cleanup_place_ __attribute__((cleanup(place_done)))

static int cannot(struct patcher *p, const char *path, const char *why)
{
    const char *op = json_str_or(p->operation, "/op", "");

    gw_error_add_cause(p->err, CAUSE_INVALID, path, "the %s operation of the patch does not apply: %s", op, why);
    return gw_error_set(p->err, GW_INVALID, "the %s operation of the patch does not apply at \"%s\": %s", op, path,
                        why);
}

static int malformed(struct patcher *p, const char *why)
{
    return gw_error_set(p->err, GW_BAD_REQUEST, "malformed JSON patch: %s", why);
}

/* An array index without leading zeros; the length itself where `end` is allowed ("-" too). -1 when it is none. */
static long index_of(yyjson_mut_val *array, const char *token, bool end)
{
    size_t len = yyjson_mut_arr_size(array), digits = strspn(token, "0123456789");
    unsigned long index;

    if (streq(token, "-"))
        return end ? (long)len : -1;
    if (!digits || token[digits] || digits > 9 || (digits > 1 && *token == '0'))
        return -1;
    index = strtoul(token, NULL, 10);
    return index < len + end ? (long)index : -1;
}

static yyjson_mut_val *child_at(yyjson_mut_val *parent, const char *token)
{
    if (yyjson_mut_is_obj(parent))
        return yyjson_mut_obj_get(parent, token);
    if (!yyjson_mut_is_arr(parent))
        return NULL;
    long index = index_of(parent, token, false);
    return index < 0 ? NULL : yyjson_mut_arr_get(parent, (size_t)index);
}

static char *read_token(const char **at)
{
    struct str token = {0};
    const char *p = *at + 1;

    for (; *p && *p != '/'; p++) {
        if (*p == '~' && (p[1] == '0' || p[1] == '1'))
            str_putc(&token, *++p == '0' ? '~' : '/');
        else
            str_putc(&token, *p);
    }
    *at = p;
    return str_take(&token);
}

static size_t path_depth(const char *path)
{
    size_t n = 0;

    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* Finds the place of a path; ret->parent is NULL also when the parent does not exist, then found is false. */
static int locate(struct patcher *p, const char *path, struct place *ret, bool *ret_parent_found)
{
    yyjson_mut_val *at = yyjson_mut_doc_get_root(p->doc);

    *ret = (struct place){.value = at};
    *ret_parent_found = true;
    if (*path && *path != '/')
        return malformed(p, "a path must be empty or begin with /");
    if (path_depth(path) > JSON_MAX_DEPTH)
        return malformed(p, "a path is too deep");
    while (*path) {
        free(ret->token);
        ret->token = read_token(&path);
        ret->parent = at;
        *ret_parent_found = at != NULL;
        at = at ? child_at(at, ret->token) : NULL;
    }
    ret->value = at;
    return 0;
}

static bool depth_within(yyjson_mut_val *v, int limit)
{
    yyjson_mut_val *key, *item;
    size_t i, n;

    if (limit < 0)
        return false;
    if (yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_foreach(v, i, n, item)
            if (!depth_within(item, limit - 1))
                return false;
    } else if (yyjson_mut_is_obj(v)) {
        yyjson_mut_obj_foreach(v, i, n, key, item)
            if (!depth_within(item, limit - 1))
                return false;
    }
    return true;
}

static int add_at(struct patcher *p, const char *path, yyjson_mut_val *value)
{
    _cleanup_place_ struct place at = {0};
    bool found;
    int rc = locate(p, path, &at, &found);
    long index;

    if (rc < 0)
        return rc;
    if (!at.token) {
        yyjson_mut_doc_set_root(p->doc, value);
        return 0;
    }
    if (!found)
        return cannot(p, path, "its parent does not exist");
    if (yyjson_mut_is_obj(at.parent)) {
        yyjson_mut_obj_put(at.parent, yyjson_mut_strcpy(p->doc, at.token), value);
        return 0;
    }
    if (!yyjson_mut_is_arr(at.parent))
        return cannot(p, path, "its parent is neither an object nor a list");
    index = index_of(at.parent, at.token, true);
    if (index < 0)
        return cannot(p, path, "no such index");
    yyjson_mut_arr_insert(at.parent, value, (size_t)index);
    return 0;
}

/* The place of a value that must be there. */
static int locate_value(struct patcher *p, const char *path, struct place *ret)
{
    bool found;
    int rc = locate(p, path, ret, &found);

    return rc < 0 || ret->value ? rc : cannot(p, path, "it does not exist");
}

/* Takes the value out of its place. */
static int remove_at(struct patcher *p, const char *path, yyjson_mut_val **ret)
{
    _cleanup_place_ struct place at = {0};
    int rc = locate_value(p, path, &at);

    if (rc < 0)
        return rc;
    if (!at.token)
        return cannot(p, path, "the whole object can't be removed");
    if (yyjson_mut_is_obj(at.parent))
        yyjson_mut_obj_remove_key(at.parent, at.token);
    else
        yyjson_mut_arr_remove(at.parent, (size_t)index_of(at.parent, at.token, false));
    *ret = at.value;
    return 0;
}

static int op_add(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    return add_at(p, path, value);
}

static int op_remove(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    yyjson_mut_val *removed;

    return remove_at(p, path, &removed);
}

static int op_replace(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    _cleanup_place_ struct place at = {0};
    int rc = locate_value(p, path, &at);

    if (rc < 0)
        return rc;
    if (!at.token)
        yyjson_mut_doc_set_root(p->doc, value);
    else if (yyjson_mut_is_obj(at.parent))
        yyjson_mut_obj_put(at.parent, yyjson_mut_strcpy(p->doc, at.token), value);
    else
        yyjson_mut_arr_replace(at.parent, (size_t)index_of(at.parent, at.token, false), value);
    return 0;
}

static int op_move(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    size_t len = strlen(from);
    int rc;

    if (strncmp(path, from, len) == 0 && path[len] == '/')
        return cannot(p, path, "a value can't move into itself");
    if ((rc = remove_at(p, from, &value)) < 0)
        return rc;
    if (!depth_within(value, JSON_MAX_DEPTH))
        return malformed(p, "the result is nested too deep");
    return add_at(p, path, value);
}

static int op_copy(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    _cleanup_place_ struct place at = {0};
    bool found;
    size_t len = 0;
    int rc = locate(p, from, &at, &found);

    if (rc < 0)
        return rc;
    if (!at.value)
        return cannot(p, from, "it does not exist");
    if (!depth_within(at.value, JSON_MAX_DEPTH))
        return malformed(p, "the result is nested too deep");
    free(yyjson_mut_val_write(at.value, 0, &len));
    if ((p->copied += len) > COPY_BYTES_MAX)
        return malformed(p, "the copies are too large");
    return add_at(p, path, yyjson_mut_val_mut_copy(p->doc, at.value));
}

/* kube-apiserver takes an absent path for null here; virtctl relies on it ("test ... null" before it makes a list). */
static int op_test(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value)
{
    _cleanup_place_ struct place at = {0};
    bool found, same;
    int rc = locate(p, path, &at, &found);

    if (rc < 0)
        return rc;
    same = at.value ? yyjson_mut_equals(at.value, value) : yyjson_mut_is_null(value);
    return same ? 0 : cannot(p, path, "the value is another one");
}

static const struct {
    const char *name;
    bool needs_value;
    bool needs_from;
    int (*apply)(struct patcher *p, const char *path, const char *from, yyjson_mut_val *value);
} operations[] = {
    {"add", true, false, op_add},   {"remove", false, false, op_remove}, {"replace", true, false, op_replace},
    {"move", false, true, op_move}, {"copy", false, true, op_copy},      {"test", true, false, op_test},
};

static int apply(struct patcher *p)
{
    const char *op = json_str(p->operation, "/op"), *path = json_str(p->operation, "/path");
    const char *from = json_str(p->operation, "/from");
    yyjson_val *value = yyjson_obj_get(p->operation, "value");

    if (!op || !path)
        return malformed(p, "each operation needs op and path");
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        if (!streq(operations[i].name, op))
            continue;
        if (operations[i].needs_from && !from)
            return malformed(p, "move and copy need from");
        if (operations[i].needs_value && !value)
            return malformed(p, "add, replace and test need value");
        return operations[i].apply(p, path, from, yyjson_val_mut_copy(p->doc, value));
    }
    return malformed(p, "unknown op");
}

int patch_json(yyjson_mut_doc *doc, yyjson_val *list, struct gw_error *err)
{
    struct patcher p = {.doc = doc, .err = err};
    int rc;

    if (!yyjson_is_arr(list))
        return malformed(&p, "a list of operations is expected");
    if (yyjson_arr_size(list) > PATCH_MAX_OPERATIONS)
        return gw_error_set(err, GW_TOO_LARGE, "the patch has more than %d operations", PATCH_MAX_OPERATIONS);
    json_each(list, p.operation)
        if ((rc = apply(&p)) < 0)
            return rc;
    if (!depth_within(yyjson_mut_doc_get_root(doc), JSON_MAX_DEPTH - 1))
        return malformed(&p, "the result is nested too deep");
    return 0;
}

static void merge(yyjson_mut_doc *d, yyjson_mut_val *target, yyjson_val *patch)
{
    yyjson_val *key, *value;
    yyjson_mut_val *child;

    json_each_member(patch, key, value) {
        const char *name = yyjson_get_str(key);
        if (yyjson_is_null(value)) {
            yyjson_mut_obj_remove_key(target, name);
            continue;
        }
        child = yyjson_mut_obj_get(target, name);
        if (!yyjson_is_obj(value))
            yyjson_mut_obj_put(target, yyjson_mut_strcpy(d, name), yyjson_val_mut_copy(d, value));
        else if (yyjson_mut_is_obj(child))
            merge(d, child, value);
        else {
            child = yyjson_mut_obj(d);
            yyjson_mut_obj_put(target, yyjson_mut_strcpy(d, name), child);
            merge(d, child, value);
        }
    }
}

int patch_merge(yyjson_mut_doc *doc, yyjson_val *patch, struct gw_error *err)
{
    if (!yyjson_is_obj(patch))
        return gw_error_set(err, GW_BAD_REQUEST, "malformed merge patch: an object is expected");
    merge(doc, yyjson_mut_doc_get_root(doc), patch);
    return 0;
}

#include "api/meta.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"

const char *meta_name(yyjson_val *object)
{
    return json_str_or(object, "/metadata/name", "");
}

const char *meta_namespace(yyjson_val *object)
{
    return json_str_or(object, "/metadata/namespace", "");
}

const char *meta_uid(yyjson_val *object)
{
    return json_str_or(object, "/metadata/uid", "");
}

const char *meta_version(yyjson_val *object)
{
    return json_str_or(object, "/metadata/resourceVersion", "");
}

int64_t meta_generation(yyjson_val *object)
{
    return json_int(object, "/metadata/generation", 0);
}

static int64_t time_at(yyjson_val *object, const char *path)
{
    const char *text = json_str(object, path);

    return text ? clock_parse(text) : -1;
}

int64_t meta_created(yyjson_val *object)
{
    return time_at(object, "/metadata/creationTimestamp");
}

int64_t meta_deleted(yyjson_val *object)
{
    return time_at(object, "/metadata/deletionTimestamp");
}

const char *meta_label(yyjson_val *object, const char *key)
{
    return json_key_str(object, "/metadata/labels", key);
}

const char *meta_annotation(yyjson_val *object, const char *key)
{
    return json_key_str(object, "/metadata/annotations", key);
}

bool meta_has_finalizer(yyjson_val *object, const char *finalizer)
{
    return json_find(json_at(object, "/metadata/finalizers"), "", finalizer) != NULL;
}

yyjson_val *meta_controller(yyjson_val *object)
{
    yyjson_val *item;

    json_each(json_at(object, "/metadata/ownerReferences"), item)
        if (json_bool(item, "/controller", false))
            return item;
    return NULL;
}

bool meta_owned_by(yyjson_val *object, const char *uid)
{
    return json_find(json_at(object, "/metadata/ownerReferences"), "/uid", uid) != NULL;
}

/* Sets or, with value NULL, removes a member of the map at path; an empty map goes as well. */
static void set_member(yyjson_mut_doc *d, const char *path, const char *key, const char *value)
{
    yyjson_mut_val *map = json_mut_at(d, path);

    if (!value) {
        (void)yyjson_mut_obj_remove_key(map, key);
        if (yyjson_mut_is_obj(map) && yyjson_mut_obj_size(map) == 0)
            json_remove(d, path);
        return;
    }
    if (!yyjson_mut_is_obj(map)) {
        map = yyjson_mut_obj(d);
        json_set(d, path, map);
    }
    yyjson_mut_obj_put(map, yyjson_mut_strcpy(d, key), yyjson_mut_strcpy(d, value));
}

void meta_set_label(yyjson_mut_doc *d, const char *key, const char *value)
{
    set_member(d, "/metadata/labels", key, value);
}

void meta_set_annotation(yyjson_mut_doc *d, const char *key, const char *value)
{
    set_member(d, "/metadata/annotations", key, value);
}

/* The list at path, made when it is absent. */
static yyjson_mut_val *list_at(yyjson_mut_doc *d, const char *path)
{
    yyjson_mut_val *list = json_mut_at(d, path);

    if (!yyjson_mut_is_arr(list)) {
        list = yyjson_mut_arr(d);
        json_set(d, path, list);
    }
    return list;
}

static bool remove_from(yyjson_mut_val *list, bool (*fits)(yyjson_mut_val *item, const char *text), const char *text)
{
    yyjson_mut_arr_iter it;
    yyjson_mut_val *item;

    if (!yyjson_mut_arr_iter_init(list, &it))
        return false;
    while ((item = yyjson_mut_arr_iter_next(&it)))
        if (fits(item, text)) {
            yyjson_mut_arr_iter_remove(&it);
            return true;
        }
    return false;
}

static bool is_text(yyjson_mut_val *item, const char *text)
{
    return yyjson_mut_equals_str(item, text);
}

bool meta_add_finalizer(yyjson_mut_doc *d, const char *finalizer)
{
    yyjson_mut_val *list = list_at(d, "/metadata/finalizers"), *item;
    size_t i, n;

    yyjson_mut_arr_foreach(list, i, n, item)
        if (is_text(item, finalizer))
            return false;
    yyjson_mut_arr_add_strcpy(d, list, finalizer);
    return true;
}

bool meta_remove_finalizer(yyjson_mut_doc *d, const char *finalizer)
{
    yyjson_mut_val *list = json_mut_at(d, "/metadata/finalizers");
    bool removed = remove_from(list, is_text, finalizer);

    if (removed && yyjson_mut_arr_size(list) == 0)
        json_remove(d, "/metadata/finalizers");
    return removed;
}

static bool has_uid(yyjson_mut_val *reference, const char *uid)
{
    return yyjson_mut_equals_str(yyjson_mut_obj_get(reference, "uid"), uid);
}

void meta_add_owner(yyjson_mut_doc *d, yyjson_val *owner, bool controller, bool block_deletion)
{
    yyjson_mut_val *list = list_at(d, "/metadata/ownerReferences"), *reference = yyjson_mut_obj(d);

    (void)remove_from(list, has_uid, meta_uid(owner));
    yyjson_mut_obj_add_strcpy(d, reference, "apiVersion", json_str_or(owner, "/apiVersion", ""));
    yyjson_mut_obj_add_strcpy(d, reference, "kind", json_str_or(owner, "/kind", ""));
    yyjson_mut_obj_add_strcpy(d, reference, "name", meta_name(owner));
    yyjson_mut_obj_add_strcpy(d, reference, "uid", meta_uid(owner));
    if (controller)
        yyjson_mut_obj_add_bool(d, reference, "controller", true);
    if (block_deletion)
        yyjson_mut_obj_add_bool(d, reference, "blockOwnerDeletion", true);
    yyjson_mut_arr_append(list, reference);
}

yyjson_val *condition_find(yyjson_val *object, const char *type)
{
    return json_find(json_at(object, "/status/conditions"), "/type", type);
}

bool condition_true(yyjson_val *object, const char *type)
{
    return str_same(json_str(condition_find(object, type), "/status"), "True");
}

static bool has_type(yyjson_mut_val *condition, const char *type)
{
    return yyjson_mut_equals_str(yyjson_mut_obj_get(condition, "type"), type);
}

/* True if the member changed; text NULL removes it. */
static bool put_text(yyjson_mut_doc *d, yyjson_mut_val *object, const char *key, const char *text)
{
    if (str_same(yyjson_mut_get_str(yyjson_mut_obj_get(object, key)), text))
        return false;
    yyjson_mut_obj_put(object, yyjson_mut_str(d, key), text ? yyjson_mut_strcpy(d, text) : NULL);
    return true;
}

static yyjson_mut_val *condition_at(yyjson_mut_doc *d, const char *type)
{
    yyjson_mut_val *list = list_at(d, "/status/conditions"), *item;
    size_t i, n;

    yyjson_mut_arr_foreach(list, i, n, item)
        if (has_type(item, type))
            return item;
    item = yyjson_mut_obj(d);
    yyjson_mut_obj_add_strcpy(d, item, "type", type);
    yyjson_mut_arr_append(list, item);
    return item;
}

bool condition_set(yyjson_mut_doc *d, const char *type, const char *status, const char *reason, const char *message,
                   int64_t now)
{
    yyjson_mut_val *condition = condition_at(d, type);
    bool turned = put_text(d, condition, "status", status), changed = turned;
    char time[CLOCK_TEXT_MAX];

    changed |= put_text(d, condition, "reason", reason);
    changed |= put_text(d, condition, "message", message);
    if (turned)
        (void)put_text(d, condition, "lastTransitionTime", clock_format(now, time));
    return changed;
}

bool condition_remove(yyjson_mut_doc *d, const char *type)
{
    return remove_from(json_mut_at(d, "/status/conditions"), has_type, type);
}

bool is_final(yyjson_val *object)
{
    const char *phase = json_str_or(object, "/status/phase", "");

    return streq(phase, "Succeeded") || streq(phase, "Failed");
}

bool node_is_dead(yyjson_val *node)
{
    yyjson_val *taint;

    json_each(json_at(node, "/spec/taints"), taint)
        if (str_same(json_str(taint, "/key"), TAINT_DEAD) && str_same(json_str(taint, "/effect"), "NoExecute"))
            return !condition_true(node, "Ready");
    return false;
}

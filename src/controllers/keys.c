/* From changes to the keys of controllers, and the caches by what is in them. */
#include <string.h>

#include "base/alloc.h"
#include "controllers/frame.h"

struct keys {
    struct running *running;
};

void keys_add(struct keys *out, const char *key)
{
    if (key && *key)
        workqueue_add(out->running->queue, key);
}

void keys_add_ns(struct keys *out, const char *ns, const char *name)
{
    char key[OBJECT_KEY_MAX];

    if (name && *name)
        keys_add(out, object_key_of(ns, name, key));
}

void keys_add_all(struct keys *out, const struct api_resource *r)
{
    const char *key;

    for (size_t at = 0; informer_next(keys_informer(out, r), &at, &key, NULL);)
        keys_add(out, key);
}

struct informer *keys_informer(struct keys *out, const struct api_resource *r)
{
    return running_informer(out->running, r);
}

const struct api_resource *keys_next_resource(struct keys *out, size_t *at)
{
    return running_next_resource(out->running, at);
}

const struct api_resource *keys_resource(struct keys *out, const char *group, const char *kind)
{
    return running_resource(out->running, group, kind);
}

void *keys_state(struct keys *out)
{
    return out->running->state;
}

/* --- from a change to keys --- */

static void map_owner(struct keys *out, yyjson_val *obj, const char *kind)
{
    yyjson_val *owner = meta_controller(obj);

    if (owner && streq(json_str_or(owner, "/kind", ""), kind))
        keys_add_ns(out, meta_namespace(obj), json_str(owner, "/name"));
}

void link_changed(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    const struct link *l = userdata;
    struct keys out = {.running = l->running};

    if (l->watch->map) {
        l->watch->map(&out, old, obj);
    } else if (l->watch->owner_kind) {
        map_owner(&out, old, l->watch->owner_kind);
        map_owner(&out, obj, l->watch->owner_kind);
    } else {
        keys_add(&out, key);
    }
}

/* --- start --- */

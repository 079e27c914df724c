/* Versions. `seen` is the version up to which the watch (or the last list) has told everything. A written object is
 * taken over early only if its version is above `seen`: below, the watch has told of it already and perhaps of its end.
 * Events at or below `seen` are repetitions. Events above it but below the version of an object taken over early are
 * history.
 *
 * A delete that was acknowledged leaves the uid in `gone` until the watch tells of it, so that older news cannot bring
 * the object back. */
#include <string.h>

#include "client/cache_internal.h"
#include "client/packer.h"

struct index_values {
    struct map *values;
    struct entry *entry;
    bool remove;
};

/* --- indexes --- */

static void free_vec(void *p)
{
    entry_vec_done(p);
    free(p);
}

void index_value(struct index_values *out, const char *value)
{
    struct entry_vec *v = value ? map_get(out->values, value) : NULL;

    if (!value || (out->remove && !v))
        return;
    if (!v)
        map_put(out->values, value, v = xnew(struct entry_vec));
    entry_vec_drop(v, out->entry); /* a function may name a value twice */
    if (!out->remove)
        entry_vec_push(v, out->entry);
    else if (v->len == 0)
        map_remove(out->values, value);
}

static void index_entry(struct cache *c, struct entry *e, bool remove)
{
    VEC_EACH(&c->indexes, index) {
        struct index_values out = {.values = index->values, .entry = e, .remove = remove};
        index->fn(cache_obj(c, e), &out);
    }
}

static void by_owner(yyjson_val *obj, struct index_values *out)
{
    yyjson_val *ref;

    json_each(json_at(obj, "/metadata/ownerReferences"), ref)
        index_value(out, json_str(ref, "/uid"));
}

void cache_add_index(struct cache *c, const char *name, index_fn fn)
{
    void *value;

    VEC_EACH(&c->indexes, index)
        if (streq(index->name, name))
            return;
    struct index index = {.name = xstrdup(name), .fn = fn, .values = map_new(free_vec)};
    index_vec_push(&c->indexes, index);
    for (size_t at = 0; map_next(c->entries, &at, NULL, &value);) {
        struct index_values out = {.values = index.values, .entry = value};
        _cleanup_doc_ yyjson_doc *doc = cache_decode(c, value);

        fn(yyjson_doc_get_root(doc), &out);
    }
}

/* --- changes --- */

/* Replaces the entry of key by e (NULL: removes it) and tells. */
static void swap(struct cache *c, const char *key, struct entry *e)
{
    struct entry *old = map_steal(c->entries, key);

    if (old)
        index_entry(c, old, true);
    if (e) {
        map_put(c->entries, e->key, e);
        index_entry(c, e, false);
    }
    if (old || e)
        c->changed(c->userdata, e ? e->key : old->key, cache_obj(c, old), cache_obj(c, e));
    cache_forget(c, old);
}

static struct entry *entry_new(struct cache *c, const char *key, yyjson_val *obj, uint64_t version)
{
    _cleanup_doc_ yyjson_doc *doc = object_trim(obj, c->api_version, c->resource->kind, c->keep);
    size_t len, key_size = strlen(key) + 1;
    char *text = yyjson_write(doc, 0, &len);
    struct entry *e = xmalloc(sizeof(*e) + key_size);

    *e = (struct entry){.text = text, .len = (uint32_t)len, .version = version};
    memcpy(e->key, key, key_size);
    return e;
}

static void take(struct cache *c, const char *key, yyjson_val *obj, uint64_t version)
{
    const struct entry *old = map_get(c->entries, key);

    if (old && version && old->version >= version)
        return;
    if (map_has(c->gone, json_str_or(obj, "/metadata/uid", "")))
        return;
    swap(c, key, entry_new(c, key, obj, version));
}

void cache_event(struct cache *c, enum api_event_type type, yyjson_val *obj)
{
    uint64_t version = object_version(obj);
    char key[OBJECT_KEY_MAX];
    bool news = version > c->seen;

    c->seen = MAX(c->seen, version);
    object_key(obj, key);
    if (type == API_DELETED) {
        const struct entry *e = map_get(c->entries, key);
        map_remove(c->gone, json_str_or(obj, "/metadata/uid", ""));
        if (e && e->version <= version)
            swap(c, key, NULL);
    } else if (type != API_BOOKMARK && news) {
        take(c, key, obj, version);
    }
}

void cache_observe(struct cache *c, yyjson_val *obj)
{
    uint64_t version = object_version(obj);
    char key[OBJECT_KEY_MAX];

    if (version > c->seen)
        take(c, object_key(obj, key), obj, version);
}

void cache_observe_deleted(struct cache *c, const char *key, const char *uid)
{
    const char *have = json_str(cache_get(c, key), "/metadata/uid");

    if (!have || !uid || !streq(have, uid))
        return;
    map_put(c->gone, uid, c);
    swap(c, key, NULL);
}

/* --- lists --- */

void cache_list_begin(struct cache *c, uint64_t version)
{
    void *e;

    /* A server whose versions went back was restored from an older state: what we have is from a future that is void.
     */
    for (size_t at = 0; version < c->seen && map_next(c->entries, &at, NULL, &e);)
        ((struct entry *)e)->version = 0;
    c->list_version = version;
    map_free(c->listed);
    c->listed = map_new(NULL);
}

void cache_list_item(struct cache *c, yyjson_val *obj)
{
    char key[OBJECT_KEY_MAX];
    const struct entry *old = map_get(c->entries, object_key(obj, key));
    uint64_t version = object_version(obj);

    map_put(c->listed, key, c);
    map_put(c->listed, json_str_or(obj, "/metadata/uid", ""), c); /* for `gone`, see cache_list_end */
    if (!old || old->version < version)
        take(c, key, obj, version);
}

static void drop_unlisted(struct cache *c)
{
    const char *key;
    void *e;

    for (size_t at = 0; map_next(c->entries, &at, &key, &e);)
        if (!map_has(c->listed, key) && ((struct entry *)e)->version <= c->list_version) {
            char copy[OBJECT_KEY_MAX];
            snprintf(copy, sizeof(copy), "%s", key);
            swap(c, copy, NULL);
        }
}

void cache_list_end(struct cache *c)
{
    const char *uid;

    drop_unlisted(c);
    for (size_t at = 0; map_next(c->gone, &at, &uid, NULL);)
        if (!map_has(c->listed, uid))
            map_remove(c->gone, uid);
    c->seen = c->list_version;
    c->listed = map_free(c->listed);
}

/* --- reading --- */

uint64_t cache_seen(const struct cache *c)
{
    return c->seen;
}

yyjson_val *cache_get(struct cache *c, const char *key)
{
    return cache_obj(c, map_get(c->entries, key));
}

size_t cache_len(const struct cache *c)
{
    return map_len(c->entries);
}

bool cache_next(struct cache *c, size_t *cursor, const char **ret_key, yyjson_val **ret_obj)
{
    void *e;

    if (!map_next(c->entries, cursor, ret_key, &e))
        return false;
    if (ret_obj)
        *ret_obj = cache_obj(c, e);
    return true;
}

void cache_each(struct cache *c, void (*visit)(void *userdata, const char *key, yyjson_val *obj), void *userdata)
{
    const char *key;
    void *value;

    for (size_t at = 0; map_next(c->entries, &at, &key, &value);) {
        const struct entry *e = value;
        _cleanup_doc_ yyjson_doc *doc = e->doc ? NULL : cache_decode(c, e);

        visit(userdata, key, yyjson_doc_get_root(e->doc ? e->doc : doc));
    }
}

void cache_select(struct cache *c, const char *name, const char *value, struct val_vec *ret)
{
    VEC_EACH(&c->indexes, index) {
        struct entry_vec *v = value && streq(index->name, name) ? map_get(index->values, value) : NULL;
        for (size_t i = 0; v && i < v->len; i++)
            val_vec_push(ret, cache_obj(c, v->items[i]));
    }
}

/* --- life --- */

struct cache *cache_new(const struct api_resource *resource, const char *const *keep, cache_fn changed,
                        void (*woke)(void *userdata, bool crowded), void *userdata)
{
    struct cache *c = xnew(struct cache);

    c->resource = resource;
    c->api_version = api_resource_version(resource);
    c->keep = keep;
    c->changed = changed;
    c->woke = woke;
    c->userdata = userdata;
    c->entries = map_new(NULL);
    c->gone = map_new(NULL);
    cache_add_index(c, INDEX_OWNER, by_owner);
    return c;
}

struct cache *cache_free(struct cache *c)
{
    void *e;

    if (!c)
        return NULL;
    for (size_t at = 0; map_next(c->entries, &at, NULL, &e);)
        cache_forget(c, e);
    entry_vec_done(&c->awake);
    VEC_EACH(&c->indexes, index) {
        free(index->name);
        map_free(index->values);
    }
    index_vec_done(&c->indexes);
    map_free(c->entries);
    map_free(c->gone);
    map_free(c->listed);
    packer_free(c->packer);
    free(c->api_version);
    free(c);
    return NULL;
}

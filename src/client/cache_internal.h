/* The inside of a cache: cache.c has versions, lists and indexes, cache_memory.c how objects are kept. */
#pragma once

#include "client/cache.h"

struct entry {
    yyjson_doc *doc; /* decoded, or NULL */
    char *text;      /* encoded; packed if packed_len */
    uint32_t len, packed_len;
    uint64_t version;
    bool read; /* since the last cache_rest */
    char key[];
};

VEC_DEFINE(entry_vec, struct entry *);

struct index {
    char *name;
    index_fn fn;
    struct map *values; /* value -> struct entry_vec */
};
VEC_DEFINE(index_vec, struct index);

struct cache {
    const struct api_resource *resource;
    char *api_version;
    const char *const *keep;
    cache_fn changed;
    void (*woke)(void *userdata, bool crowded);
    void *userdata;
    struct entry_vec awake; /* those that are decoded */
    struct packer *packer;  /* NULL: few objects */
    struct map *entries;
    struct index_vec indexes;
    uint64_t seen;
    struct map *gone;   /* uids */
    struct map *listed; /* keys and uids in the list under way, NULL if none */
    uint64_t list_version;
};

static inline void entry_vec_drop(struct entry_vec *v, const struct entry *e)
{
    for (size_t i = 0; i < v->len; i++)
        if (v->items[i] == e) {
            v->items[i] = v->items[--v->len];
            return;
        }
}

/* --- cache_memory.c --- */

/* Its decoded form, for the caller alone. */
yyjson_doc *cache_decode(struct cache *c, const struct entry *e);

/* Its decoded form, which stays until it has rested (cache_rest). NULL for NULL. */
yyjson_val *cache_obj(struct cache *c, struct entry *e);

/* Frees an entry that is in no map any more. NULL is fine. */
void cache_forget(struct cache *c, struct entry *e);

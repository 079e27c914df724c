/* The store inside an informer: objects by key, with versions and indexes. No I/O and no time. */
#pragma once

#include "base/map.h"
#include "client/informer.h"

struct cache;

/* Called for each change, after it was made; old is freed when it returns. */
typedef void (*cache_fn)(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj);

/* woke is called when an object was decoded while none was: then cache_rest is wanted after a while; and again when so
 * many are that it is wanted soon (crowded), in the next turn of the loop. */
#define CACHE_CROWDED 1000
struct cache *cache_new(const struct api_resource *resource, const char *const *keep, cache_fn changed,
                        void (*woke)(void *userdata, bool crowded), void *userdata);
struct cache *cache_free(struct cache *c);

void cache_add_index(struct cache *c, const char *name, index_fn fn);

/* What came in by the watch, which reports in the order of versions: what it has passed already is ignored. */
void cache_event(struct cache *c, enum api_event_type type, yyjson_val *obj);
/* What a write returned: taken if the watch has not passed it. */
void cache_observe(struct cache *c, yyjson_val *obj);
void cache_observe_deleted(struct cache *c, const char *key, const char *uid);

/* A whole list: begin with its version, items, end. Objects that are not in it go, unless they are newer. A list that
 * is begun anew before its end replaces the unfinished one. */
void cache_list_begin(struct cache *c, uint64_t version);
void cache_list_item(struct cache *c, yyjson_val *obj);
void cache_list_end(struct cache *c);

/* The version up to which the watch has reported everything. */
uint64_t cache_seen(const struct cache *c);

/* Values are valid until the next change or cache_rest. */
yyjson_val *cache_get(struct cache *c, const char *key);
size_t cache_len(const struct cache *c);
/* ret_obj NULL: the keys alone, which spares decoding. */
bool cache_next(struct cache *c, size_t *cursor, const char **ret_key, yyjson_val **ret_obj);
/* Calls visit for all objects, which are valid during the call only: leaves no more of them decoded than were before.
 */
void cache_each(struct cache *c, void (*visit)(void *userdata, const char *key, yyjson_val *obj), void *userdata);
void cache_select(struct cache *c, const char *index, const char *value, struct val_vec *ret);

/* Drops the decoded form of what was not read since the last call, or of all when it is crowded; how many objects are
 * still decoded. */
size_t cache_rest(struct cache *c);

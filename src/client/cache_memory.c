/* Objects are kept encoded, which takes less than half, and decoded when somebody reads them; cache_rest drops
 * the decoded form of those that nobody has read for a while. A cache of many objects also packs their texts then
 * (packer.h): with 10,000 VMs these are most of what the server would hold. */
#include <malloc.h>

#include "client/cache_internal.h"
#include "client/packer.h"

/* So many objects at once going to rest are worth giving the memory back. */
#define TRIM_FROM 1000
/* Objects from which on texts are packed: below, the packer itself would take more. */
#define PACK_FROM 500

yyjson_doc *cache_decode(struct cache *c, const struct entry *e)
{
    _cleanup_free_ char *text = e->packed_len ? packer_unpack(c->packer, e->text, e->packed_len, e->len) : NULL;

    return yyjson_read(text ? text : e->text, e->len, 0);
}

static void pack(struct cache *c, struct entry *e)
{
    size_t len = 0;
    char *packed;

    if (!c->packer && map_len(c->entries) >= PACK_FROM)
        c->packer = packer_new(e->text, e->len);
    packed = c->packer && !e->packed_len ? packer_pack(c->packer, e->text, e->len, &len) : NULL;
    if (!packed)
        return;
    free(e->text);
    e->text = packed;
    e->packed_len = (uint32_t)len;
}

yyjson_val *cache_obj(struct cache *c, struct entry *e)
{
    if (!e)
        return NULL;
    e->read = true;
    if (!e->doc) {
        e->doc = cache_decode(c, e);
        entry_vec_push(&c->awake, e);
        if (c->awake.len == 1 || c->awake.len == CACHE_CROWDED)
            c->woke(c->userdata, c->awake.len == CACHE_CROWDED);
    }
    return yyjson_doc_get_root(e->doc);
}

void cache_forget(struct cache *c, struct entry *e)
{
    if (!e)
        return;
    if (e->doc)
        entry_vec_drop(&c->awake, e);
    yyjson_doc_free(e->doc);
    free(e->text);
    free(e);
}

size_t cache_rest(struct cache *c)
{
    size_t kept = 0, had = c->awake.len;

    for (size_t i = 0; i < had; i++) {
        struct entry *e = c->awake.items[i];
        if (e->read && had < CACHE_CROWDED) {
            e->read = false;
            c->awake.items[kept++] = e;
        } else {
            yyjson_doc_free(e->doc);
            e->doc = NULL;
            pack(c, e);
        }
    }
    c->awake.len = kept;
    if (had - kept > TRIM_FROM)
        malloc_trim(0);
    return kept;
}

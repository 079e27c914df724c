#include "base/map.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Entries lie in one array in order of insertion; `slots` is an open-addressing index into it (position + 1, 0 =
 * empty), at most three quarters full. A removed entry leaves a hole with key NULL in the array, and both are rebuilt
 * when the array is full. */
struct entry {
    char *key;
    uint64_t hash;
    void *value;
};

struct map {
    struct entry *entries;
    size_t room; /* of the array */
    size_t used; /* array positions taken, holes included */
    size_t len;  /* live entries */
    uint32_t *slots;
    size_t n_slots; /* a power of two */
    void (*free_value)(void *);
};

static uint64_t hash_of(const char *key)
{
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */

    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 1099511628211ULL;
    return h ^ (h >> 29);
}

struct map *map_new(void (*free_value)(void *))
{
    struct map *m = xnew(struct map);

    m->free_value = free_value;
    return m;
}

static void release(struct map *m, void *value)
{
    if (m->free_value && value)
        m->free_value(value);
}

void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->used; i++)
        if (m->entries[i].key) {
            free(m->entries[i].key);
            release(m, m->entries[i].value);
        }
    free(m->entries);
    free(m->slots);
    *m = (struct map){.free_value = m->free_value};
}

struct map *map_free(struct map *m)
{
    if (m) {
        map_clear(m);
        free(m);
    }
    return NULL;
}

static struct entry *find(const struct map *m, const char *key, uint64_t hash)
{
    for (size_t i = hash & (m->n_slots - 1); m->n_slots && m->slots[i]; i = (i + 1) & (m->n_slots - 1)) {
        struct entry *e = &m->entries[m->slots[i] - 1];
        if (e->key && e->hash == hash && streq(e->key, key))
            return e;
    }
    return NULL;
}

static void index_entry(struct map *m, size_t at)
{
    size_t i = m->entries[at].hash & (m->n_slots - 1);

    while (m->slots[i])
        i = (i + 1) & (m->n_slots - 1);
    m->slots[i] = (uint32_t)at + 1;
}

/* Closes the holes and makes room for half as many again. */
static void rebuild(struct map *m)
{
    size_t room = m->len + m->len / 2 + 6, live = 0;

    struct entry *entries = xnew_n(struct entry, room);
    for (size_t i = 0; i < m->used; i++)
        if (m->entries[i].key)
            entries[live++] = m->entries[i];
    free(m->entries);
    free(m->slots);
    m->entries = entries;
    m->room = room;
    m->used = live;
    for (m->n_slots = 8; m->n_slots / 4 * 3 < room;)
        m->n_slots *= 2;
    m->slots = xnew_n(uint32_t, m->n_slots);
    for (size_t i = 0; i < live; i++)
        index_entry(m, i);
}

void *map_get(const struct map *m, const char *key)
{
    struct entry *e = find(m, key, hash_of(key));

    return e ? e->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
    return find(m, key, hash_of(key)) != NULL;
}

void map_put(struct map *m, const char *key, void *value)
{
    uint64_t hash = hash_of(key);
    struct entry *e = find(m, key, hash);

    if (e) {
        if (e->value != value)
            release(m, e->value);
        e->value = value;
        return;
    }
    if (m->used == m->room)
        rebuild(m);
    m->entries[m->used] = (struct entry){.key = xstrdup(key), .hash = hash, .value = value};
    index_entry(m, m->used++);
    m->len++;
}

void *map_steal(struct map *m, const char *key)
{
    struct entry *e = find(m, key, hash_of(key));
    void *value;

    if (!e)
        return NULL;
    value = e->value;
    free(e->key);
    e->key = NULL;
    e->value = NULL;
    m->len--;
    return value;
}

bool map_remove(struct map *m, const char *key)
{
    if (!map_has(m, key))
        return false;
    release(m, map_steal(m, key));
    return true;
}

size_t map_len(const struct map *m)
{
    return m->len;
}

bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value)
{
    while (*cursor < m->used) {
        struct entry *e = &m->entries[(*cursor)++];
        if (!e->key)
            continue;
        if (ret_key)
            *ret_key = e->key;
        if (ret_value)
            *ret_value = e->value;
        return true;
    }
    return false;
}

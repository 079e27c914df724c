/* A hash map from strings to pointers, kept in insertion order as long as nothing is removed. Keys are copied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct map;

/* free_value, if not NULL, is called on values that are replaced, removed or left at map_free. */
struct map *map_new(void (*free_value)(void *));
struct map *map_free(struct map *m);

void *map_get(const struct map *m, const char *key);
bool map_has(const struct map *m, const char *key);
void map_put(struct map *m, const char *key, void *value);
bool map_remove(struct map *m, const char *key);
/* Removes the entry and returns its value without freeing it; NULL when absent. */
void *map_steal(struct map *m, const char *key);
void map_clear(struct map *m);
size_t map_len(const struct map *m);

/* Iteration: start with *cursor = 0; false at the end. Removing the entry just returned is allowed, adding is not. */
bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value);

/* for (size_t c = 0; map_next(m, &c, &key, &value);) */
static inline void map_freep(struct map **m)
{
    if (*m)
        map_free(*m);
}

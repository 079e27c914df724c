#include "migration/queue.h"

#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/vec.h"

struct node {
    size_t active;
};

struct entry {
    enum queue_class class;
    struct node *node;
    int priority;
    int64_t created_ms;
    char *uid;
    char key[];
};
VEC_DEFINE(entry_vec, struct entry *);

struct queue {
    struct map *entries;      /* key -> struct entry */
    struct map *nodes;        /* name -> struct node; they stay */
    struct entry_vec waiting; /* in order */
    size_t active;
};

static void entry_free(void *p)
{
    struct entry *e = p;

    free(e->uid);
    free(e);
}

struct queue *queue_new(void)
{
    struct queue *q = xnew(struct queue);

    q->entries = map_new(entry_free);
    q->nodes = map_new(free);
    return q;
}

struct queue *queue_free(struct queue *q)
{
    entry_vec_done(&q->waiting);
    map_free(q->entries);
    map_free(q->nodes);
    free(q);
    return NULL;
}

static int compare(const struct entry *a, const struct entry *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->created_ms != b->created_ms)
        return a->created_ms < b->created_ms ? -1 : 1;
    int by_uid = strcmp(a->uid, b->uid);
    return by_uid ? by_uid : strcmp(a->key, b->key);
}

/* Where e is among the waiting, or would be. */
static size_t find(const struct queue *q, const struct entry *e)
{
    size_t from = 0, to = q->waiting.len;

    while (from < to) {
        size_t middle = (from + to) / 2;
        if (compare(q->waiting.items[middle], e) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static void insert(struct queue *q, struct entry *e)
{
    size_t at = find(q, e);

    entry_vec_push(&q->waiting, e);
    memmove(q->waiting.items + at + 1, q->waiting.items + at, (q->waiting.len - 1 - at) * sizeof(e));
    q->waiting.items[at] = e;
}

static void take_out(struct queue *q, struct entry *e)
{
    if (e->class == QUEUE_WAITING)
        entry_vec_remove(&q->waiting, find(q, e));
    if (e->class == QUEUE_ACTIVE) {
        q->active--;
        e->node->active--;
    }
}

static struct node *node_of(struct queue *q, const char *name)
{
    struct node *n = map_get(q->nodes, name ? name : "");

    if (!n) {
        n = xnew(struct node);
        map_put(q->nodes, name ? name : "", n);
    }
    return n;
}

static void put_in(struct queue *q, const char *key, const struct queue_item *item)
{
    struct entry *e = xcalloc(1, sizeof(*e) + strlen(key) + 1);

    strcpy(e->key, key);
    e->class = item->class;
    e->node = node_of(q, item->node);
    e->priority = item->priority;
    e->created_ms = item->created_ms;
    e->uid = xstrdup(item->uid ? item->uid : "");
    map_put(q->entries, key, e);
    if (e->class == QUEUE_WAITING) {
        insert(q, e);
    } else {
        q->active++;
        e->node->active++;
    }
}

bool queue_set(struct queue *q, const char *key, const struct queue_item *item)
{
    struct entry *old = map_get(q->entries, key);
    enum queue_class was = old ? old->class : QUEUE_NONE;

    if (old && was == item->class && old->node == node_of(q, item->node))
        return false;
    if (old) {
        take_out(q, old);
        map_remove(q->entries, key);
    }
    if (item->class != QUEUE_NONE)
        put_in(q, key, item);
    return was != QUEUE_NONE;
}

enum queue_class queue_class(const struct queue *q, const char *key)
{
    const struct entry *e = map_get(q->entries, key);

    return e ? e->class : QUEUE_NONE;
}

const char *queue_next(const struct queue *q, const struct queue_limits *limits)
{
    if ((int64_t)q->active >= limits->cluster)
        return NULL;
    for (size_t i = 0; i < q->waiting.len; i++)
        if ((int64_t)q->waiting.items[i]->node->active < limits->node)
            return q->waiting.items[i]->key;
    return NULL;
}

size_t queue_place(const struct queue *q, const char *key)
{
    const struct entry *e = map_get(q->entries, key);

    return e && e->class == QUEUE_WAITING ? find(q, e) + 1 : 0;
}

const char *queue_at(const struct queue *q, size_t place)
{
    return place >= 1 && place <= q->waiting.len ? q->waiting.items[place - 1]->key : NULL;
}

size_t queue_waiting(const struct queue *q)
{
    return q->waiting.len;
}

size_t queue_active(const struct queue *q)
{
    return q->active;
}

size_t queue_active_on(const struct queue *q, const char *node)
{
    const struct node *n = map_get(q->nodes, node ? node : "");

    return n ? n->active : 0;
}

int queue_priority(const char *name)
{
    static const struct {
        const char *name;
        int value;
    } table[] = {{"system-critical", 100}, {"user-triggered", 50}, {"system-maintenance", 20}};

    for (size_t i = 0; name && i < ARRAY_SIZE(table); i++)
        if (streq(table[i].name, name))
            return table[i].value;
    return 0;
}

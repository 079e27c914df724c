#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store_backend.h"

void store_item_done(struct store_item *item)
{
    free(item->key);
    blob_unref(item->value);
    *item = (struct store_item){0};
}

void store_list_done(struct store_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        store_item_done(&l->items[i]);
    free(l->items);
    *l = (struct store_list){0};
}

void store_event_done(struct store_event *e)
{
    free(e->key);
    blob_unref(e->value);
    blob_unref(e->previous);
    *e = (struct store_event){0};
}

struct store *store_close(struct store *s)
{
    if (s)
        s->backend->close(s);
    return NULL;
}

int store_get(struct store *s, const char *key, int64_t revision, struct store_item *ret, struct gw_error *err)
{
    return s->backend->get(s, key, revision, ret, err);
}

int store_list(struct store *s, const struct store_list_options *o, struct store_list *ret, struct gw_error *err)
{
    return s->backend->list(s, o, ret, err);
}

int store_put(struct store *s, const char *key, struct blob *value, int64_t expected, int64_t *ret_revision,
              struct gw_error *err)
{
    return store_change(s, key, value, expected, NULL, ret_revision, err);
}

int store_delete(struct store *s, const char *key, int64_t expected, int64_t *ret_revision, struct gw_error *err)
{
    return store_change(s, key, NULL, expected, NULL, ret_revision, err);
}

int store_change(struct store *s, const char *key, struct blob *value, int64_t expected,
                 const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err)
{
    return s->backend->write(s, key, value, expected, facts, ret_revision, err);
}

void store_facts_clear(struct store_facts *facts)
{
    VEC_EACH(facts, fact)
        free(fact->key);
    store_facts_done(facts);
}

int64_t store_revision(struct store *s, struct gw_error *err)
{
    return s->backend->revision(s, err);
}

/* What a reader sees, whatever the key. */
static int64_t newest_readable(struct store *s, struct gw_error *err)
{
    _cleanup_store_list_ struct store_list none = {0};
    int r = store_list(s, &(struct store_list_options){.prefix = "\x7f", .limit = 1}, &none, err);

    return r < 0 ? r : none.revision;
}

int store_check_reached(struct store *s, int64_t revision, struct gw_error *err)
{
    int64_t present = store_revision(s, err);

    /* A change can be read a moment before it counts as acknowledged: who has listed may know its revision. */
    if (present >= 0 && revision > present)
        present = newest_readable(s, err);
    if (present < 0)
        return (int)present;
    return revision > present ? store_error_future(revision, present, err) : 0;
}

int store_compact(struct store *s, int64_t revision, struct gw_error *err)
{
    return s->backend->compact(s, revision, err);
}

int store_wipe(struct store *s, struct gw_error *err)
{
    return s->backend->wipe(s, err);
}

int store_watch_open(struct store *s, int64_t from, struct store_watch **ret, struct gw_error *err)
{
    return s->backend->watch_open(s, from, ret, err);
}

struct store_watch *store_watch_close(struct store_watch *w)
{
    if (w)
        w->store->backend->watch_close(w);
    return NULL;
}

int store_watch_fd(struct store_watch *w)
{
    return w->fd;
}

int store_watch_next(struct store_watch *w, struct store_event *ret, struct gw_error *err)
{
    return w->store->backend->watch_next(w, ret, err);
}

int store_error_absent(const char *key, struct gw_error *err)
{
    gw_error_set(err, GW_NOT_FOUND, "key \"%s\" not found", key);
    return -ENOENT;
}

int store_error_exists(const char *key, struct gw_error *err)
{
    gw_error_set(err, GW_ALREADY_EXISTS, "key \"%s\" already exists", key);
    return -EEXIST;
}

int store_error_stale(const char *key, int64_t expected, int64_t present, struct gw_error *err)
{
    gw_error_set(err, GW_CONFLICT, "key \"%s\" is at revision %lld, not %lld", key, (long long)present,
                 (long long)expected);
    return -ESTALE;
}

int store_error_compacted(struct gw_error *err)
{
    gw_error_set(err, GW_EXPIRED, "The resourceVersion for the provided list is too old.");
    return -ESTALE;
}

/* The cause tells clients to ask again a little later (k8s.io/apiserver storage.NewTooLargeResourceVersionError). */
int store_error_future(int64_t revision, int64_t present, struct gw_error *err)
{
    gw_error_add_cause(err, "ResourceVersionTooLarge", NULL, "Too large resource version");
    gw_error_set(err, GW_TIMEOUT, "Timeout: Too large resource version: %lld, current: %lld", (long long)revision,
                 (long long)present);
    if (err)
        err->retry_after_s = 1;
    return -ETIMEDOUT;
}

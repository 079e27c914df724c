#include "store/sealed_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "store/store_backend.h"

/* Says, encrypted itself, how far the values are: they are all encrypted with its key, or some of them may be. */
#define MARK "/godwit/sealed"
#define MARK_DONE "done"
#define MARK_BEGUN "begun"
#define PAGE 256

struct sealed_store {
    struct store store;
    struct store *inner;
    struct seal_keys *keys;
    char *prefix;
};

struct sealed_watch {
    struct store_watch watch; /* its descriptor is the inner one's */
    struct store_watch *inner;
};

static struct sealed_store *sealed_of(struct store *s)
{
    return CONTAINER_OF(s, struct sealed_store, store);
}

static bool is_sealed_key(const struct sealed_store *s, const char *key)
{
    return str_starts(key, s->prefix);
}

/* Replaces *value by what it holds. */
static int open_value(struct sealed_store *s, const char *key, struct blob **value, struct gw_error *err)
{
    struct blob *plain = NULL;
    int r;

    if (!*value || !is_sealed_key(s, key))
        return 0;
    r = seal_open(s->keys, key, *value, &plain, err);
    if (r < 0)
        return r;
    blob_unref(*value);
    *value = plain;
    return 0;
}

/* --- The backend --- */

static int sealed_get(struct store *store, const char *key, int64_t revision, struct store_item *ret,
                      struct gw_error *err)
{
    struct sealed_store *s = sealed_of(store);
    _cleanup_store_item_ struct store_item item = {0};
    int r = store_get(s->inner, key, revision, &item, err);

    r = r < 0 ? r : open_value(s, key, &item.value, err);
    if (r < 0)
        return r;
    *ret = item;
    item = (struct store_item){0};
    return 0;
}

static int sealed_list(struct store *store, const struct store_list_options *o, struct store_list *ret,
                       struct gw_error *err)
{
    struct sealed_store *s = sealed_of(store);
    _cleanup_store_list_ struct store_list list = {0};
    int r = store_list(s->inner, o, &list, err);

    for (size_t i = 0; r == 0 && i < list.len; i++)
        r = open_value(s, list.items[i].key, &list.items[i].value, err);
    if (r < 0)
        return r;
    *ret = list;
    list = (struct store_list){0};
    return 0;
}

static int sealed_write(struct store *store, const char *key, struct blob *value, int64_t expected,
                        const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err)
{
    struct sealed_store *s = sealed_of(store);
    const struct store_backend *inner = s->inner->backend;
    _cleanup_blob_ struct blob *sealed = NULL;
    int r = 0;

    if (!value || !is_sealed_key(s, key))
        return inner->write(s->inner, key, value, expected, facts, ret_revision, err);
    r = seal_value(s->keys, key, value, &sealed, err);
    return r < 0 ? r : inner->write(s->inner, key, sealed, expected, facts, ret_revision, err);
}

static int64_t sealed_revision(struct store *store, struct gw_error *err)
{
    return store_revision(sealed_of(store)->inner, err);
}

static int sealed_compact(struct store *store, int64_t revision, struct gw_error *err)
{
    return store_compact(sealed_of(store)->inner, revision, err);
}

static int sealed_wipe(struct store *store, struct gw_error *err)
{
    return store_wipe(sealed_of(store)->inner, err);
}

static int sealed_watch_open(struct store *store, int64_t from, struct store_watch **ret, struct gw_error *err)
{
    struct store_watch *inner = NULL;
    int r = store_watch_open(sealed_of(store)->inner, from, &inner, err);

    if (r < 0)
        return r;

    struct sealed_watch *w = xnew(struct sealed_watch);
    w->watch = (struct store_watch){.store = store, .fd = store_watch_fd(inner)};
    w->inner = inner;
    *ret = &w->watch;
    return 0;
}

static int sealed_watch_next(struct store_watch *watch, struct store_event *ret, struct gw_error *err)
{
    struct sealed_store *s = sealed_of(watch->store);
    int more = store_watch_next(CONTAINER_OF(watch, struct sealed_watch, watch)->inner, ret, err);
    int r;

    if (more <= 0 || !is_sealed_key(s, ret->key))
        return more;
    r = open_value(s, ret->key, &ret->value, err);
    r = r < 0 ? r : open_value(s, ret->key, &ret->previous, err);
    if (r < 0)
        store_event_done(ret);
    return r < 0 ? r : more;
}

static void sealed_watch_close(struct store_watch *watch)
{
    struct sealed_watch *w = CONTAINER_OF(watch, struct sealed_watch, watch);

    store_watch_close(w->inner);
    free(w);
}

static void free_front(struct sealed_store *s)
{
    free(s->prefix);
    free(s);
}

static void sealed_close(struct store *store)
{
    struct sealed_store *s = sealed_of(store);

    store_close(s->inner);
    seal_keys_free(s->keys);
    free_front(s);
}

static const struct store_backend sealed_backend = {
    .get = sealed_get,
    .list = sealed_list,
    .write = sealed_write,
    .revision = sealed_revision,
    .compact = sealed_compact,
    .wipe = sealed_wipe,
    .watch_open = sealed_watch_open,
    .watch_next = sealed_watch_next,
    .watch_close = sealed_watch_close,
    .close = sealed_close,
};

/* --- The start --- */

static int reseal(struct sealed_store *s, const struct store_item *item, struct gw_error *err)
{
    _cleanup_blob_ struct blob *plain = NULL;
    int r = 0;

    if (seal_is_current(s->keys, item->value))
        return 0;
    if (seal_is_sealed(item->value))
        r = seal_open(s->keys, item->key, item->value, &plain, err);
    else
        plain = blob_ref(item->value);
    return r < 0 ? r : store_put(&s->store, item->key, plain, item->revision, NULL, err);
}

static int reseal_all(struct sealed_store *s, struct gw_error *err)
{
    _cleanup_free_ char *after = NULL;
    int r;

    for (;;) {
        const struct store_list_options page = {.prefix = s->prefix, .after_key = after, .limit = PAGE};
        _cleanup_store_list_ struct store_list list = {0};

        r = store_list(s->inner, &page, &list, err);
        for (size_t i = 0; r == 0 && i < list.len; i++)
            r = reseal(s, &list.items[i], err);
        if (r < 0 || list.len == 0)
            return r;
        free(after);
        after = xstrdup(list.items[list.len - 1].key);
    }
}

static int write_mark(struct sealed_store *s, const char *text, struct gw_error *err)
{
    _cleanup_blob_ struct blob *plain = blob_text(text), *sealed = NULL;
    int r = seal_value(s->keys, MARK, plain, &sealed, err);

    return r < 0 ? r : store_put(s->inner, MARK, sealed, STORE_ANY, NULL, err);
}

/* 1: all values are encrypted with the first key; 0: not yet. */
static int read_mark(struct sealed_store *s, const struct blob *mark, struct gw_error *err)
{
    _cleanup_blob_ struct blob *text = NULL;
    int r;

    if (!mark)
        return 0;
    r = seal_open(s->keys, MARK, mark, &text, err);
    return r < 0 ? r : seal_is_current(s->keys, mark) && streq(text->data, MARK_DONE);
}

static int bring_up(struct sealed_store *s, const struct blob *mark, struct gw_error *err)
{
    int r = read_mark(s, mark, err);

    if (r != 0)
        return r < 0 ? r : 0;
    r = write_mark(s, MARK_BEGUN, err);
    r = r < 0 ? r : reseal_all(s, err);
    r = r < 0 ? r : store_wipe(s->inner, err);
    return r < 0 ? r : write_mark(s, MARK_DONE, err);
}

int store_open_sealed(struct store *inner, const char *prefix, struct seal_keys *keys, struct store **ret,
                      struct gw_error *err)
{
    _cleanup_store_item_ struct store_item mark = {0};
    int r = store_get(inner, MARK, 0, &mark, NULL);

    if (r < 0 && r != -ENOENT)
        return gw_error_set(err, GW_INTERNAL_ERROR, "store: cannot tell whether its values are encrypted");
    if (!keys && r == 0)
        return gw_error_set(err, GW_INVALID, "values in the store are encrypted, and no key was given");
    if (!keys) {
        *ret = inner;
        return 0;
    }

    struct sealed_store *s = xnew(struct sealed_store);
    *s = (struct sealed_store){{&sealed_backend}, inner, keys, xstrdup(prefix)};
    r = bring_up(s, mark.value, err);
    if (r < 0) {
        free_front(s);
        return r;
    }
    *ret = &s->store;
    return 0;
}

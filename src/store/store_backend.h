/* What a backend of the store supplies; the contract of each function is that of store.h. */
#pragma once

#include "store/store.h"

struct store_backend {
    int (*get)(struct store *s, const char *key, int64_t revision, struct store_item *ret, struct gw_error *err);
    int (*list)(struct store *s, const struct store_list_options *o, struct store_list *ret, struct gw_error *err);
    /* value NULL removes the key; facts may be NULL. */
    int (*write)(struct store *s, const char *key, struct blob *value, int64_t expected,
                 const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err);
    int64_t (*revision)(struct store *s, struct gw_error *err);
    int (*compact)(struct store *s, int64_t revision, struct gw_error *err);
    int (*wipe)(struct store *s, struct gw_error *err);
    int (*watch_open)(struct store *s, int64_t from, struct store_watch **ret, struct gw_error *err);
    int (*watch_next)(struct store_watch *w, struct store_event *ret, struct gw_error *err);
    void (*watch_close)(struct store_watch *w);
    void (*close)(struct store *s);
};

/* Backends embed these as first members. */
struct store {
    const struct store_backend *backend;
};

struct store_watch {
    struct store *store;
    int fd; /* eventfd, owned */
};

/* The errors that every backend words alike; they return the negative errno of the contract. */
int store_error_absent(const char *key, struct gw_error *err);
int store_error_exists(const char *key, struct gw_error *err);
int store_error_stale(const char *key, int64_t expected, int64_t present, struct gw_error *err);
int store_error_compacted(struct gw_error *err);
int store_error_future(int64_t revision, int64_t present, struct gw_error *err);

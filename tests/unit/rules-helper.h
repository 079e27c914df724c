/* Puts an object through the whole admission of a write, with the real kinds and the given other objects. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/kind.h"
#include "api/meta.h"
#include "api/rules.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

#define NOW 1763683200000 /* 2025-11-21T00:00:00Z */

struct world {
    struct kinds *kinds;
    yyjson_doc *objects[16];
    size_t n;
    const char *group; /* of the one who asks; NULL is an administrator */
    char warning[512];
};

static inline yyjson_doc *yaml(const char *text)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_doc *doc = NULL;

    if (yaml_parse(text, strlen(text), &doc, &err) < 0)
        fail_msg("%s in %s", gw_error_message(&err), text);
    return doc;
}

static inline void world_add(struct world *w, const char *text)
{
    w->objects[w->n++] = yaml(text);
}

static inline void world_clear(struct world *w)
{
    while (w->n)
        yyjson_doc_free(w->objects[--w->n]);
    w->group = NULL;
    w->warning[0] = '\0';
}

static inline bool is_kind(struct world *w, yyjson_val *o, const char *group, const char *kind, const char *namespace)
{
    const struct kind *k = kinds_find_object(w->kinds, json_str_or(o, "/apiVersion", ""), json_str_or(o, "/kind", ""));

    return k && streq(k->group, group) && streq(k->kind, kind) && (!namespace || streq(meta_namespace(o), namespace));
}

static inline yyjson_val *world_lookup(struct rule_ctx *ctx, const char *group, const char *kind, const char *namespace,
                                       const char *name)
{
    struct world *w = ctx->data;

    for (size_t i = 0; i < w->n; i++) {
        yyjson_val *o = yyjson_doc_get_root(w->objects[i]);
        if (is_kind(w, o, group, kind, namespace) && streq(meta_name(o), name))
            return o;
    }
    return NULL;
}

static inline void world_each(struct rule_ctx *ctx, const char *group, const char *kind, const char *namespace,
                              rule_visit_fn *visit, void *data)
{
    struct world *w = ctx->data;

    for (size_t i = 0; i < w->n; i++) {
        yyjson_val *o = yyjson_doc_get_root(w->objects[i]);
        if (is_kind(w, o, group, kind, namespace) && !visit(data, o))
            return;
    }
}

static inline void world_warn(struct rule_ctx *ctx, const char *text)
{
    struct world *w = ctx->data;

    snprintf(w->warning, sizeof(w->warning), "%s", text);
}

/* What all tests of one program write to: with the real kinds from world_load on, and empty after each world_tear_down. */
static struct world world;

static inline int world_load(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (kinds_new(&world.kinds, &err) == 0)
        return 0;
    print_error("%s\n", gw_error_message(&err));
    return -1;
}

static inline int world_unload(void **state)
{
    world_clear(&world);
    kinds_free(world.kinds);
    return 0;
}

static inline int world_tear_down(void **state)
{
    world_clear(&world);
    return 0;
}

/* Runs prune, defaults, rules and validation on object (changed in place by what it returns). The caller frees the result;
 * err tells whether it would be stored. */
static inline yyjson_doc *admit(struct world *w, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    const char *groups[] = {w->group ? w->group : "system:masters", NULL};
    const struct kind *kind = kinds_find_object(w->kinds, json_str_or(object, "/apiVersion", ""), json_str_or(object, "/kind", ""));
    struct rule_ctx ctx = {.kind = kind, .namespace = meta_namespace(object), .user = "somebody", .groups = groups, .now = NOW,
                           .lookup = world_lookup, .each = world_each, .warn = world_warn, .data = w};
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(object);
    struct text_vec faults = {0};

    assert_non_null(kind);
    schema_prune(kind->schema, d, d->root, &faults);
    VEC_EACH(&faults, fault)
        fail_msg("%s", *fault);
    text_vec_clear(&faults);
    schema_default(kind->schema, d, d->root);
    if (kind->rules->set_defaults)
        kind->rules->set_defaults(&ctx, d, old);
    yyjson_doc *result = yyjson_mut_doc_imut_copy(d, NULL);
    schema_validate(kind->schema, yyjson_doc_get_root(result), "", err);
    if (kind->rules->validate)
        kind->rules->validate(&ctx, yyjson_doc_get_root(result), old, err);
    return result;
}

/* The causes, one per line as "field: message". Freed by the caller. */
static inline char *causes(const struct gw_error *err)
{
    struct str out = {0};

    for (size_t i = 0; i < err->n_causes; i++)
        str_printf(&out, "%s: %s\n", err->causes[i].field, err->causes[i].message);
    if (!err->n_causes && err->message)
        str_printf(&out, "%s\n", err->message);
    return str_take(&out);
}

/* Rules that look across fields or objects: what a schema can't say. One table of functions per kind, in
 * src/api/rules/.
 *
 * Order in a write: prune, schema defaults, set_defaults, schema validation, validate, store. `old` is NULL on create.
 */
#pragma once

#include "api/kind.h"

struct rule_ctx;
typedef bool rule_visit_fn(void *data, yyjson_val *object);

/* How rules reach other objects; given by the API server (and by tests). */
struct rule_ctx {
    const struct kind *kind;
    const char *namespace;   /* "" for cluster-scoped kinds */
    const char *subresource; /* NULL or "status" */
    const char *user;
    const char *const *groups; /* NULL-terminated */
    int64_t now;               /* milliseconds since the epoch */
    bool dry_run;
    /* The object, or NULL. It belongs to the context and lives until the request ends. */
    yyjson_val *(*lookup)(struct rule_ctx *ctx, const char *group, const char *kind, const char *namespace,
                          const char *name);
    /* Calls visit for each object in namespace (NULL: all) until it returns false; each is valid during its call only.
     */
    void (*each)(struct rule_ctx *ctx, const char *group, const char *kind, const char *namespace, rule_visit_fn *visit,
                 void *data);
    /* A Warning header of the answer. May be NULL. */
    void (*warn)(struct rule_ctx *ctx, const char *text);
    void *data; /* the implementer's */
};

struct rules {
    const char *group;
    const char *kind;
    /* Fills what the schema's defaults can't. */
    void (*set_defaults)(struct rule_ctx *ctx, yyjson_mut_doc *object, yyjson_val *old);
    /* Appends causes (gw_error_add_cause), or sets another refusal such as Forbidden. err is never NULL. */
    void (*validate)(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err);
    /* Before a delete takes effect: 0, or negative with err filled to refuse it. */
    int (*before_delete)(struct rule_ctx *ctx, yyjson_val *object, struct gw_error *err);
};

/* Those of kinds that are refused (docs/kinds.md): the server alone makes and changes them. */
extern const struct rules refused_rules;
#define USER_SERVER "system:godwit:server"

/* The rules of a kind; an empty table when it has none. Any of the functions may be NULL. */
const struct rules *rules_find(const char *group, const char *kind);

bool rule_user_in_group(const struct rule_ctx *ctx, const char *group);

/* Causes in Kubernetes' words; each adds one. value is JSON text for the message ("\"x\"", "3"); see field_quote. */
void field_invalid(struct gw_error *err, const char *field, const char *value, const char *fmt, ...) _printf_(4, 5);
void field_required(struct gw_error *err, const char *field, const char *fmt, ...) _printf_(3, 4);
void field_forbidden(struct gw_error *err, const char *field, const char *fmt, ...) _printf_(3, 4);
void field_duplicate(struct gw_error *err, const char *field, const char *value);
/* supported: NULL-terminated list of the values that would do. */
void field_unsupported(struct gw_error *err, const char *field, const char *value, const char *const *supported);
/* JSON text of a value; freed by the caller. "null" for NULL. */
char *field_quote(yyjson_val *value);

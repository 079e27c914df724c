/* The registry of kinds: what the API server knows about each resource, read from the kind files (docs/kinds.md) that
 * are embedded in the executable, or from CustomResourceDefinitions at run time (crd.h).
 *
 * Lookups may come from any thread. A kind that was removed or replaced stays in memory until kinds_free, because
 * requests under way may still hold it; definitions change seldom. */
#pragma once

#include "api/cells.h"
#include "api/schema.h"
#include "base/json.h"

struct rules;
struct jsonpath;

struct kind_version {
    const char *name;
    bool storage;
    bool served;
    const char *deprecated; /* text of the Warning header, or NULL */
};

struct kind_column {
    const char *name;
    const char *type;   /* string, integer, number, boolean, date */
    const char *format; /* "" when not given */
    const char *description;
    int priority;          /* > 0: only with -o wide */
    struct jsonpath *path; /* or NULL, then cell is set */
    cell_fn *cell;
    const char *empty;     /* what is shown for no value, or NULL; of text only */
    const char *path_text; /* as written: ".status.phase", "=pod-status" */
};

enum name_rule { NAME_DNS_SUBDOMAIN, NAME_DNS_LABEL, NAME_PATH_SEGMENT, NAME_DNS_1035 };

struct kind {
    const char *group; /* "" for core */
    const char *kind;
    const char *list_kind;
    const char *plural;
    const char *singular;
    const char **short_names; /* NULL-terminated, as are the next two */
    const char **categories;
    const char **selectable;       /* field selectors besides metadata.name and metadata.namespace */
    struct kind_version *versions; /* in order of preference */
    size_t n_versions;
    struct kind_column *columns; /* without Name; the default (Age) is filled in */
    size_t n_columns;
    bool namespaced;
    bool has_status; /* a status subresource: the main resource ignores status, and the other way round */
    /* "create get list ...", all of them unless the file says otherwise. One that can't be got is never stored: it is
     * answered at once (reviews). Without any verb it is no resource, only the type of some body. */
    const char *verbs;
    bool stored;
    bool computed;       /* can be got, but is made for the question and never stored (metrics) */
    const char *view_of; /* plural of the core kind whose stored objects it shows; NULL: has objects of its own */
    const char *refused; /* why nobody but the server may make one; NULL: one may */
    bool builtin;        /* strategic merge patch, PUT without resourceVersion, protobuf bodies if `protobuf` */
    bool protobuf;
    const char *origin; /* names its CustomResourceDefinition and its wording; NULL for kinds that are built in */
    enum name_rule name_rule;
    struct schema *schema;     /* of the whole object; apiVersion, kind and metadata included */
    const struct rules *rules; /* never NULL */
    char *prefix;              /* of its keys in the store: "/registry/GROUP/PLURAL/" */
    char *resource;            /* "virtualmachines.kubevirt.io", as messages and details name it */
    char *qualified;           /* "VirtualMachine.kubevirt.io" */
    struct kind_data *data;    /* private: what the texts above point into */
};

#define KIND_VERBS "create delete deletecollection get list patch update watch"

struct kinds;
VEC_DEFINE(kind_vec, const struct kind *);

/* A registry with the kinds that are built in; and an empty one (shared types still resolve). */
int kinds_new(struct kinds **ret, struct gw_error *err);
struct kinds *kinds_new_empty(void);
struct kinds *kinds_free(struct kinds *k);
DEFINE_CLEANUP(struct kinds *, kinds_free)

/* Adds the kind that a kind file or its JSON form describes, in place of one with the same group and plural. `name` is
 * for messages. The JSON form may carry `origin` (struct kind). */
int kinds_add_yaml(struct kinds *k, const char *name, const void *text, size_t len, struct gw_error *err);
int kinds_add_json(struct kinds *k, const char *name, yyjson_val *file, struct gw_error *err);
/* False if there was none. */
bool kinds_remove(struct kinds *k, const char *group, const char *plural);

/* NULL when unknown. version NULL means any; otherwise it must be a served one. */
const struct kind *kinds_find(struct kinds *k, const char *group, const char *version, const char *plural);
const struct kind *kinds_find_kind(struct kinds *k, const char *group, const char *version, const char *kind);
/* By "GROUP/VERSION" or "VERSION" as objects carry it. */
const struct kind *kinds_find_object(struct kinds *k, const char *api_version, const char *kind);

/* The kinds at this moment, sorted by group and plural; kind_vec_done frees the array. */
void kinds_list(struct kinds *k, struct kind_vec *ret);
/* Grows with each change of the registry. */
uint64_t kinds_generation(struct kinds *k);

const struct kind_version *kind_version(const struct kind *kind, const char *version); /* NULL unless served */
const char *kind_storage_version(const struct kind *kind);
/* "kubevirt.io/v1", or "v1" for the core group; freed by the caller. version NULL: the preferred one. */
char *kind_api_version(const struct kind *kind, const char *version);
bool kind_has_verb(const struct kind *kind, const char *verb);
/* The key of an object in the store; freed by the caller. namespace is ignored for cluster-scoped kinds. */
char *kind_key(const struct kind *kind, const char *namespace, const char *name);

/* Sets the headline of an Invalid error from its causes: `VirtualMachine.kubevirt.io "a" is invalid: FIELD: MESSAGE`,
 * or
 * `[..., ...]` for several. Returns its negative errno, or 0 when err has no causes and no message. A headline in
 * the words of an admission webhook stays. */
int kind_invalid(const struct kind *kind, const char *name, struct gw_error *err);

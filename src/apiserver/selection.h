/* What a list, watch or deletecollection selects: keys by prefix, then objects by labels and fields. */
#pragma once

#include "api/kind.h"
#include "api/selector.h"

/* Says object by object whether the one who selects may see it. That of a watch also remembers what was shown, since
 * rights come and go between two events. From any thread. */
struct selection_guard {
    bool (*may_see)(struct selection_guard *g, const char *name);
    void (*note)(struct selection_guard *g, const char *key, bool shown);
    bool (*was_shown)(struct selection_guard *g, const char *key);
    void (*free)(struct selection_guard *g);
};

struct selection {
    struct selector *labels;
    struct field_selector *fields;
    char *prefix;                  /* of the keys */
    char *only;                    /* the one key that can match, or NULL */
    struct selection_guard *guard; /* NULL: everybody who may list sees everything */
};

/* Parses the selectors (NULL = everything) for kind in namespace (NULL = all, or cluster-scoped). BadRequest. */
int selection_parse(const struct kind *kind, const char *namespace, const char *labels, const char *fields,
                    struct selection *ret, struct gw_error *err);
void selection_done(struct selection *s);
#define _cleanup_selection_ __attribute__((cleanup(selection_done)))

/* Whether every object in the range of keys is selected. */
bool selection_is_everything(const struct selection *s);
bool selection_has_key(const struct selection *s, const char *key);
bool selection_has_object(const struct selection *s, yyjson_val *object);
/* The same for the stored bytes, which are parsed only if that is needed. */
bool selection_matches(const struct selection *s, const struct blob *stored);

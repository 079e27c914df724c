/* Small typed accessors for what all objects have: metadata and conditions. Readers take immutable values and return
 * pointers into them, or "" / NULL as said. Writers take a document whose root is the object and copy their texts. */
#pragma once

#include "base/json.h"

const char *meta_name(yyjson_val *object); /* "" when absent, as the next three */
const char *meta_namespace(yyjson_val *object);
const char *meta_uid(yyjson_val *object);
const char *meta_version(yyjson_val *object); /* resourceVersion */
int64_t meta_generation(yyjson_val *object);  /* 0 when absent */
int64_t meta_created(yyjson_val *object);     /* ms since the epoch, -1 when absent */
int64_t meta_deleted(yyjson_val *object);     /* deletionTimestamp in ms, -1 when absent */
static inline bool meta_deleting(yyjson_val *object)
{
    return json_str(object, "/metadata/deletionTimestamp") != NULL;
}
const char *meta_label(yyjson_val *object, const char *key);      /* NULL when absent */
const char *meta_annotation(yyjson_val *object, const char *key); /* NULL when absent */
bool meta_has_finalizer(yyjson_val *object, const char *finalizer);

/* The reference with controller: true, or NULL; and whether some reference has that uid. */
yyjson_val *meta_controller(yyjson_val *object);
bool meta_owned_by(yyjson_val *object, const char *uid);

void meta_set_label(yyjson_mut_doc *d, const char *key, const char *value);      /* value NULL removes */
void meta_set_annotation(yyjson_mut_doc *d, const char *key, const char *value); /* value NULL removes */
bool meta_add_finalizer(yyjson_mut_doc *d, const char *finalizer);               /* false if it was there */
bool meta_remove_finalizer(yyjson_mut_doc *d, const char *finalizer);            /* false if it was not there */
/* Adds owner (a whole object with apiVersion and kind) as owner reference; in place of one with the same uid. */
void meta_add_owner(yyjson_mut_doc *d, yyjson_val *owner, bool controller, bool block_deletion);

/* The condition of that type in status.conditions, or NULL; and whether its status is "True". */
yyjson_val *condition_find(yyjson_val *object, const char *type);
bool condition_true(yyjson_val *object, const char *type);
/* Sets a condition in status.conditions; lastTransitionTime changes with status only. now in ms. reason and message may
 * be NULL (then absent). True if something changed. */
bool condition_set(yyjson_mut_doc *d, const char *type, const char *status, const char *reason, const char *message,
                   int64_t now);
bool condition_remove(yyjson_mut_doc *d, const char *type);

/* Whether status.phase of a VMI, a migration or a pod is one of the two that are never left. */
bool is_final(yyjson_val *object);

/* A Node that an operator or a fencing hook declared dead: nothing runs there any more (docs/handover.md, section 6).
 * It counts as soon as the node is silent as well: an agent that still answers proves the declaration wrong. */
#define TAINT_DEAD "node.kubernetes.io/out-of-service"
bool node_is_dead(yyjson_val *node);

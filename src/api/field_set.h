/* Sets of fields of an object, in Kubernetes' FieldsV1 form as metadata.managedFields holds them: a tree of JSON
 * objects whose keys are the elements of paths.
 *
 *   "f:NAME"   a field, or a key of a map
 *   "k:{...}"  the item with these keys of a list that is a map (x-kubernetes-list-map-keys, sorted)
 *   "v:VALUE"  the item of a list that is a set
 *   "."        the place itself, if something below it is in the set as well
 *
 * An empty object is the place itself alone; at the root it is the empty set. Lists that are atomic, atomic maps and
 * scalars are owned as a whole, and so is what has more than FIELD_SET_WIDTH parts or lies FIELD_SET_DEPTH deep. Where
 * there is no schema, objects are maps and lists are atomic.
 *
 * Results belong to the document d; arguments of set operations must belong to it too. */
#pragma once

#include "api/schema.h"
#include "base/json.h"

#define FIELD_SET_SELF "."
#define FIELD_SET_WIDTH 1000 /* lookups are linear */
#define FIELD_SET_DEPTH 64   /* sets lie deeper in an object than what they name, and parsers have a limit */

/* The fields that value names: its leaves, the keys of its maps and the items of its lists. */
yyjson_mut_val *field_set_of(const struct schema *s, yyjson_val *value, yyjson_mut_doc *d);

/* What is new or different in `after`, and what it lacks of `before`; an empty object is the empty set. before may be
 * NULL: then all is new. */
struct field_changes {
    yyjson_mut_val *set, *removed;
};
struct field_changes field_set_compare(const struct schema *s, yyjson_val *before, yyjson_val *after,
                                       yyjson_mut_doc *d);

bool field_set_empty(yyjson_mut_val *set);
/* set becomes the union with other; set loses other (and all below a leaf of it); a new set of what both have. */
void field_set_add(yyjson_mut_doc *d, yyjson_mut_val *set, yyjson_mut_val *other);
void field_set_remove(yyjson_mut_val *set, yyjson_mut_val *other);
yyjson_mut_val *field_set_common(yyjson_mut_doc *d, yyjson_mut_val *a, yyjson_mut_val *b);

/* Whether the place itself is in the set that has this node for it. */
bool field_set_member(yyjson_mut_val *node);

/* Calls visit with the path of each member, as messages write it: `.spec.containers[name="a"].image`. */
void field_set_each(yyjson_mut_val *set, void (*visit)(void *data, const char *path), void *data);

/* --- For those who walk values together with sets --- */

/* Whether the parts that value may have are owned one by one; depth: of its place, 0 for the object itself. */
bool field_set_splits(const struct schema *s, yyjson_val *value, unsigned depth);
/* The element of an item of a list that is a map or a set. NULL: it lacks a key. The caller frees it. */
char *field_set_item(const struct schema *list, yyjson_val *item);
/* "f:NAME". The caller frees it. */
char *field_set_name(const char *name);

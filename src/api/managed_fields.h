/* Who set which fields of an object last: the entries of metadata.managedFields, as Kubernetes keeps them. Each entry
 * belongs to one manager, one operation (Apply or Update) and one subresource, and holds a set of fields (field_set.h).
 *
 * entries is always a JSON array that belongs to d; it is changed in place. Sets come without what the server alone
 * writes (managed_forget). */
#pragma once

#include "api/field_set.h"

struct managed_writer {
    const char *manager;
    const char *api_version; /* in which the fields are named */
    const char *subresource; /* NULL: none */
    const char *time;        /* of an entry that changes */
};

/* A copy of a list of entries; an empty list unless all of them are such as this module writes. */
yyjson_mut_val *managed_read(yyjson_mut_doc *d, yyjson_val *entries);
/* The list with one empty entry, by which clients ask to forget all managers. */
bool managed_is_reset(yyjson_val *entries);

/* Takes from a set what nobody manages: identity, and what the server counts and stamps. */
void managed_forget(yyjson_mut_val *set);

/* An update, or whatever is no apply: the writer now owns what it changed, everybody else no longer. True if an entry
 * changed. */
bool managed_update(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w,
                    const struct field_changes *changes);

/* An apply of a configuration that names the fields `named`. Conflict (with a cause FieldManagerConflict for each
 * field) if it changes what others own, unless force takes it from them. */
int managed_apply(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w, yyjson_mut_val *named,
                  const struct field_changes *changes, bool force, struct gw_error *err);

/* For the merge before an apply: what the writer applied last (NULL: nothing), and what all others own. */
yyjson_mut_val *managed_applied(yyjson_mut_val *entries, const struct managed_writer *w);
yyjson_mut_val *managed_by_others(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct managed_writer *w);

/* Everything that the object has so far counts as set by this manager, for an object whose managers nobody noted. */
void managed_begin(yyjson_mut_doc *d, yyjson_mut_val *entries, const struct schema *s, yyjson_val *object,
                   const char *api_version, const char *time);

/* Label and field selectors. */
#pragma once

#include "base/json.h"

struct selector;

/* "a=b,c!=d,e in (x,y),f notin (z),g,!h,n>1,m<2"; "" and NULL select everything. BadRequest with the fault. */
int selector_parse(const char *text, struct selector **ret, struct gw_error *err);

/* A metav1.LabelSelector {matchLabels, matchExpressions}. NULL selects nothing, {} everything, as Kubernetes has it. */
int selector_from_object(yyjson_val *label_selector, struct selector **ret, struct gw_error *err);

/* A node selector term's matchExpressions list (operators Gt and Lt too); an empty list selects nothing. */
int selector_from_expressions(yyjson_val *expressions, struct selector **ret, struct gw_error *err);

/* labels: the object at metadata.labels, or NULL. */
bool selector_matches(const struct selector *s, yyjson_val *labels);
bool selector_is_everything(const struct selector *s);
struct selector *selector_free(struct selector *s);
DEFINE_CLEANUP(struct selector *, selector_free)
#define _cleanup_selector_ _cleanup_(selector_freep)

struct field_selector;

/* "metadata.name=a,status.phase!=Running" (also "=="). A field outside `allowed` (NULL-terminated, may be NULL) and not
 * metadata.name or metadata.namespace is refused: `field label not supported: X`. */
int field_selector_parse(const char *text, const char *const *allowed, struct field_selector **ret,
                         struct gw_error *err);
/* Absent fields count as "". Booleans and integers compare by their text. */
bool field_selector_matches(const struct field_selector *s, yyjson_val *object);
bool field_selector_is_everything(const struct field_selector *s);
/* The one value that `field` must have, or NULL: lets a list by name become a get. */
const char *field_selector_exact(const struct field_selector *s, const char *field);
struct field_selector *field_selector_free(struct field_selector *s);
DEFINE_CLEANUP(struct field_selector *, field_selector_free)
#define _cleanup_field_selector_ _cleanup_(field_selector_freep)

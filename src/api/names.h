/* The rules for names, labels and annotations, with Kubernetes' messages. Each check returns NULL when the text is good
 * and otherwise the message (static), without field and value. */
#pragma once

#include <stddef.h>

#include "api/kind.h"

const char *name_fault_dns_label(const char *name);     /* RFC 1123 label */
const char *name_fault_dns_subdomain(const char *name); /* RFC 1123 subdomain */
const char *name_fault_dns_1035(const char *name);
const char *name_fault_path_segment(const char *name);
const char *name_fault(enum name_rule rule, const char *name);

const char *label_value_fault(const char *value);
const char *qualified_name_fault(const char *key); /* keys of labels and annotations, finalizers */

/* Adds a cause for each key and each value of a label map (NULL: there is none) that is not good. */
void labels_check(const char *field, yyjson_val *labels, struct gw_error *err);

/* Checks metadata: name by the kind's rule, namespace, labels, annotations (total size), finalizers, owner references.
 * Adds causes to err. */
void names_validate_metadata(const struct kind *kind, yyjson_val *object, struct gw_error *err);

/* base + 5 random characters, base shortened so that the result has at most 63. Freed by the caller. */
char *name_generate(const char *base);

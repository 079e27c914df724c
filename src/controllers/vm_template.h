/* Whether a VM's template still says what its running instance was made from. Pure.
 *
 * The instance carries a digest of the template that made it, because its own spec differs from the template by
 * defaults and by what was plugged in since. */
#pragma once

#include "base/json.h"

#define ANNOTATION_TEMPLATE "godwit.io/template"

#define TEMPLATE_DIGEST_MAX 17

/* The digest of a VM's spec.template.spec, without hot-pluggable volumes and their disks, which need no restart. The
 * order of keys does not count. ret holds TEMPLATE_DIGEST_MAX. */
char *template_digest(yyjson_val *vm, char *ret);

/* A field was changed that the guest gets with its next start only. False when it is not known what vmi was made from.
 */
bool template_needs_restart(yyjson_val *vm, yyjson_val *vmi);

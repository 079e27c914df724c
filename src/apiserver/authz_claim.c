/* A claim that is not shared is not taken from a VMI that uses it (api/volumes.h, ANNOTATION_USED_BY), not even by
 * controllers whose caches are late: what counts is the VMI as it is stored when the write is made. */
#include "api/meta.h"
#include "api/volumes.h"
#include "apiserver/authz.h"

bool authz_is_claim(const struct rest_target *target)
{
    return streq(target->group, "") && streq(target->resource, "persistentvolumeclaims");
}

int authz_check_claim(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                      yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(s->kinds, "kubevirt.io", NULL, "VirtualMachineInstance");
    _cleanup_free_ char *name = NULL, *why = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;
    const char *uid;

    if (str_same(meta_annotation(old, ANNOTATION_USED_BY), meta_annotation(object, ANNOTATION_USED_BY)) ||
        !claim_user(old, &name, &uid))
        return 0;
    int r = authz_read(s, target->facts, kind, meta_namespace(old), name, &vmi);
    if (r == 0 && !claim_is_in_use(old, yyjson_doc_get_root(vmi)))
        return 0;
    why = xasprintf("metadata.annotations[" ANNOTATION_USED_BY "]: virtual machine instance %s uses it", name);
    return rest_forbid(user, target, why, err);
}

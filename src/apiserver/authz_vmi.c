/* The fields of a VMI: ownership.h with what it needs to know of other objects. */
#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/ownership.h"
#include "pki/authority.h"

bool authz_is_vmi(const struct rest_target *target)
{
    return streq(target->group, "kubevirt.io") && streq(target->resource, "virtualmachineinstances");
}

static bool is_declared_dead(void *data, const char *node)
{
    struct rest_server *s = data;
    const struct kind *kind = kinds_find_kind(s->kinds, "", NULL, "Node");
    _cleanup_doc_ yyjson_doc *doc = NULL;

    return kind && rest_read(s, kind, NULL, node, &doc, NULL) == 0 && node_is_dead(yyjson_doc_get_root(doc));
}

int authz_check_vmi(struct rest_server *s, const char *node, const struct api_user *user,
                    const struct rest_target *target, yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    const struct ownership o = {
        .node = node,
        .pod_here = node && !json_str(old, "/status/nodeName") && authz_has_pod(s, node, old),
        .migration_trust = s->migration_authority ? pki_authority_now(s->migration_authority)->trust : NULL,
        .wall_ms = s->now(s->data),
        .is_dead = is_declared_dead,
        .data = s,
    };

    if (ownership_check(&o, old, object, &fault) < 0)
        return rest_forbid(user, target, gw_error_message(&fault), err);
    return 0;
}

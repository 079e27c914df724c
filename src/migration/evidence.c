#include "migration/evidence.h"

#include "api/meta.h"
#include "api/volumes.h"

bool evidence_side_is_gone(yyjson_val *node, yyjson_val *pod)
{
    if (!node)
        return false; /* removed, which says nothing of what runs there */
    return node_is_dead(node) || (pod ? is_final(pod) : condition_true(node, "Ready"));
}

bool evidence_disk_is_shared(yyjson_val *vmi, yyjson_val *(*find)(void *data, const char *claim), void *data)
{
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume) {
        const char *name = volume_claim(volume);
        yyjson_val *claim = name ? find(data, name) : NULL;

        if (name && (!claim || claim_is_shared(claim)))
            return true;
    }
    return false;
}

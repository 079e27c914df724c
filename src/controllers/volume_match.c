/* Whether a volume fits a claim. Pure: objects in, an answer out. */
#include "api/quantity.h"
#include "api/selector.h"
#include "base/str.h"
#include "controllers/claims.h"
#include "controllers/volume.h"
#include "scheduling/scheduling.h"

static bool modes_cover(yyjson_val *have, yyjson_val *want)
{
    yyjson_val *m;

    json_each(want, m)
        if (!json_find(have, "", yyjson_get_str(m)))
            return false;
    return true;
}

int64_t volume_size(yyjson_val *volume)
{
    return quantity_text_value(json_str(volume, "/spec/capacity/storage"), 0);
}

static bool selector_fits(yyjson_val *claim, yyjson_val *volume)
{
    yyjson_val *wanted = json_at(claim, "/spec/selector");
    _cleanup_selector_ struct selector *s = NULL;

    return !wanted ||
           (selector_from_object(wanted, &s, NULL) >= 0 && selector_matches(s, json_at(volume, "/metadata/labels")));
}

bool volume_refers_to(yyjson_val *volume, yyjson_val *claim)
{
    return streq(json_str_or(volume, "/spec/claimRef/namespace", ""), meta_namespace(claim)) &&
           streq(json_str_or(volume, "/spec/claimRef/name", ""), meta_name(claim));
}

bool volume_is_free_for(yyjson_val *volume, yyjson_val *claim)
{
    const char *uid = json_str_or(volume, "/spec/claimRef/uid", "");

    if (!*json_str_or(volume, "/spec/claimRef/name", ""))
        return true;
    return volume_refers_to(volume, claim) && (!*uid || streq(uid, meta_uid(claim)));
}

bool volume_fits(yyjson_val *claim, yyjson_val *volume, yyjson_val *node)
{
    yyjson_val *required = json_at(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");

    return !meta_deleting(volume) && volume_is_free_for(volume, claim) &&
           streq(json_str_or(volume, "/spec/storageClassName", ""), claim_class(claim)) &&
           streq(json_str_or(volume, "/spec/volumeMode", "Filesystem"),
                 json_str_or(claim, "/spec/volumeMode", "Filesystem")) &&
           modes_cover(json_at(volume, "/spec/accessModes"), json_at(claim, "/spec/accessModes")) &&
           volume_size(volume) >= quantity_text_value(json_str(claim, "/spec/resources/requests/storage"), 0) &&
           selector_fits(claim, volume) && (!node || !required || sched_node_terms_match(required, node));
}

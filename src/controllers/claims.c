#include "controllers/claims.h"

#include <string.h>

bool claim_is_bound(yyjson_val *claim)
{
    return streq(json_str_or(claim, "/status/phase", ""), "Bound") && *json_str_or(claim, "/spec/volumeName", "");
}

const char *claim_class(yyjson_val *claim)
{
    return json_str_or(claim, "/spec/storageClassName", "");
}

bool class_waits(yyjson_val *storage_class)
{
    return streq(json_str_or(storage_class, "/volumeBindingMode", "Immediate"), "WaitForFirstConsumer");
}

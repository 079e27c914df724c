#include "migration/epoch.h"

#include <assert.h>

#include "base/alloc.h"

static const char *const names[] = {
    [EPOCH_NONE] = "None",         [EPOCH_OPEN] = "Open",       [EPOCH_GRANTED] = "Granted",
    [EPOCH_RETURNED] = "Returned", [EPOCH_CLAIMED] = "Claimed", [EPOCH_CLOSED] = "Closed",
};
static_assert(ARRAY_SIZE(names) == EPOCH_STATE_MAX, "each state needs its name");

/* The latest step that was taken decides; a claim and a close exclude each other (the API server sees to it). */
static enum epoch_state state_of(yyjson_val *m)
{
    if (json_at(m, "/handover/claim"))
        return EPOCH_CLAIMED;
    if (json_bool(m, "/completed", false))
        return EPOCH_CLOSED;
    if (json_at(m, "/handover/returned"))
        return EPOCH_RETURNED;
    return json_at(m, "/handover/grant") ? EPOCH_GRANTED : EPOCH_OPEN;
}

void epoch_read(yyjson_val *vmi, struct epoch *ret)
{
    yyjson_val *m = json_at(vmi, "/status/migrationState");
    int64_t number = json_int(m, "/handover/epoch", 0);

    *ret = (struct epoch){
        .number = number,
        .state = number > 0 ? state_of(m) : EPOCH_NONE,
        .migration_uid = json_str(m, "/migrationUid"),
        .source_node = json_str(m, "/sourceNode"),
        .target_node = json_str(m, "/targetNode"),
        .source_pod = json_str(m, "/sourcePod"),
        .target_pod = json_str(m, "/targetPod"),
        .abort_requested = json_bool(m, "/abortRequested", false),
        .withdrawn = json_at(m, "/handover/withdraw") != NULL,
        .received = json_at(m, "/handover/received") != NULL,
    };
}

const char *epoch_state_string(enum epoch_state state)
{
    return names[state];
}

char *epoch_grant_text(const char *vmi_uid, const char *migration_uid, int64_t epoch, const char *target_node)
{
    return xasprintf("godwit-grant/1\n%s\n%s\n%lld\n%s\n", vmi_uid, migration_uid, (long long)epoch, target_node);
}

char *epoch_cert_name(const char *migration_uid, const char *side)
{
    return xasprintf("%s:%s", migration_uid, side);
}

char *epoch_dns_name(const char *migration_uid, const char *side)
{
    return xasprintf("%s.%s.migration.godwit.io", side, migration_uid);
}

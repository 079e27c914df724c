#include "apiserver/ownership_fields.h"

#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "migration/evidence.h"

#define OPEN (1 << EPOCH_OPEN)
#define GRANTED (1 << EPOCH_GRANTED)
#define RETURNED (1 << EPOCH_RETURNED)
#define CLAIMED (1 << EPOCH_CLAIMED)
#define ANY ((1 << EPOCH_STATE_MAX) - 1)
#define SETTLED (1 << EPOCH_NONE | CLAIMED | 1 << EPOCH_CLOSED)

/* --- What a row may demand besides --- */

/* A step of the hand-over: taken once, of this epoch. */
static bool is_step(const struct change *c, const char *name)
{
    _cleanup_free_ char *path = xasprintf("/status/migrationState/handover/%s", name);
    yyjson_val *step = json_at(c->object, path);

    return ownership_is_new(c, path) && json_int(step, "/epoch", 0) == c->epoch.number;
}

static bool grants(const struct change *c)
{
    return is_step(c, "grant") &&
           str_same(json_str(c->object, "/status/migrationState/handover/grant/node"), c->epoch.target_node);
}

/* False: not to be known, which never counts in favour of a write. */
static bool look(const struct change *c, const char *kind, const char *namespace, const char *name, yyjson_val **ret)
{
    return c->o->read && name && c->o->read(c->o->data, kind, namespace, name, ret) == 0;
}

static bool is_dead(const struct change *c, const char *name)
{
    yyjson_val *node = NULL;

    return look(c, "Node", NULL, name, &node) && node && node_is_dead(node);
}

static bool is_gone(const struct change *c, const char *node_name, const char *pod_name)
{
    yyjson_val *node = NULL, *pod = NULL;

    return look(c, "Node", NULL, node_name, &node) && look(c, "Pod", meta_namespace(c->old), pod_name, &pod) &&
           evidence_side_is_gone(node, pod);
}

static bool source_is_gone(const struct change *c)
{
    return is_gone(c, c->epoch.source_node, c->epoch.source_pod);
}

static yyjson_val *find_claim(void *data, const char *name)
{
    const struct change *c = data;
    yyjson_val *claim = NULL;

    return look(c, "PersistentVolumeClaim", meta_namespace(c->old), name, &claim) ? claim : NULL;
}

static bool grants_for_the_dead(const struct change *c)
{
    return grants(c) && c->epoch.received && is_dead(c, c->epoch.source_node) &&
           !evidence_disk_is_shared(c->object, find_claim, (void *)c);
}

static bool returns(const struct change *c)
{
    return is_step(c, "returned");
}

static bool returns_for_the_dead(const struct change *c)
{
    return returns(c) && is_dead(c, c->epoch.target_node);
}

static bool withdraws(const struct change *c)
{
    return ownership_is_new(c, "/status/migrationState/handover/withdraw");
}

static bool withdraws_for_the_dead(const struct change *c)
{
    return withdraws(c) && source_is_gone(c);
}

static bool receives(const struct change *c)
{
    return is_step(c, "received");
}

static bool claims(const struct change *c)
{
    return c->claims;
}

static bool fails(const struct change *c)
{
    return json_bool(c->object, "/status/migrationState/failed", false) &&
           !json_at(c->object, "/status/migrationState/handover/claim");
}

/* The source can neither go on nor close it itself, and the target never claims this epoch. */
static bool closes_for_the_dead(const struct change *c)
{
    return fails(c) && source_is_gone(c) &&
           (c->epoch.state == EPOCH_RETURNED || is_gone(c, c->epoch.target_node, c->epoch.target_pod));
}

/* Unless it is the claim's doing, the owner may only say again where the guest is. */
static bool names_own_node(const struct change *c)
{
    return str_same(json_str(c->object, "/status/nodeName"), c->o->node);
}

static bool labels_own_node(const struct change *c)
{
    return str_same(json_str(c->object, "/metadata/labels/kubevirt.io~1nodeName"), c->o->node);
}

static bool stays_alive(const struct change *c)
{
    return !is_final(c->object);
}

static bool has_no_node(const struct change *c)
{
    return !json_str(c->old, "/status/nodeName");
}

/* --- The table --- */

struct row {
    const char *path;
    unsigned who, states;
    bool (*also)(const struct change *c);
    const char *how; /* what `also` asks for, in words */
};

#define WITH_CLAIM TARGET, OPEN | GRANTED, claims, "with its claim"
#define WITH_FAILURE SOURCE, OPEN | RETURNED, fails, "with failed"
#define FOR_THE_DEAD \
    CONTROLLER, OPEN | RETURNED, closes_for_the_dead, \
        "with failed, once the source's node is declared dead or its pod is gone, and the target has returned or is " \
        "gone"

static const struct row rows[] = {
    {"", CONTROLLER, ANY, NULL, NULL},
    {"/metadata/labels/kubevirt.io~1nodeName", OWNER, ANY, labels_own_node, "with its own node"},
    {"/metadata/labels/kubevirt.io~1nodeName", WITH_CLAIM},
    {"/metadata/labels/kubevirt.io~1nodeName", CONTROLLER, ANY, NULL, NULL},
    {"/metadata/annotations/godwit.io~1cpu", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/metadata/annotations/godwit.io~1kernel-boot-digest", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/metadata/annotations/godwit.io~1hotplug-sockets", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/metadata/annotations/godwit.io~1guest-agent-channel", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/metadata/annotations/godwit.io~1unfreeze-at", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/status", OWNER | CONTROLLER, ANY, NULL, NULL},
    {"/status/phase", OWNER, SETTLED | RETURNED, NULL, NULL},
    {"/status/phase", OWNER, OPEN | GRANTED, stays_alive, "but for a final phase"},
    {"/status/phase", CONTROLLER, SETTLED, NULL, NULL},
    {"/status/phase", CONTROLLER, ANY, stays_alive, "but for a final phase"},
    {"/status/nodeName", OWNER, ANY, names_own_node, "with its own node"},
    {"/status/nodeName", WITH_CLAIM},
    {"/status/nodeName", CONTROLLER, ANY, has_no_node, "while there is none"},
    {"/status/evacuationNodeName", WITH_CLAIM},
    {"/status/evacuationNodeName", CONTROLLER, ANY, NULL, NULL},

    {MIGRATION, 0, 0, NULL, NULL},
    {MIGRATION "/abortRequested", CONTROLLER, OPEN, NULL, NULL},
    {MIGRATION "/targetNodeAddress", TARGET, OPEN, NULL, NULL},
    {MIGRATION "/targetDirectMigrationNodePorts", TARGET, OPEN, NULL, NULL},
    {MIGRATION "/targetNodeDomainDetected", TARGET, OPEN, NULL, NULL},
    {MIGRATION "/targetState/nodeAddress", TARGET, OPEN, NULL, NULL},
    {MIGRATION "/targetState/syncAddress", TARGET, OPEN, NULL, NULL},
    {MIGRATION "/startTimestamp", SOURCE, OPEN, NULL, NULL},
    {MIGRATION "/mode", SOURCE, OPEN, NULL, NULL},
    {MIGRATION "/abortStatus", SOURCE, OPEN | RETURNED, NULL, NULL},
    {MIGRATION "/progress", SOURCE, OPEN | GRANTED | CLAIMED, NULL, NULL},
    {MIGRATION "/completed", WITH_FAILURE},
    {MIGRATION "/completed", WITH_CLAIM},
    {MIGRATION "/completed", FOR_THE_DEAD},
    {MIGRATION "/failed", WITH_FAILURE},
    {MIGRATION "/failed", FOR_THE_DEAD},
    {MIGRATION "/failureReason", WITH_FAILURE},
    {MIGRATION "/failureReason", FOR_THE_DEAD},
    {MIGRATION "/endTimestamp", WITH_FAILURE},
    {MIGRATION "/endTimestamp", WITH_CLAIM},
    {MIGRATION "/endTimestamp", FOR_THE_DEAD},
    {MIGRATION "/targetNodeDomainReadyTimestamp", WITH_CLAIM},
    {HANDOVER "/withdraw", SOURCE, OPEN, withdraws, "once"},
    {HANDOVER "/withdraw", CONTROLLER, OPEN, withdraws_for_the_dead,
     "once, when the source's node is declared dead or its pod is gone"},
    {HANDOVER "/grant", SOURCE, OPEN, grants, "once, for this epoch and its target"},
    {HANDOVER "/grant", CONTROLLER, OPEN, grants_for_the_dead,
     "once the target has received the guest, the source's node is declared dead, and no disk is shared"},
    {HANDOVER "/received", TARGET, OPEN, receives, "once"},
    {HANDOVER "/claim", WITH_CLAIM},
    {HANDOVER "/returned", TARGET, OPEN | GRANTED, returns, "once, for this epoch"},
    {HANDOVER "/returned", CONTROLLER, OPEN | GRANTED, returns_for_the_dead, "once the target's node is declared dead"},
};

static const char *const writers[] = {"the agent of the source", "the agent of the target",
                                      "the agent of the node that runs the guest", "the controllers"};

/* Length of the row's path if it is the field's or one above it; -1 otherwise. */
static int covers(const struct row *row, const char *path)
{
    size_t len = strlen(row->path);

    return strncmp(row->path, path, len) == 0 && (path[len] == '\0' || path[len] == '/') ? (int)len : -1;
}

static bool allows(const struct change *c, const struct row *row)
{
    return (row->who & c->who) && (row->states & (1u << c->epoch.state)) && (!row->also || row->also(c));
}

/* --- Refusals --- */

/* "/metadata/labels/a~1b" -> "metadata.labels[a/b]", "/status/x" -> "status.x" */
static char *field_name(const char *path)
{
    _cleanup_str_ struct str s = {0};

    for (const char *p = path; *p; p++) {
        if (*p == '/')
            str_puts(&s, p > path ? "." : "");
        else if (p[0] == '~' && (p[1] == '0' || p[1] == '1'))
            str_putc(&s, *++p == '1' ? '/' : '~');
        else
            str_putc(&s, *p);
    }
    return xstrdup(str_text(&s));
}

static void say_row(struct str *s, const struct row *row)
{
    bool first = true;

    str_puts(s, s->len ? "; or by " : "by ");
    for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
        if (row->who & (1u << i)) {
            str_printf(s, "%s%s", first ? "" : " or ", writers[i]);
            first = false;
        }
    first = true;
    for (enum epoch_state e = EPOCH_NONE; row->states != ANY && e < EPOCH_STATE_MAX; e++)
        if (row->states & (1u << e)) {
            str_printf(s, "%s%s", first ? " while the epoch is " : " or ", epoch_state_string(e));
            first = false;
        }
    if (row->how)
        str_printf(s, ", %s", row->how);
}

static int refuse(const struct change *c, const char *path, int len, struct gw_error *err)
{
    _cleanup_free_ char *field = field_name(path);
    _cleanup_str_ struct str s = {0};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].who && covers(&rows[i], path) == len && !streq(rows[i].path, ""))
            say_row(&s, &rows[i]);
    return gw_error_set(err, GW_FORBIDDEN, "%s may be written %s; epoch %lld is %s%s%s", field,
                        s.len ? str_text(&s) : "neither by agents nor, but at a hand-off, by the controllers",
                        (long long)c->epoch.number, epoch_state_string(c->epoch.state),
                        c->bad_claim ? "; the claim is not good: " : "", c->bad_claim ? c->bad_claim : "");
}

int ownership_check_field(const struct change *c, const char *path, struct gw_error *err)
{
    int longest = -1;
    bool allowed = false;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int len = covers(&rows[i], path);
        if (len > longest) {
            longest = len;
            allowed = false;
        }
        if (len >= 0 && len == longest)
            allowed = allowed || allows(c, &rows[i]);
    }
    return allowed ? 0 : refuse(c, path, longest, err);
}

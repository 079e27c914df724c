/* Theory of operation. Old and new object are walked together; each field in which they differ is looked up in one
 * table by the longest path that is a prefix of it. Its rows say who may write it in which state of the epoch, as the
 * OLD object shows both: nobody can make himself the owner and write as such in one go. What no row allows is refused;
 * a new field is therefore closed to agents until somebody adds a row.
 *
 * Two writes are judged as a whole, because their fields only make sense together: the claim (with nodeName and the
 * node's label), and the controllers' hand-off, which empties migrationState and begins the next epoch.
 *
 * The table is in ownership_fields.c. */
#include "apiserver/ownership.h"

#include <string.h>

#include "apiserver/ownership_fields.h"
#include "base/alloc.h"
#include "base/str.h"
#include "pki/pki.h"

/* --- The walk --- */

static bool is_counter(const char *path)
{
    return streq(path, "/metadata/resourceVersion") || streq(path, "/metadata/generation");
}

static int walk(const struct change *c, const char *path, yyjson_val *a, yyjson_val *b, struct gw_error *err);

/* The keys of `keys`; those that `skip` has too are left out. */
static int walk_keys(const struct change *c, const char *path, yyjson_val *a, yyjson_val *b, yyjson_val *keys,
                     yyjson_val *skip, struct gw_error *err)
{
    yyjson_val *key, *value;
    int r = 0;

    json_each_member(keys, key, value) {
        const char *name = yyjson_get_str(key);
        if (skip && yyjson_obj_get(skip, name))
            continue;
        _cleanup_free_ char *below = json_path(path, name);
        r = walk(c, below, yyjson_obj_get(a, name), yyjson_obj_get(b, name), err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int walk(const struct change *c, const char *path, yyjson_val *a, yyjson_val *b, struct gw_error *err)
{
    bool objects = (yyjson_is_obj(a) || !a) && (yyjson_is_obj(b) || !b);
    size_t below = yyjson_obj_size(a) + yyjson_obj_size(b);

    if ((a && b && json_equal(a, b)) || is_counter(path))
        return 0;
    if (!objects || below == 0)
        return ownership_check_field(c, path, err);
    int r = walk_keys(c, path, a, b, a, NULL, err);
    return r < 0 ? r : walk_keys(c, path, a, b, b, a, err);
}

/* --- The claim --- */

/* The source's signature, by the certificate of this very migration: stands for a grant that could not be recorded. */
static const char *check_proof(const struct change *c, yyjson_val *proof)
{
    const char *cert = json_str_or(proof, "/certificate", ""), *signature = json_str_or(proof, "/signature", "");
    const struct epoch *e = &c->epoch;
    _cleanup_pki_info_ struct pki_info info = {0};

    if (!proof || !e->migration_uid || !e->target_node)
        return "no grant is recorded, and it brings no proof of one";
    if (!c->o->migration_trust ||
        pki_trust_verify_pem(c->o->migration_trust, cert, PKI_CLIENT, c->o->wall_ms, &info, NULL) < 0)
        return "its proof has no valid certificate of the migration authority";
    _cleanup_free_ char *cn = epoch_cert_name(e->migration_uid, "source");
    if (!streq(info.cn, cn))
        return "the certificate of its proof is not that of this migration's source";
    _cleanup_free_ char *text =
        epoch_grant_text(json_str_or(c->old, "/metadata/uid", ""), e->migration_uid, e->number, e->target_node);
    if (pki_check_signature(cert, text, strlen(text), signature, NULL) < 0)
        return "the signature of its proof is not over this epoch's grant";
    return NULL;
}

static const char *check_claim(const struct change *c)
{
    yyjson_val *claim = json_at(c->object, HANDOVER "/claim");
    const char *target = c->epoch.target_node;

    if (json_int(claim, "/epoch", 0) != c->epoch.number || !str_same(json_str(claim, "/node"), target))
        return "it names another epoch or node";
    if (!str_same(json_str(c->object, "/status/nodeName"), target))
        return "status.nodeName must become the target's node with it";
    if (!str_same(json_str(c->object, "/metadata/labels/kubevirt.io~1nodeName"), target))
        return "label kubevirt.io/nodeName must become the target's node with it";
    if (!json_bool(c->object, MIGRATION "/completed", false) || json_bool(c->object, MIGRATION "/failed", false))
        return "completed, and not failed, belongs to it";
    return c->epoch.state == EPOCH_GRANTED ? NULL : check_proof(c, json_at(claim, "/proof"));
}

/* --- The hand-off --- */

static int check_hand_off(const struct change *c, const struct epoch *next, struct gw_error *err)
{
    const char *owner = json_str(c->old, "/status/nodeName");
    const char *why = NULL;

    if (next->number != c->epoch.number + 1)
        why = "it rises by one";
    else if (!epoch_settled(c->epoch.state))
        why = "the one before must be settled first";
    else if (next->state != EPOCH_OPEN || next->withdrawn || next->received || next->abort_requested)
        why = "it begins Open, without steps of an earlier one";
    else if (!next->migration_uid || !next->source_node || !next->target_node ||
             str_same(next->source_node, next->target_node))
        why = "it names a migration and two nodes";
    else if (!next->source_pod || !next->target_pod)
        why = "it names the pods of both sides";
    else if (!str_same(next->source_node, owner))
        why = "its source is the node that owns the guest, status.nodeName";
    return why ? gw_error_set(
                     err, GW_FORBIDDEN, "status.migrationState.handover.epoch may not go from %lld (%s) to %lld: %s",
                     (long long)c->epoch.number, epoch_state_string(c->epoch.state), (long long)next->number, why)
               : 0;
}

/* migrationState as a whole is the hand-off's; the rest is looked at as ever. */
static int check_controllers(const struct change *c, struct gw_error *err)
{
    yyjson_val *was = json_at(c->old, MIGRATION), *is = json_at(c->object, MIGRATION);
    struct epoch next;

    epoch_read(c->object, &next);
    if (next.number == c->epoch.number)
        return was == NULL && is == NULL ? 0 : walk(c, MIGRATION, was, is, err);
    return check_hand_off(c, &next, err);
}

/* --- All together --- */

static unsigned who_is(const struct ownership *o, yyjson_val *old, const struct epoch *e)
{
    const char *owner = json_str(old, "/status/nodeName");

    if (!o->node)
        return CONTROLLER;
    return (str_same(o->node, e->source_node) ? SOURCE : 0u) | (str_same(o->node, e->target_node) ? TARGET : 0u) |
           ((owner ? streq(owner, o->node) : o->pod_here) ? OWNER : 0u);
}

int ownership_check(const struct ownership *o, yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    static const char *const bound[] = {"/status/nodeName", "/status/phase"}; /* the controllers, besides */
    struct change c = {.o = o, .old = old, .object = object};

    epoch_read(old, &c.epoch);
    c.who = who_is(o, old, &c.epoch);
    if (ownership_is_new(&c, HANDOVER "/claim") && (c.who & TARGET) &&
        (c.epoch.state == EPOCH_OPEN || c.epoch.state == EPOCH_GRANTED)) {
        c.bad_claim = check_claim(&c);
        c.claims = c.bad_claim == NULL;
    }
    if (c.who != CONTROLLER)
        return walk(&c, "", old, object, err);

    int r = check_controllers(&c, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(bound); i++)
        if (!json_equal(json_at(old, bound[i]), json_at(object, bound[i])))
            r = ownership_check_field(&c, bound[i], err);
    return r;
}

/* Both sides of a migration, by the decisions of the real agents. */
#include "fleet_internal.h"

#include "base/alloc.h"
#include "base/str.h"

#define STATE "/status/migrationState"

/* --- the source --- */

static struct member *target_of(struct member *m, const struct epoch *e)
{
    _cleanup_val_vec_ struct val_vec pods = {0};

    informer_select(m->f->pods, INDEX_OWNER, m->vmi_uid, &pods);
    VEC_EACH(&pods, pod)
        if (str_same(meta_name(*pod), e->target_pod))
            return map_get(m->f->members, meta_uid(*pod));
    return NULL;
}

/* The end of a copy, one way or the other. */
static void end_copy(struct member *m, const struct epoch *e)
{
    struct member *to = target_of(m, e);
    bool listens = to && to->alive && to->waiting == WAITING_LISTENING && to->epoch == e->number;

    if (listens && fleet_chance(m->f, m->f->cfg.target_dies)) {
        member_kill_qemu(to);
        listens = false;
    }
    if (fleet_chance(m->f, m->f->cfg.source_dies)) {
        m->f->lost++;
        member_kill_qemu(m);
        return;
    }
    if (!listens || fleet_chance(m->f, m->f->cfg.copy_fails)) {
        m->copy = COPY_FAILED;
        return;
    }
    m->copy = COPY_COMPLETED;
    member_set_runs(m, false);
    to->waiting = WAITING_COMPLETE;
    to->complete_since = env_now(m->f->env);
    member_kick(to, fleet_between(m->f, 1, 50));
}

static void send_grant(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    struct member *to = target_of(m, e);

    if (to && to->epoch == e->number && fleet_chance(m->f, 500)) { /* the direct way */
        to->direct = true;
        member_kick(to, fleet_between(m->f, 1, 50));
    }
    if (e->state == EPOCH_OPEN)
        member_patch_state(m, vmi, "{\"handover\":{\"grant\":{\"epoch\":%lld,\"by\":\"Source\",\"node\":\"%s\"}},\"progress\":{\"percent\":100,"
                    "\"totalTimeMs\":1000,\"downtimeMs\":30}}", (long long)e->number, e->target_node);
    else
        member_kick(m, 500);
}

static void source_over(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    if (m->alive || m->end)
        return;
    if (e->state == EPOCH_CLAIMED)
        member_finish(m, "Succeeded");
    else if (!streq(json_str_or(vmi, "/status/phase", ""), "Failed"))
        member_end_vmi(m, vmi, "Failed");
    else
        member_finish(m, "Failed");
}

/* False if there is nothing to do for this epoch. */
static bool act_as_source(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    yyjson_val *state = json_at(vmi, STATE);
    struct source_view v = {
        .note = m->note, .epoch = e->state, .copy = m->copy, .qemu_alive = m->alive, .guest_runs = member_runs(m),
        .target_ready = json_at(state, "/targetNodeAddress") != NULL, .credentials = m->credentials,
        .start_recorded = json_at(state, "/startTimestamp") != NULL, .figures_recorded = json_at(state, "/progress/totalTimeMs") != NULL,
        .close_recorded = e->state == EPOCH_CLOSED, .abort_requested = e->abort_requested, .withdrawn = e->withdrawn,
        .given_up = m->given_up,
    };

    if (m->copy == COPY_ACTIVE && env_now(m->f->env) >= m->copy_end) {
        end_copy(m, e);
        member_kick(m, 1);
        return true;
    }
    switch (source_next(&v)) {
    case SOURCE_NOTE_OPEN:
        m->note = NOTE_OPEN;
        break;
    case SOURCE_GET_CREDENTIALS:
        m->credentials = true;
        break;
    case SOURCE_RECORD_START:
        member_patch_state(m, vmi, "{\"startTimestamp\":\"2025-12-01T00:00:00Z\",\"mode\":\"PreCopy\"}");
        return true;
    case SOURCE_COPY_MEMORY:
        m->copy = COPY_ACTIVE;
        m->copy_end = env_now(m->f->env) + fleet_between(m->f, m->f->cfg.copy_ms[0], m->f->cfg.copy_ms[1]);
        member_kick(m, m->copy_end - env_now(m->f->env));
        return true;
    case SOURCE_CANCEL:
        m->copy = COPY_FAILED;
        break;
    case SOURCE_NOTE_GRANTED:
        m->note = NOTE_GRANTED;
        break;
    case SOURCE_SEND_GRANT:
        send_grant(m, vmi, e);
        return true;
    case SOURCE_NOTE_CLOSED:
        m->note = NOTE_CLOSED;
        break;
    case SOURCE_TAKE_BACK:
        member_set_runs(m, true);
        break;
    case SOURCE_RECORD_CLOSE:
        member_patch_state(m, vmi, "{\"completed\":true,\"failed\":true,\"failureReason\":\"the copy failed\",\"endTimestamp\":"
                    "\"2025-12-01T00:00:00Z\"}");
        return true;
    case SOURCE_REQUEST_RETURN:
        member_patch_state(m, vmi, "{\"handover\":{\"withdraw\":{\"by\":\"Source\"}}}");
        return true;
    case SOURCE_RECORD_FIGURES:
        member_patch_state(m, vmi, "{\"progress\":{\"percent\":100,\"totalTimeMs\":1000,\"downtimeMs\":30}}");
        return true;
    case SOURCE_QUIT:
        member_kill_qemu(m);
        break;
    case SOURCE_DONE:
        source_over(m, vmi, e);
        return !m->alive;
    default:
        return true;
    }
    member_kick(m, fleet_between(m->f, 1, 20));
    return true;
}

/* --- the target --- */

static bool act_as_target(struct member *m, yyjson_val *vmi, yyjson_val *pod, const struct epoch *e)
{
    yyjson_val *state = json_at(vmi, STATE);
    struct target_view v = {
        .note = m->note, .epoch = e->state, .qemu = member_runs(m) ? WAITING_RUNS : m->waiting,
        .direct_grant = m->direct || m->proof, .credentials = m->credentials,
        .published = json_at(state, "/targetNodeAddress") != NULL, .withdrawn = e->withdrawn || meta_deleting(pod),
        .received_told = e->received, .cont_sent = m->cont_sent,
        .complete_ms = m->waiting == WAITING_COMPLETE ? env_now(m->f->env) - m->complete_since : -1,
    };

    switch (target_next(&v)) {
    case TARGET_NOTE_PREPARED:
        m->note = NOTE_PREPARED;
        break;
    case TARGET_GET_CREDENTIALS:
        m->credentials = true;
        break;
    case TARGET_LISTEN:
        m->waiting = WAITING_LISTENING;
        break;
    case TARGET_PUBLISH:
        member_patch_state(m, vmi, "{\"targetNodeAddress\":\"10.0.0.9\",\"targetDirectMigrationNodePorts\":{\"49152\":49152},"
                    "\"targetNodeDomainDetected\":true}");
        return true;
    case TARGET_NOTE_CLAIMED:
        m->note = NOTE_CLAIMED;
        m->proof = m->direct;
        m->cont_sent = false;
        break;
    case TARGET_RUN:
        member_set_runs(m, true);
        m->cont_sent = true;
        m->waiting = WAITING_RUNS;
        break;
    case TARGET_RECORD_CLAIM: /* nodeName lies beside migrationState */
        member_patch_state(m, vmi, "{\"handover\":{\"claim\":{\"epoch\":%lld,\"node\":\"%s\"}},\"completed\":true,\"endTimestamp\":"
                    "\"2025-12-01T00:00:00Z\"},\"nodeName\":\"%s\",\"evacuationNodeName\":null", (long long)e->number, e->target_node,
                    e->target_node);
        return true;
    case TARGET_TELL_RECEIVED:
        member_patch_state(m, vmi, "{\"handover\":{\"received\":{\"epoch\":%lld}}}", (long long)e->number);
        return true;
    case TARGET_NOTE_DESTROYED:
        m->note = NOTE_DESTROYED;
        break;
    case TARGET_DESTROY:
        member_kill_qemu(m);
        break;
    case TARGET_RETURN:
        member_patch_state(m, vmi, "{\"handover\":{\"returned\":{\"epoch\":%lld}}}", (long long)e->number);
        return true;
    case TARGET_DONE:
        if (m->note != NOTE_CLAIMED && !m->end)
            member_finish(m, "Failed");
        return m->note != NOTE_CLAIMED;
    default:
        member_kick(m, 500); /* the two seconds after which a complete target speaks up */
        return true;
    }
    member_kick(m, fleet_between(m->f, 1, 20));
    return true;
}

/* --- which side --- */

static void begin_epoch(struct member *m, const struct epoch *e)
{
    m->epoch = e->number;
    m->note = NOTE_NONE;
    m->credentials = m->proof = m->direct = m->cont_sent = m->given_up = false;
    m->copy = COPY_NONE;
}

bool member_migrate(struct member *m, yyjson_val *vmi, yyjson_val *pod)
{
    struct epoch e;

    epoch_read(vmi, &e);
    bool source = e.number && e.source_pod && streq(e.source_pod, m->name);
    bool target = e.number && e.target_pod && streq(e.target_pod, m->name);
    if ((!source && !target) || (epoch_settled(e.state) && m->epoch != e.number))
        return false;
    if (m->epoch != e.number)
        begin_epoch(m, &e);
    if (source && meta_deleting(pod) && !epoch_settled(e.state))
        m->given_up = true;
    return source ? act_as_source(m, vmi, &e) : act_as_target(m, vmi, pod, &e);
}

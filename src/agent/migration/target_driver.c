/* The target's acts. Which comes when is decided in migration/target.c; here is how each is done. */
#include <string.h>

#include "agent/migration/direct.h"
#include "agent/migration/mover.h"
#include "agent/network/pod_network.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "client/events.h"

static enum waiting_state waiting_state(const struct mover *m)
{
    if (!mover_qemu_alive(m))
        return WAITING_DEAD;
    if (m->run_state && streq(m->run_state, "running"))
        return WAITING_RUNS;
    if (m->copy.state == COPY_COMPLETED)
        return m->cont_sent && m->note.note == NOTE_CLAIMED && mover_paused_by_user(m) ? WAITING_RUNS
                                                                                       : WAITING_COMPLETE;
    return m->copy.state == COPY_NONE && !m->copy_started ? WAITING_IDLE : WAITING_LISTENING;
}

static struct target_view see(struct mover *m)
{
    yyjson_val *state = mover_state(m);
    enum waiting_state qemu = waiting_state(m);
    int64_t now = env_now(m->services->agent->env);

    m->complete_since = qemu != WAITING_COMPLETE ? 0 : m->complete_since ? m->complete_since : now;
    return (struct target_view){
        .note = m->note.note,
        .epoch = m->epoch.state,
        .qemu = qemu,
        .direct_grant = m->direct_proof || m->note.proof,
        .credentials = m->has_credentials,
        .published = json_str(state, "/targetNodeAddress") && json_at(state, "/targetDirectMigrationNodePorts"),
        .withdrawn = m->epoch.withdrawn || m->stop_wanted || m->given_up,
        .received_told = m->epoch.received,
        .cont_sent = m->cont_sent,
        .complete_ms = m->complete_since ? now - m->complete_since : -1,
    };
}

/* --- preparing --- */

/* A device that one side lacks would break the guest's state on its way, or the guest after it. */
static void note_prepared(struct mover *m)
{
    _cleanup_free_ char *why = NULL;

    if (!disks_are_those_of(yyjson_doc_get_root(m->pod->vmi), &m->pod->disks, &why)) {
        m->given_up = true;
        mover_fail(m, why);
        mover_kick(m);
        return;
    }
    if (mover_note(m, NOTE_PREPARED, NULL, NULL) == 0)
        mover_kick(m);
}

static void listen_for_source(struct mover *m)
{
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);
    const char *address = m->pod->network->pod_address;

    script_try(s, "nbd-server-stop", NULL); /* of an agent that was killed here */
    if (mirror_count(&m->pod->disks))
        mirror_export(s, &names, &m->pod->disks, address, POD_NETWORK_BLOCK_PORT);
    copy_listen(s, &names, address, POD_NETWORK_MIGRATION_PORT);
    m->copy_started = true;
    mover_run(m, s);
}

static void publish(struct mover *m)
{
    yyjson_mut_doc *patch = mover_patch(m);
    struct agent *a = m->services->agent;
    const char *address = m->pod->network->pod_address;
    int port = endpoint_port(a->endpoint);
    _cleanup_free_ char *sync = xasprintf("%s:%d", a->config.address, port);

    json_set_str(patch, "/status/migrationState/targetNodeAddress", address);
    json_set_int(patch, "/status/migrationState/targetDirectMigrationNodePorts/49152", POD_NETWORK_MIGRATION_PORT);
    if (mirror_count(&m->pod->disks))
        json_set_int(patch, "/status/migrationState/targetDirectMigrationNodePorts/49153", POD_NETWORK_BLOCK_PORT);
    json_set_bool(patch, "/status/migrationState/targetNodeDomainDetected", true);
    json_set_str(patch, "/status/migrationState/targetState/nodeAddress", address);
    if (port)
        json_set_str(patch, "/status/migrationState/targetState/syncAddress", sync);
    pod_event(m->pod, EVENT_NORMAL, "PreparingTarget", "Migration Target is listening at %s, on ports: %d,%d", address,
              POD_NETWORK_MIGRATION_PORT, POD_NETWORK_BLOCK_PORT);
    mover_send(m, patch);
}

/* --- taking over --- */

/* A QEMU that is killed keeps its sockets until its memory is freed, which may take seconds, and looks alive meanwhile.
 * What was sent to it cannot be taken back; so it must answer once behind the claim, before `cont` is sent: if it does
 * not, it never ran, and the guest goes back to the source. */
static void note_claimed(struct mover *m)
{
    const char *proof = m->epoch.state == EPOCH_GRANTED ? NULL : m->direct_proof;

    if (mover_note(m, NOTE_CLAIMED, NULL, proof) < 0)
        return;
    m->cont_sent = false;
    m->observed = false;
    mover_kick(m);
}

/* The exports must let go of the disks before the guest writes to them; QEMU does both in order. */
static void run(struct mover *m)
{
    struct script *s = script_new(m->pod->qmp);

    if (!m->nbd_stopped)
        script_try(s, "nbd-server-stop", NULL);
    if (str_same(m->run_state, "shutdown"))
        script_add(s, "system_reset", NULL); /* it had shut down for a reboot (agent/guest/reboot.c) */
    if (!mover_paused_by_user(m))
        script_add(s, "cont", NULL);
    m->cont_sent = true;
    m->nbd_stopped = true;
    mover_run(m, s);
    mover_route(m);
}

static void record_claim(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_mut_doc *patch = mover_patch(m);
    _cleanup_doc_ yyjson_doc *proof = NULL;
    const char *node = m->services->agent->config.node;

    if (!m->pod->owner && pod_set_owner(m->pod, true, &err) < 0)
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
    mover_now(m, now);
    json_set_int(patch, "/status/migrationState/handover/claim/epoch", m->epoch.number);
    json_set_str(patch, "/status/migrationState/handover/claim/node", node);
    json_set_str(patch, "/status/migrationState/handover/claim/time", now);
    if (m->note.proof && json_parse(m->note.proof, strlen(m->note.proof), &proof, NULL) == 0)
        json_set(patch, "/status/migrationState/handover/claim/proof",
                 yyjson_val_mut_copy(patch, yyjson_doc_get_root(proof)));
    json_set_bool(patch, "/status/migrationState/completed", true);
    json_set_str(patch, "/status/migrationState/targetNodeDomainReadyTimestamp", now);
    json_set_str(patch, "/status/migrationState/endTimestamp", now);
    json_set_str(patch, "/status/nodeName", node);
    json_set(patch, "/status/evacuationNodeName", yyjson_mut_null(patch));
    json_set_str(patch, "/metadata/labels/kubevirt.io~1nodeName", node);
    pod_event(m->pod, EVENT_NORMAL, "Migrated", "The VirtualMachineInstance migrated to node %s.", node);
    mover_send(m, patch);
}

static void tell_received(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_int(patch, "/status/migrationState/handover/received/epoch", m->epoch.number);
    json_set_str(patch, "/status/migrationState/handover/received/time", mover_now(m, now));
    mover_send(m, patch);
}

/* --- giving up --- */

static const char *why_destroyed(const struct mover *m)
{
    if (!mover_qemu_alive(m))
        return m->pod->exit.message ? m->pod->exit.message : "the target's QEMU ended";
    if (m->failure)
        return m->failure;
    return m->epoch.withdrawn ? "asked to withdraw"
           : m->stop_wanted   ? "the target pod is being deleted"
                              : "the migration failed";
}

static void note_destroyed(struct mover *m)
{
    if (mover_note(m, NOTE_DESTROYED, why_destroyed(m), NULL) == 0)
        mover_kick(m);
}

static void destroy(struct mover *m)
{
    if (m->pod->step < POD_STOPPING)
        pod_quit(m->pod);
}

static void give_back(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_int(patch, "/status/migrationState/handover/returned/epoch", m->epoch.number);
    json_set_str(patch, "/status/migrationState/handover/returned/node", m->services->agent->config.node);
    json_set_str(patch, "/status/migrationState/handover/returned/time", mover_now(m, now));
    json_set_str(patch, "/status/migrationState/handover/returned/reason", m->note.reason ? m->note.reason : "");
    mover_send(m, patch);
}

/* Settled. The pod that took over lives on under the core; one that did not has ended. */
static void settled(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool ours = m->note.note == NOTE_CLAIMED;

    if (ours && m->route_failed)
        return; /* the next tick tries again */
    env_timer_cancel(m->services->agent->env, &m->tick);
    fs_remove_tree(m->tls_dir, NULL);
    if (ours && !m->pod->owner && pod_set_owner(m->pod, true, &err) < 0)
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
    if (ours && m->stop_wanted && mover_qemu_alive(m)) { /* of the guest that had already been granted to us */
        m->stop_wanted = false;
        pod_stop(m->pod, -1);
    }
    if (m->finished || mover_qemu_alive(m))
        return;
    m->finished = true;
    if (ours)
        pod_finish(m->pod, str_same(m->pod->exit.reason, "guest-shutdown"), m->pod->exit.reason, m->pod->exit.message);
    else
        pod_finish(m->pod, false, "MigrationFailed", m->note.reason ? m->note.reason : m->pod->exit.message);
}

static void act(struct mover *m)
{
    static void (*const acts[TARGET_ACTION_MAX])(struct mover *) = {
        [TARGET_NOTE_PREPARED] = note_prepared,
        [TARGET_GET_CREDENTIALS] = mover_get_credentials,
        [TARGET_LISTEN] = listen_for_source,
        [TARGET_PUBLISH] = publish,
        [TARGET_NOTE_CLAIMED] = note_claimed,
        [TARGET_RUN] = run,
        [TARGET_RECORD_CLAIM] = record_claim,
        [TARGET_TELL_RECEIVED] = tell_received,
        [TARGET_NOTE_DESTROYED] = note_destroyed,
        [TARGET_DESTROY] = destroy,
        [TARGET_RETURN] = give_back,
        [TARGET_DONE] = settled,
    };
    struct target_view view = see(m);
    enum target_action action = target_next(&view);

    log_debug("%s/%s: target: %s", m->pod->ns, m->pod->vmi_name, target_action_string(action));

    if (acts[action])
        acts[action](m);
}

const struct side_driver target_driver = {.act = act};

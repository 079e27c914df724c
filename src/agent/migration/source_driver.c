/* The source: looks, decides (migration/source.c), acts. The acts are in source_copy.c and source_handover.c. */
#include "agent/migration/mover.h"
#include "agent/migration/source_acts.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

static struct source_view see(const struct mover *m)
{
    yyjson_val *state = mover_state(m);

    return (struct source_view){
        .note = m->note.note,
        .epoch = m->epoch.state,
        .copy = source_copy_state(m),
        .disks = m->disks,
        .disks_behind = m->brake.behind,
        .qemu_alive = mover_qemu_alive(m),
        .guest_runs = source_guest_runs(m),
        .target_ready = json_str(state, "/targetNodeAddress") && json_at(state, "/targetDirectMigrationNodePorts"),
        .credentials = m->has_credentials,
        .start_recorded = json_str(state, "/startTimestamp") != NULL,
        .figures_recorded = m->figures_told || json_at(state, "/progress/totalTimeMs"),
        .close_recorded = m->epoch.state == EPOCH_CLOSED,
        .abort_requested = m->epoch.abort_requested,
        .withdrawn = m->epoch.withdrawn,
        .given_up = m->given_up,
    };
}

static void note_open(struct mover *m)
{
    if (mover_note(m, NOTE_OPEN, NULL, NULL) == 0)
        mover_kick(m);
}

/* Settled. A pod whose QEMU ended meanwhile, or that was asked to stop, gets what it waited for. */
static void settled(struct mover *m)
{
    bool moved = m->epoch.state == EPOCH_CLAIMED;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    env_timer_cancel(m->services->agent->env, &m->tick);
    fs_remove_tree(m->tls_dir, NULL);
    if (m->finished)
        return;
    if (moved && m->pod->owner && pod_set_owner(m->pod, false, &err) < 0)
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
    if (!mover_qemu_alive(m)) {
        bool good = moved || str_same(m->pod->exit.reason, "guest-shutdown");
        m->finished = true;
        pod_finish(m->pod, good, moved ? "Migrated" : m->pod->exit.reason,
                   moved ? "the guest runs on another node" : m->pod->exit.message);
    } else if (m->stop_wanted) {
        m->finished = true;
        m->stop_wanted = false;
        pod_stop(m->pod, -1);
    }
}

static void act(struct mover *m)
{
    static void (*const acts[SOURCE_ACTION_MAX])(struct mover *) = {
        [SOURCE_NOTE_OPEN] = note_open,
        [SOURCE_GET_CREDENTIALS] = mover_get_credentials,
        [SOURCE_RECORD_START] = source_record_start,
        [SOURCE_MIRROR_DISKS] = source_mirror_disks,
        [SOURCE_COPY_MEMORY] = source_copy_memory,
        [SOURCE_DETACH_DISKS] = source_detach_disks,
        [SOURCE_CONTINUE] = source_continue_copy,
        [SOURCE_CANCEL] = source_cancel,
        [SOURCE_DROP_DISKS] = source_drop_disks,
        [SOURCE_NOTE_GRANTED] = source_note_granted,
        [SOURCE_SEND_GRANT] = source_send_grant,
        [SOURCE_NOTE_CLOSED] = source_note_closed,
        [SOURCE_TAKE_BACK] = source_take_back,
        [SOURCE_RECORD_CLOSE] = source_record_close,
        [SOURCE_REQUEST_RETURN] = source_request_return,
        [SOURCE_RECORD_FIGURES] = source_record_figures,
        [SOURCE_QUIT] = source_quit,
        [SOURCE_DONE] = settled,
    };
    struct source_view view = see(m);
    enum source_action action = source_next(&view);

    log_debug("%s/%s: source: %s", m->pod->ns, m->pod->vmi_name, source_action_string(action));

    if (acts[action])
        acts[action](m);
}

const struct side_driver source_driver = {.act = act, .observed = source_observed};

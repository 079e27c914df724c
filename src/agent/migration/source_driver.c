/* The source's acts. Which comes when is decided in migration/source.c; here is how each is done. */
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
#include "pki/pki.h"

#define PROGRESS_EVERY_MS 500
#define GRANT_EVERY_MS 500
#define ASK_AGAIN_MS 1000
#define CLEAN_UP_MS 10000

static yyjson_val *migration_state(const struct mover *m)
{
    return json_at(yyjson_doc_get_root(m->pod->vmi), "/status/migrationState");
}

static char *now_text(const struct mover *m, char *buf)
{
    return clock_format(env_wall_ms(m->services->agent->env), buf);
}

/* Runstates in which the guest is QEMU's to run, or its user's pause to end; the others are a stop by the migration. */
static bool guest_is_here(const char *run_state)
{
    return run_state && !streq(run_state, "postmigrate") && !streq(run_state, "finish-migrate");
}

/* "completed" by a guest that runs is what an earlier migration left behind: its own, or the one that brought it here. It is
 * found when the agent was killed between the last two commands of the start. */
static bool is_left_over(const struct mover *m)
{
    return m->copy.state == COPY_COMPLETED && guest_is_here(m->run_state) && m->note.note == NOTE_OPEN;
}

static enum copy_state copy_state(const struct mover *m)
{
    return m->copy_started && !is_left_over(m) ? m->copy.state : COPY_NONE;
}

static struct source_view see(const struct mover *m)
{
    yyjson_val *state = migration_state(m);

    return (struct source_view){
        .note = m->note.note,
        .epoch = m->epoch.state,
        .copy = copy_state(m),
        .disks = m->disks,
        .disks_behind = m->brake.behind,
        .qemu_alive = mover_qemu_alive(m),
        .guest_runs = guest_is_here(m->run_state) || mover_paused_by_user(m),
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

/* --- before the copy --- */

/* Signs the grant, while time is cheap. The key lies in the TLS folder, also after a restart. */
static void make_proof(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *cert_path = xasprintf("%s/client-cert.pem", m->tls_dir);
    _cleanup_free_ char *key_path = xasprintf("%s/client-key.pem", m->tls_dir);
    _cleanup_free_ char *text = epoch_grant_text(m->pod->vmi_uid, m->uid, m->epoch.number, m->target_node);
    _cleanup_free_ char *cert = NULL, *signature = NULL;
    _cleanup_key_ char *key = NULL;
    int r = fs_read(cert_path, 0, &cert, NULL, &err);

    if (r >= 0)
        r = fs_read(key_path, 0, &key, NULL, &err);
    if (r >= 0)
        r = pki_sign(key, text, strlen(text), &signature, &err);
    if (r < 0) {
        log_warn("%s/%s: no proof of the grant: %s", m->pod->ns, m->pod->vmi_name, gw_error_message(&err));
        return;
    }
    _cleanup_mut_doc_ yyjson_mut_doc *d = script_args("/certificate", cert, "/signature", signature, NULL);
    free(m->proof);
    m->proof = json_text(yyjson_mut_doc_get_root(d));
}

static void start_clock(struct mover *m)
{
    struct migration_settings settings;
    int64_t bytes = m->pod->memory;

    settings_read(json_at(migration_state(m), "/migrationConfiguration"), &settings);
    VEC_EACH(&m->pod->disks, d)
        bytes += disk_is_copied(d) ? d->size : 0;
    m->watchdog.completion_timeout_ms = watchdog_budget_ms(settings.completion_timeout_per_gib_s, bytes);
    m->watchdog.progress_timeout_ms = settings.progress_timeout_s * 1000;
    watchdog_start(&m->watchdog, env_now(m->services->agent->env));
}

static void record_start(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_str(patch, "/status/migrationState/startTimestamp", now_text(m, now));
    json_set_str(patch, "/status/migrationState/mode", "PreCopy");
    pod_event(m->pod, EVENT_NORMAL, "Migrating", "VirtualMachineInstance is migrating.");
    mover_send(m, patch);
}

static void mirror_disks(struct mover *m)
{
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_start(s, &names, &m->pod->disks, json_str(migration_state(m), "/targetNodeAddress"), POD_NETWORK_BLOCK_PORT);
    mover_run(m, s);
}

/* Ahead of need: the connection to the target's agent, and what goes over it. */
static void open_channel(struct mover *m)
{
    const char *address = json_str(migration_state(m), "/targetState/syncAddress");

    if (!m->proof)
        make_proof(m);
    if (!m->channel && address && m->services->cluster_ca)
        m->channel = direct_open(m->services->agent, m->services->cluster_ca, address);
}

static void copy_memory(struct mover *m)
{
    if (m->earlier_copy_left)
        return; /* goes by itself; the next tick looks again */
    struct copy_names names = mover_names(m);
    struct migration_settings settings;
    struct script *s = script_new(m->pod->qmp);

    open_channel(m);
    settings_read(json_at(migration_state(m), "/migrationConfiguration"), &settings);
    copy_start(s, &names, &settings, m->disks != DISKS_NONE, json_str(migration_state(m), "/targetNodeAddress"),
               POD_NETWORK_MIGRATION_PORT);
    m->copy_started = true;
    m->copy.state = COPY_ACTIVE;
    mover_run(m, s);
}

/* --- while it runs --- */

static void told(void *userdata, const struct gw_error *err)
{
    struct mover *m = userdata;

    m->telling = false;
    if (!m->tick)
        mover_kick(m);
}

static void tell_progress(struct mover *m, int64_t now)
{
    if (m->telling || now - m->progress_told_ms < PROGRESS_EVERY_MS)
        return;
    yyjson_mut_doc *patch = mover_patch(m);
    progress_write(&m->progress, patch, "/status/migrationState/progress");
    m->telling = true;
    m->progress_told_ms = now;
    pod_patch_vmi(m->pod, patch, told, m);
}

static void give_up(struct mover *m, const char *why)
{
    m->given_up = true;
    mover_fail(m, why);
}

/* What no state of the copy says: that it must end. */
static void check_time(struct mover *m, int64_t now, const struct copy_sample *sample)
{
    const char *why = watchdog_check(&m->watchdog, now, sample->ram_transferred + sample->disk_transferred);

    if (why)
        give_up(m, why);
    else if (m->copy_started && is_left_over(m))
        give_up(m, "the agent was restarted while the copy was being started");
    else if (!m->copy_started && m->earlier_copy_left && now - m->watchdog.start_ms > CLEAN_UP_MS)
        give_up(m, "QEMU has not cleaned up an earlier migration: the virtual machine must be restarted before it can migrate");
}

/* The guest's disk writes, if the mirrors can't keep up with them. */
static void hold_writes(struct mover *m, int64_t now)
{
    struct copy_names names = mover_names(m);

    if (m->disks != DISKS_READY)
        return;
    brake_update(&m->brake, now, m->disk_total - m->disk_done, m->disk_done);
    if (m->brake_told == m->brake.limit || m->busy)
        return;
    log_info("%s/%s: disk writes are held to %lld KiB/s", m->pod->ns, m->pod->vmi_name, (long long)m->brake.limit >> 10);
    m->brake_told = m->brake.limit;
    struct script *s = script_new(m->pod->qmp);
    mirror_brake(s, &names, &m->pod->disks, m->brake.limit);
    mover_run(m, s);
}

void source_observed(struct mover *m)
{
    const struct copy_sample not_begun = {.ram_total = m->pod->memory, .ram_remaining = m->pod->memory};
    int64_t now = env_now(m->services->agent->env);
    bool begun = m->note.note == NOTE_OPEN && json_str(migration_state(m), "/startTimestamp");

    if (!begun || m->epoch.state != EPOCH_OPEN || copy_state(m) == COPY_COMPLETED)
        return;
    if (!m->watchdog.start_ms)
        start_clock(m);
    if (m->channel)
        direct_keep(m->channel, now);
    /* In its set-up QEMU has no figures of memory yet: with the disks in step, nothing would seem to be left. */
    struct copy_sample sample = m->copy_started && m->copy.sample.ram_total ? m->copy.sample : not_begun;
    sample.now_ms = now;
    sample.disk_total = m->disk_total;
    sample.disk_transferred = m->disk_done;
    hold_writes(m, now);
    sample.disk_limit = m->brake.limit;
    progress_update(&m->progress, &sample);
    check_time(m, now, &sample);
    tell_progress(m, now);
}

/* True once a second: QEMU takes its time with this, and looks unchanged until then. */
static bool may_ask(struct mover *m, enum source_action action)
{
    int64_t now = env_now(m->services->agent->env);

    if (m->asked == (int)action && now - m->asked_ms < ASK_AGAIN_MS)
        return false;
    m->asked = (int)action;
    m->asked_ms = now;
    return true;
}

static void detach_disks(struct mover *m)
{
    if (!may_ask(m, SOURCE_DETACH_DISKS))
        return;
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_detach(s, &names, &m->pod->disks);
    mover_run(m, s);
}

static void continue_copy(struct mover *m)
{
    if (!may_ask(m, SOURCE_CONTINUE))
        return;
    struct script *s = script_new(m->pod->qmp);

    script_try(s, "migrate-continue", script_args("/state", "pre-switchover", NULL));
    mover_run(m, s);
}

static void cancel(struct mover *m)
{
    if (!may_ask(m, SOURCE_CANCEL))
        return;
    struct script *s = script_new(m->pod->qmp);

    mover_fail(m, m->epoch.abort_requested              ? "Live migration has been aborted"
                  : m->epoch.state == EPOCH_RETURNED    ? "the target gave up before the guest was handed over"
                                                        : "the migration was given up");
    pod_event(m->pod, EVENT_NORMAL, "Migrating", "VirtualMachineInstance is aborting migration.");
    script_try(s, "migrate_cancel", NULL);
    mover_run(m, s);
}

static void drop_disks(struct mover *m)
{
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_drop(s, &names, &m->pod->disks);
    mover_run(m, s);
}

/* --- the hand-over --- */

static void note_granted(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (mover_note(m, NOTE_GRANTED, NULL, NULL) < 0)
        return;
    m->grant_sent_ms = 0;
    mover_kick(m);
    /* Behind the grant, since the target's route matters less than the guest's running there. */
    if (pod_network_forward(m->services->agent->network, m->pod->uid, m->target_node, &err) < 0)
        log_warn("%s: %s", m->pod->vmi_name, gw_error_message(&err));
}

static char *grant_json(const struct mover *m)
{
    yyjson_mut_doc *d = script_args("/vmiUid", m->pod->vmi_uid, "/migrationUid", m->uid, "/targetNode", m->target_node, NULL);
    _cleanup_doc_ yyjson_doc *proof = NULL;

    json_set_int(d, "/epoch", m->epoch.number);
    if (m->proof && json_parse(m->proof, strlen(m->proof), &proof, NULL) == 0)
        json_set(d, "/proof", yyjson_val_mut_copy(d, yyjson_doc_get_root(proof)));
    char *text = json_text(yyjson_mut_doc_get_root(d));
    yyjson_mut_doc_free(d);
    return text;
}

static void grant_written(void *userdata, const struct gw_error *err)
{
    struct mover *m = userdata;

    m->telling = false;
    m->grant_recorded = err == NULL;
    if (err && m->epoch.state != EPOCH_CLAIMED)
        log_warn("recording the grant of %s/%s: %s", m->pod->ns, m->pod->vmi_name, gw_error_message(err));
    if (!m->tick)
        mover_kick(m);
}

/* QEMU's final figures. A restarted agent has seen nothing of the copy but its end. */
static void write_figures(struct mover *m, yyjson_mut_doc *patch)
{
    if (m->progress.last.ram_total == 0) {
        m->copy.sample.now_ms = env_now(m->services->agent->env);
        m->copy.sample.disk_total = m->disk_total;
        m->copy.sample.disk_transferred = m->disk_done;
        progress_update(&m->progress, &m->copy.sample);
    }
    progress_write_final(&m->progress, patch, "/status/migrationState/progress", m->copy.total_ms, m->copy.downtime_ms);
}

static void record_grant(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_int(patch, "/status/migrationState/handover/grant/epoch", m->epoch.number);
    json_set_str(patch, "/status/migrationState/handover/grant/node", m->target_node);
    json_set_str(patch, "/status/migrationState/handover/grant/by", "Source");
    json_set_str(patch, "/status/migrationState/handover/grant/time", now_text(m, now));
    write_figures(m, patch);
    m->telling = true;
    pod_patch_vmi(m->pod, patch, grant_written, m);
}

/* Told at once, then recorded with QEMU's final figures; both repeated until the epoch moves on. */
static void send_grant(struct mover *m)
{
    int64_t now = env_now(m->services->agent->env);

    if (m->epoch.state != EPOCH_OPEN)
        return; /* recorded: the target's agent will see it */
    if (!m->grant_sent_ms || now - m->grant_sent_ms >= GRANT_EVERY_MS) {
        open_channel(m);
        _cleanup_free_ char *text = grant_json(m);
        direct_send_grant(m->channel, text);
        m->grant_sent_ms = now;
    }
    if (mover_qemu_alive(m) && m->copy.downtime_ms < 0 && !m->figures_asked) {
        m->figures_asked = true;
        m->observed = false;
        mover_kick(m);
    } else if (!m->grant_recorded && !m->telling) {
        record_grant(m);
    }
}

static void note_closed(struct mover *m)
{
    if (m->copy.state == COPY_FAILED && m->copy_error)
        mover_fail(m, m->copy_error);
    mover_fail(m, !mover_qemu_alive(m)                ? "QEMU ended during the migration"
                  : m->epoch.abort_requested           ? "Live migration has been aborted"
                  : m->epoch.state == EPOCH_RETURNED   ? "the target gave up before the guest was handed over"
                                                       : "the copy failed");
    if (mover_note(m, NOTE_CLOSED, m->failure, NULL) == 0)
        mover_kick(m);
}

/* A guest that its user paused is left as it is: `cont` will come from them. */
static void take_back(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct script *s = script_new(m->pod->qmp);

    script_add(s, "cont", NULL);
    mover_run(m, s);
    if (pod_network_activate(m->services->agent->network, m->pod->uid, m->epoch.number, &err) < 0)
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
}

static void record_close(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_bool(patch, "/status/migrationState/completed", true);
    json_set_bool(patch, "/status/migrationState/failed", true);
    json_set_str(patch, "/status/migrationState/failureReason", m->failure ? m->failure : "the copy failed");
    json_set_str(patch, "/status/migrationState/endTimestamp", now_text(m, now));
    if (m->epoch.abort_requested)
        json_set_str(patch, "/status/migrationState/abortStatus", "Succeeded");
    pod_event(m->pod, EVENT_WARNING, "Migrated", "VirtualMachineInstance migration uid %s failed. reason:%s", m->uid, m->failure ? m->failure : "");
    mover_send(m, patch);
}

static void request_return(struct mover *m)
{
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_str(patch, "/status/migrationState/handover/withdraw/by", "Source");
    json_set_str(patch, "/status/migrationState/handover/withdraw/reason", "the source's QEMU ended before the guest was handed over");
    mover_send(m, patch);
}

/* Tried once: they are for people, and nothing waits for them but the end of this QEMU. */
static void record_figures(struct mover *m)
{
    if (m->copy.downtime_ms < 0 && !m->figures_asked) {
        m->figures_asked = true;
        m->observed = false;
        mover_kick(m);
        return;
    }
    yyjson_mut_doc *patch = mover_patch(m);
    m->figures_told = true;
    write_figures(m, patch);
    mover_send(m, patch);
}

/* The guest is elsewhere: this pod no longer speaks for it, and ends. */
static void quit(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (m->pod->owner && pod_set_owner(m->pod, false, &err) < 0) {
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
        return;
    }
    if (m->pod->step < POD_STOPPING)
        pod_quit(m->pod);
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
        pod_finish(m->pod, good, moved ? "Migrated" : m->pod->exit.reason, moved ? "the guest runs on another node" : m->pod->exit.message);
    } else if (m->stop_wanted) {
        m->finished = true;
        m->stop_wanted = false;
        pod_stop(m->pod, -1);
    }
}

static void note_open(struct mover *m)
{
    if (mover_note(m, NOTE_OPEN, NULL, NULL) == 0)
        mover_kick(m);
}

void source_act(struct mover *m)
{
    static void (*const acts[SOURCE_ACTION_MAX])(struct mover *) = {
        [SOURCE_NOTE_OPEN] = note_open,
        [SOURCE_GET_CREDENTIALS] = mover_get_credentials,
        [SOURCE_RECORD_START] = record_start,
        [SOURCE_MIRROR_DISKS] = mirror_disks,
        [SOURCE_COPY_MEMORY] = copy_memory,
        [SOURCE_DETACH_DISKS] = detach_disks,
        [SOURCE_CONTINUE] = continue_copy,
        [SOURCE_CANCEL] = cancel,
        [SOURCE_DROP_DISKS] = drop_disks,
        [SOURCE_NOTE_GRANTED] = note_granted,
        [SOURCE_SEND_GRANT] = send_grant,
        [SOURCE_NOTE_CLOSED] = note_closed,
        [SOURCE_TAKE_BACK] = take_back,
        [SOURCE_RECORD_CLOSE] = record_close,
        [SOURCE_REQUEST_RETURN] = request_return,
        [SOURCE_RECORD_FIGURES] = record_figures,
        [SOURCE_QUIT] = quit,
        [SOURCE_DONE] = settled,
    };
    struct source_view view = see(m);
    enum source_action action = source_next(&view);

    log_debug("%s/%s: source: %s", m->pod->ns, m->pod->vmi_name, source_action_string(action));

    if (acts[action])
        acts[action](m);
}

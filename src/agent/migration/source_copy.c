/* The source copies disks and memory: starts, watches over time and progress, switches over, ends. */
#include "agent/migration/direct.h"
#include "agent/migration/source_acts.h"
#include "agent/network/pod_network.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "client/events.h"
#include "migration/downtime.h"

#define PROGRESS_EVERY_MS 500
#define ASK_AGAIN_MS 1000
#define DROP_AGAIN_MS 100 /* a job that was cancelled ends soon, and its failure is told after it */
#define CLEAN_UP_MS 10000

/* --- what QEMU says --- */

/* Runstates in which the guest is QEMU's to run, or its user's pause to end; the others are a stop by the migration. */
static bool guest_is_here(const char *run_state)
{
    return run_state && !streq(run_state, "postmigrate") && !streq(run_state, "finish-migrate");
}

/* "completed" by a guest that runs is what an earlier migration left behind: its own, or the one that brought it here.
 * It is found when the agent was killed between the last two commands of the start. */
static bool is_left_over(const struct mover *m)
{
    return m->copy.state == COPY_COMPLETED && guest_is_here(m->run_state) && m->note.note == NOTE_OPEN;
}

bool source_guest_runs(const struct mover *m)
{
    return guest_is_here(m->run_state) || mover_paused_by_user(m);
}

enum copy_state source_copy_state(const struct mover *m)
{
    return m->copy_started && !is_left_over(m) ? m->copy.state : COPY_NONE;
}

/* --- before the copy --- */

static void start_clock(struct mover *m)
{
    struct migration_settings settings;
    int64_t bytes = m->pod->memory;

    settings_read(json_at(mover_state(m), "/migrationConfiguration"), &settings);
    VEC_EACH(&m->pod->disks, d)
        bytes += disk_is_copied(d) ? d->size : 0;
    m->watchdog.completion_timeout_ms = watchdog_budget_ms(settings.completion_timeout_per_gib_s, bytes);
    m->watchdog.progress_timeout_ms = settings.progress_timeout_s * 1000;
    watchdog_start(&m->watchdog, env_now(m->services->agent->env));
}

void source_record_start(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_str(patch, "/status/migrationState/startTimestamp", mover_now(m, now));
    json_set_str(patch, "/status/migrationState/mode", "PreCopy");
    pod_event(m->pod, EVENT_NORMAL, "Migrating", "VirtualMachineInstance is migrating.");
    mover_send(m, patch);
}

void source_mirror_disks(struct mover *m)
{
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_start(s, &names, &m->pod->disks, json_str(mover_state(m), "/targetNodeAddress"), POD_NETWORK_BLOCK_PORT);
    mover_run(m, s);
}

void source_copy_memory(struct mover *m)
{
    if (m->earlier_copy_left)
        return; /* goes by itself; the next tick looks again */
    struct copy_names names = mover_names(m);
    struct migration_settings settings;
    struct script *s = script_new(m->pod->qmp);

    source_open_channel(m);
    settings_read(json_at(mover_state(m), "/migrationConfiguration"), &settings);
    copy_start(s, &names, &settings, m->disks != DISKS_NONE, json_str(mover_state(m), "/targetNodeAddress"),
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
        give_up(m, "QEMU has not cleaned up an earlier migration: the virtual machine must be restarted before it can "
                   "migrate");
}

/* The guest's disk writes, if the mirrors can't keep up with them. */
static void hold_writes(struct mover *m, int64_t now)
{
    struct copy_names names = mover_names(m);

    if (m->disks != DISKS_READY || source_copy_state(m) == COPY_PRE_SWITCHOVER)
        return;
    brake_update(&m->brake, now, m->disk_total - m->disk_done, m->disk_done);
    if (m->brake_told == m->brake.limit || m->busy)
        return;
    log_info("%s/%s: disk writes are held to %lld KiB/s", m->pod->ns, m->pod->vmi_name,
             (long long)m->brake.limit >> 10);
    m->brake_told = m->brake.limit;
    struct script *s = script_new(m->pod->qmp);
    mirror_brake(s, &names, &m->pod->disks, m->brake.limit);
    mover_run(m, s);
}

/* The longer the copy takes, the longer the guest may stand still. */
static void allow_downtime(struct mover *m)
{
    int64_t limit = downtime_limit_ms(m->copy.sample.iteration);

    if (source_copy_state(m) != COPY_ACTIVE || limit <= m->downtime_limit)
        return;
    m->downtime_limit = limit;
    copy_limit_downtime(m->pod->qmp, limit);
}

void source_observed(struct mover *m)
{
    const struct copy_sample not_begun = {.ram_total = m->pod->memory, .ram_remaining = m->pod->memory};
    int64_t now = env_now(m->services->agent->env);
    bool begun = m->note.note == NOTE_OPEN && json_str(mover_state(m), "/startTimestamp");

    if (!begun || m->epoch.state != EPOCH_OPEN || source_copy_state(m) == COPY_COMPLETED)
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
    allow_downtime(m);
    sample.disk_limit = m->brake.limit;
    progress_update(&m->progress, &sample);
    check_time(m, now, &sample);
    tell_progress(m, now);
}

/* --- its end --- */

/* True once in so many ms: QEMU takes its time with this, and looks unchanged until then. */
static bool may_ask(struct mover *m, enum source_action action, int64_t again_ms)
{
    int64_t now = env_now(m->services->agent->env);

    if (m->asked == (int)action && now - m->asked_ms < again_ms)
        return false;
    m->asked = (int)action;
    m->asked_ms = now;
    return true;
}

void source_detach_disks(struct mover *m)
{
    if (!may_ask(m, SOURCE_DETACH_DISKS, ASK_AGAIN_MS))
        return;
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_detach(s, &names, &m->pod->disks);
    mover_run(m, s);
}

void source_continue_copy(struct mover *m)
{
    if (!may_ask(m, SOURCE_CONTINUE, ASK_AGAIN_MS))
        return;
    struct script *s = script_new(m->pod->qmp);

    script_try(s, "migrate-continue", script_args("/state", "pre-switchover", NULL));
    mover_run(m, s);
}

void source_cancel(struct mover *m)
{
    bool in_vain = m->asked == SOURCE_CANCEL;

    if (!may_ask(m, SOURCE_CANCEL, ASK_AGAIN_MS))
        return;
    struct script *s = script_new(m->pod->qmp);

    source_fail(m, "the migration was given up");
    pod_event(m->pod, EVENT_NORMAL, "Migrating", "VirtualMachineInstance is aborting migration.");
    script_try(s, "migrate_cancel", NULL);
    if (in_vain)
        copy_cut(s);
    mover_run(m, s);
}

void source_drop_disks(struct mover *m)
{
    if (!may_ask(m, SOURCE_DROP_DISKS, DROP_AGAIN_MS))
        return;
    struct copy_names names = mover_names(m);
    struct script *s = script_new(m->pod->qmp);

    mirror_drop(s, &names, &m->pod->disks);
    mover_run(m, s);
}

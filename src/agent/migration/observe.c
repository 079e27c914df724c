/* What QEMU says, asked again before each decision: status, migration, jobs, and while they are not known the TLS
 * objects and whether the migration's parameters are this epoch's. Events bring the same news sooner.
 *
 * The order of the questions matters: QEMU may go from running to completed between two of them. query-migrate comes
 * first, so that a run state read with "completed" is never older than it. */
#include <string.h>

#include "agent/migration/mover.h"
#include "base/alloc.h"
#include "base/str.h"

/* One reply more; the last one ends the round. */
static void answered(struct mover *m)
{
    if (--m->observing > 0)
        return;
    m->observed = !m->look_again;
    m->look_again = false;
    m->looked(m);
}

static void set_run_state(struct mover *m, const char *state)
{
    char *copy = xstrdup(state);

    free(m->run_state);
    m->run_state = copy;
}

static void on_status(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    if (result && !m->look_again)
        set_run_state(m, json_str_or(result, "/status", ""));
    answered(m);
}

static void on_migrate(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    if (result && !m->look_again) {
        copy_read(result, &m->copy);
        free(m->copy_error);
        m->copy_error = xstrdup(m->copy.error);
        m->copy.error = NULL;
    }
    answered(m);
}

static void on_jobs(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;
    struct copy_names names = mover_names(m);
    const char *error = NULL;

    if (result) {
        m->disks = mirror_read(result, &names, &m->pod->disks, &m->disk_total, &m->disk_done, &error);
        if (m->disks == DISKS_FAILED) {
            _cleanup_free_ char *why = xasprintf("mirroring the disks: %s", error);
            mover_fail(m, why);
        }
    }
    answered(m);
}

static void on_objects(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    m->has_credentials = result && copy_has_credentials(result, m->epoch.number);
    answered(m);
}

static void on_parameters(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;
    _cleanup_free_ char *ours = epoch_dns_name(m->uid, "target");

    m->copy_started = m->copy_started || str_same(json_str(result, "/tls-hostname"), ours);
    answered(m);
}

static void on_yank(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    m->earlier_copy_left = copy_is_left(result);
    answered(m);
}

void mover_observe(struct mover *m, void (*looked)(struct mover *m))
{
    struct qmp *q = m->pod->qmp;
    bool source = m->side == SIDE_SOURCE;
    bool ask_jobs = source && m->disks != DISKS_NONE;
    bool before_copy = source && !m->copy_started;

    m->observing = 2 + ask_jobs + 2 * before_copy + !m->has_credentials;
    m->look_again = false;
    m->looked = looked;
    qmp_command(q, "query-migrate", NULL, on_migrate, m);
    if (before_copy) {
        qmp_command(q, "query-migrate-parameters", NULL, on_parameters, m);
        qmp_command(q, "query-yank", NULL, on_yank, m);
    }
    if (ask_jobs)
        qmp_command(q, "query-jobs", NULL, on_jobs, m);
    if (!m->has_credentials)
        qmp_command(q, "qom-list", script_args("/path", "/objects", NULL), on_objects, m);
    qmp_command(q, "query-status", NULL, on_status, m);
}

/* Events that time is short for: the guest stands still, and the next word is ours. Nothing is asked again before it.
 */
static void stands_still(struct mover *m, enum copy_state state)
{
    m->copy.state = state;
    if (state == COPY_COMPLETED)
        set_run_state(m, m->side == SIDE_SOURCE ? "postmigrate" : "paused");
    if (state == COPY_COMPLETED && m->side == SIDE_TARGET && !m->nbd_stopped && mirror_count(&m->pod->disks)) {
        m->nbd_stopped = true; /* the source let go of the disks before */
        qmp_command(m->pod->qmp, "nbd-server-stop", NULL, NULL, NULL);
    }
    m->look_again = m->observing > 0;
}

enum news mover_hear(struct mover *m, const char *name, yyjson_val *data)
{
    bool migration = streq(name, "MIGRATION");
    enum copy_state state = migration ? copy_state_from(json_str(data, "/status")) : COPY_NONE;

    if (m->side == SIDE_NONE || (!migration && !streq(name, "JOB_STATUS_CHANGE")))
        return NEWS_NONE;
    if (state == COPY_COMPLETED || state == COPY_PRE_SWITCHOVER) {
        stands_still(m, state);
        return NEWS_URGENT;
    }
    m->observed = false;
    m->look_again = m->observing > 0;
    return NEWS_LOOK;
}

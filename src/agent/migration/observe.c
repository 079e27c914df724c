/* What QEMU says, asked again before each decision: status, migration, jobs, and while they are not known the TLS
 * objects and whether the migration's parameters are this epoch's. Events bring the same news sooner. */
#include <string.h>

#include "agent/migration/mover.h"
#include "base/alloc.h"
#include "base/str.h"

/* One reply more; the last one ends the round. */
static void answered(struct mover *m)
{
    if (--m->observing > 0)
        return;
    m->observed = true;
    if (m->side == SIDE_SOURCE)
        source_observed(m);
    mover_kick(m);
}

static void on_status(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    if (result) {
        free(m->run_state);
        m->run_state = xstrdup(json_str_or(result, "/status", ""));
    }
    answered(m);
}

static void on_migrate(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct mover *m = userdata;

    if (result) {
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
        if (m->disks == DISKS_FAILED)
            mover_fail(m, error);
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

void mover_observe(struct mover *m)
{
    struct qmp *q = m->pod->qmp;
    bool source = m->side == SIDE_SOURCE;
    bool ask_jobs = source && m->disks != DISKS_NONE;
    bool ask_parameters = source && !m->copy_started;

    m->observing = 2 + ask_jobs + ask_parameters + !m->has_credentials;
    qmp_command(q, "query-status", NULL, on_status, m);
    if (ask_parameters)
        qmp_command(q, "query-migrate-parameters", NULL, on_parameters, m);
    if (ask_jobs)
        qmp_command(q, "query-jobs", NULL, on_jobs, m);
    if (!m->has_credentials)
        qmp_command(q, "qom-list", script_args("/path", "/objects", NULL), on_objects, m);
    qmp_command(q, "query-migrate", NULL, on_migrate, m);
}

/* The one event that time is short for: the copy is complete. Others only hasten the next look. */
void mover_event(struct mover *m, const char *name, yyjson_val *data)
{
    enum copy_state state;

    if (m->side == SIDE_NONE || !streq(name, "MIGRATION"))
        return;
    state = copy_state_from(json_str(data, "/status"));
    if (state == COPY_COMPLETED || state == COPY_PRE_SWITCHOVER || state == COPY_FAILED) {
        m->copy.state = state;
        m->observed = m->observed && state == COPY_COMPLETED;
        if (state == COPY_COMPLETED) {
            free(m->run_state);
            m->run_state = xstrdup(m->side == SIDE_SOURCE ? "postmigrate" : "paused");
        }
    }
    mover_kick(m);
}

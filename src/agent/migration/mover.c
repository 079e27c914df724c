/* What a mover is and remembers. */
#include "agent/migration/mover.h"

#include <string.h>

#include "agent/migration/credentials.h"
#include "agent/migration/direct.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

static enum side side_of(const struct mover *m, const struct epoch *e)
{
    if (e->state == EPOCH_NONE || !e->migration_uid)
        return SIDE_NONE;
    if (str_same(m->pod->migration_uid, e->migration_uid))
        return SIDE_TARGET;
    return str_same(m->pod->name, e->source_pod) ? SIDE_SOURCE : SIDE_NONE;
}

struct mover *mover_of(struct mover_services *services, struct pod *p)
{
    if (!p->migration) {
        struct mover *m = xnew(struct mover);
        m->services = services;
        m->pod = p;
        p->migration = m;
    }
    return p->migration;
}

void mover_forget(struct mover *m)
{
    struct mover_services *services = m->services;
    struct pod *p = m->pod;
    bool stop_wanted = m->stop_wanted;

    m->script = m->pod->qmp ? script_cancel(m->script) : script_drop(m->script);
    credentials_cancel(m->credentials_call);
    env_timer_cancel(services->agent->env, &m->tick);
    direct_close(m->channel);
    handover_note_done(&m->note);
    free(m->uid);
    free(m->source_node);
    free(m->target_node);
    free(m->tls_dir);
    free(m->run_state);
    free(m->copy_error);
    free(m->failure);
    free(m->proof);
    free(m->direct_proof);
    *m = (struct mover){.services = services, .pod = p, .stop_wanted = stop_wanted};
}

void mover_session_lost(struct mover *m)
{
    if (m->script) {
        m->script = script_drop(m->script);
        m->busy = false;
    }
    m->observing = 0;
    m->observed = false;
    m->has_credentials = false;
}

void mover_free(struct mover *m)
{
    mover_forget(m);
    m->pod->migration = NULL;
    free(m);
}

static char *note_path(const struct mover *m)
{
    return xasprintf("%s/handover.json", m->pod->dir);
}

/* What is remembered of an epoch has no pointers into the VMI's document, which comes and goes. */
static void keep_epoch(struct mover *m, const struct epoch *e)
{
    m->epoch = *e;
    m->epoch.migration_uid = m->epoch.source_node = m->epoch.target_node = NULL;
    m->epoch.source_pod = m->epoch.target_pod = NULL;
}

/* Begins an epoch: its note is read if there is one, everything else starts anew. */
static void enter_epoch(struct mover *m, enum side side, const struct epoch *e)
{
    _cleanup_free_ char *path = note_path(m);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    mover_forget(m);
    m->side = side;
    m->uid = xstrdup(e->migration_uid);
    m->source_node = xstrdup(e->source_node);
    m->target_node = xstrdup(e->target_node);
    m->tls_dir = xasprintf("%s/tls-%lld", m->pod->run_dir, (long long)e->number);
    m->disks = mirror_count(&m->pod->disks) ? DISKS_IDLE : DISKS_NONE;
    m->copy.total_ms = m->copy.downtime_ms = -1;
    m->granted_paused = -1;
    m->note_broken = handover_note_load(path, &m->note, &err) < 0;
    if (m->note_broken)
        log_error("%s/%s: %s: this migration is left alone", m->pod->ns, m->pod->vmi_name, gw_error_message(&err));
    if (m->note.epoch != e->number)
        handover_note_done(&m->note);
    /* A claim that another life of this agent noted may have run the guest. */
    m->cont_sent = m->note.note == NOTE_CLAIMED;
    m->failure = xstrdup(m->note.reason);
}

bool mover_refresh(struct mover *m)
{
    struct epoch e;

    epoch_read(m->pod->vmi ? yyjson_doc_get_root(m->pod->vmi) : NULL, &e);
    enum side side = side_of(m, &e);
    if (side == SIDE_NONE)
        return false;
    if (side != m->side || !str_same(m->uid, e.migration_uid)) {
        if (m->busy || m->observing || m->telling)
            return false; /* what is under way belongs to the other epoch; its end kicks */
        enter_epoch(m, side, &e);
    }
    keep_epoch(m, &e);
    return !m->note_broken;
}

yyjson_val *mover_state(const struct mover *m)
{
    return json_at(yyjson_doc_get_root(m->pod->vmi), "/status/migrationState");
}

char *mover_now(const struct mover *m, char *buf)
{
    return clock_format(env_wall_ms(m->services->agent->env), buf);
}

bool mover_qemu_alive(const struct mover *m)
{
    return m->pod->step < POD_ENDED;
}

bool mover_qmp_ready(const struct mover *m)
{
    return m->pod->qmp && qmp_is_ready(m->pod->qmp);
}

bool mover_paused_by_user(const struct mover *m)
{
    if (m->side == SIDE_TARGET && m->granted_paused >= 0)
        return m->granted_paused;
    return (m->pod->owner && m->pod->paused_reason) || condition_true(yyjson_doc_get_root(m->pod->vmi), "Paused");
}

struct copy_names mover_names(const struct mover *m)
{
    return (struct copy_names){.epoch = m->epoch.number, .migration_uid = m->uid, .tls_dir = m->tls_dir};
}

void mover_fail(struct mover *m, const char *reason)
{
    if (!m->failure)
        m->failure = xstrdup(reason);
}

int mover_save_note(struct mover *m, enum note note, const char *reason, const char *proof, struct gw_error *err)
{
    _cleanup_free_ char *path = note_path(m);
    struct handover_note next = {
        .note = note,
        .epoch = m->epoch.number,
        .migration_uid = xstrdup(m->uid),
        .reason = xstrdup(reason),
        .proof = xstrdup(proof),
    };
    int r = handover_note_save(path, &next, err);

    if (r < 0) {
        handover_note_done(&next);
        return r;
    }
    log_info("migration %s of %s/%s, epoch %lld: noted %s%s%s", m->uid, m->pod->ns, m->pod->vmi_name,
             (long long)m->epoch.number, note_string(note), reason ? ": " : "", reason ? reason : "");
    handover_note_done(&m->note);
    m->note = next;
    return 0;
}

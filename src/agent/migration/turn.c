/* The turns of a mover: when it looks and decides, and how its acts begin and end. */
#include "agent/migration/mover.h"
#include "base/log.h"

#define TICK_MS 250
#define RETRY_MS 500

/* --- look, decide, act --- */

static void on_tick(void *userdata)
{
    struct mover *m = userdata;

    m->tick = NULL;
    m->observed = false;
    mover_kick(m);
}

static void tick_in(struct mover *m, int64_t ms)
{
    env_timer_cancel(m->services->agent->env, &m->tick);
    m->tick = env_timer(m->services->agent->env, ms, on_tick, m);
}

static const struct side_driver *driver_of(const struct mover *m)
{
    return m->services->drivers[m->side];
}

/* One decision on what is known, and its act. */
static void act(struct mover *m)
{
    if (!m->tick)
        tick_in(m, TICK_MS);
    mover_route(m);
    driver_of(m)->act(m);
}

/* QEMU has answered all that it was asked. */
static void looked(struct mover *m)
{
    if (m->observed && driver_of(m)->observed)
        driver_of(m)->observed(m);
    mover_kick(m);
}

void mover_kick(struct mover *m)
{
    if (m->busy || m->observing || !mover_refresh(m))
        return;
    if (mover_qemu_alive(m) && !mover_qmp_ready(m))
        return; /* the core is connecting: hooks.attached kicks again */
    if (mover_qemu_alive(m) && !m->observed) {
        mover_observe(m, looked);
        return;
    }
    act(m);
}

void mover_event(struct mover *m, const char *name, yyjson_val *data)
{
    enum news news = mover_hear(m, name, data);

    if (news == NEWS_LOOK)
        mover_kick(m);
    else if (news == NEWS_URGENT && !m->busy && mover_refresh(m))
        act(m);
}

/* --- its acts --- */

void mover_done(struct mover *m, const char *why)
{
    m->busy = false;
    m->observed = false;
    if (why) {
        log_warn("migration %s of %s/%s, epoch %lld: %s", m->uid, m->pod->ns, m->pod->vmi_name,
                 (long long)m->epoch.number, why);
        tick_in(m, RETRY_MS);
        return;
    }
    mover_kick(m);
}

void mover_refused(struct mover *m, const char *why)
{
    m->given_up = true;
    mover_fail(m, why);
    mover_done(m, why);
}

int mover_note(struct mover *m, enum note note, const char *reason, const char *proof)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = mover_save_note(m, note, reason, proof, &err);

    if (r < 0)
        mover_done(m, gw_error_message(&err));
    return r;
}

static void script_over(void *userdata, const char *fault)
{
    struct mover *m = userdata;

    m->script = NULL;
    if (fault && mover_qmp_ready(m) && (m->note.note == NOTE_OPEN || m->note.note == NOTE_PREPARED)) {
        mover_refused(m, fault); /* it will be refused again */
        return;
    }
    mover_done(m, fault);
}

void mover_run(struct mover *m, struct script *s)
{
    m->busy = true;
    m->script = s;
    script_run(s, script_over, m);
}

yyjson_mut_doc *mover_patch(struct mover *m)
{
    yyjson_mut_doc *d = json_object();

    json_set_int(d, "/status/migrationState/handover/epoch", m->epoch.number);
    return d;
}

/* A refusal stays until the status changes; its reason is for the log. Success comes back through the watch. */
static void patched(void *userdata, const struct gw_error *err)
{
    struct mover *m = userdata;

    if (m->busy)
        mover_done(m, err ? gw_error_message(err) : NULL);
}

void mover_send(struct mover *m, yyjson_mut_doc *patch)
{
    m->busy = true;
    pod_patch_vmi(m->pod, patch, patched, m);
}

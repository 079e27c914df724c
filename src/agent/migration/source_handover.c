/* The source gives the guest away, or keeps it (docs/handover.md, section 4). */
#include <string.h>

#include "agent/migration/direct.h"
#include "agent/migration/source_acts.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "client/events.h"
#include "pki/pki.h"

#define GRANT_EVERY_MS 500

/* --- ahead of need --- */

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

/* Ahead of need: the connection to the target's agent, and what goes over it. */
void source_open_channel(struct mover *m)
{
    const char *address = json_str(mover_state(m), "/targetState/syncAddress");

    if (!m->proof)
        make_proof(m);
    if (!m->channel && address)
        m->channel = direct_open(m->services->agent, address);
}

/* --- the grant --- */

void source_note_granted(struct mover *m)
{
    if (mover_note(m, NOTE_GRANTED, NULL, NULL) < 0)
        return;
    m->grant_sent_ms = 0;
    mover_kick(m);
}

static char *grant_json(const struct mover *m)
{
    yyjson_mut_doc *d =
        script_args("/vmiUid", m->pod->vmi_uid, "/migrationUid", m->uid, "/targetNode", m->target_node, NULL);
    _cleanup_doc_ yyjson_doc *proof = NULL;

    json_set_int(d, "/epoch", m->epoch.number);
    json_set_bool(d, "/paused", mover_paused_by_user(m));
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
    json_set_str(patch, "/status/migrationState/handover/grant/time", mover_now(m, now));
    write_figures(m, patch);
    m->telling = true;
    pod_patch_vmi(m->pod, patch, grant_written, m);
}

/* Told at once, then recorded with QEMU's final figures; both repeated until the epoch moves on. */
void source_send_grant(struct mover *m)
{
    int64_t now = env_now(m->services->agent->env);

    if (m->epoch.state != EPOCH_OPEN)
        return; /* recorded: the target's agent will see it */
    if (!m->grant_sent_ms || now - m->grant_sent_ms >= GRANT_EVERY_MS) {
        source_open_channel(m);
        _cleanup_free_ char *text = grant_json(m);
        direct_send_grant(m->channel, text);
        m->grant_sent_ms = now;
        mover_route(m); /* behind the grant, since this route matters less than the guest's running there */
    }
    if (mover_qemu_alive(m) && m->copy.downtime_ms < 0 && !m->figures_asked) {
        m->figures_asked = true;
        m->observed = false;
        mover_kick(m);
    } else if (!m->grant_recorded && !m->telling) {
        record_grant(m);
    }
}

/* --- the guest stays --- */

void source_fail(struct mover *m, const char *otherwise)
{
    const char *told = json_str(yyjson_doc_get_root(m->pod->vmi), "/status/migrationState/handover/returned/reason");
    _cleanup_free_ char *returned = xasprintf("the target gave up before the guest was handed over%s%s",
                                              told && *told ? ": " : "", told ? told : "");

    mover_fail(m, m->epoch.abort_requested           ? "Live migration has been aborted"
                  : m->epoch.state == EPOCH_RETURNED ? returned
                                                     : otherwise);
}

void source_note_closed(struct mover *m)
{
    if (m->copy.state == COPY_FAILED && m->copy_error)
        mover_fail(m, m->copy_error);
    if (!mover_qemu_alive(m))
        mover_fail(m, "QEMU ended during the migration");
    source_fail(m, "the copy failed");
    if (mover_note(m, NOTE_CLOSED, m->failure, NULL) == 0)
        mover_kick(m);
}

/* A guest that its user paused is left as it is: `cont` will come from them. */
void source_take_back(struct mover *m)
{
    struct script *s = script_new(m->pod->qmp);

    script_add(s, "cont", NULL);
    mover_run(m, s);
    mover_route(m);
}

void source_record_close(struct mover *m)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_bool(patch, "/status/migrationState/completed", true);
    json_set_bool(patch, "/status/migrationState/failed", true);
    json_set_str(patch, "/status/migrationState/failureReason", m->failure ? m->failure : "the copy failed");
    json_set_str(patch, "/status/migrationState/endTimestamp", mover_now(m, now));
    if (m->epoch.abort_requested)
        json_set_str(patch, "/status/migrationState/abortStatus", "Succeeded");
    pod_event(m->pod, EVENT_WARNING, "Migrated", "VirtualMachineInstance migration uid %s failed. reason:%s", m->uid,
              m->failure ? m->failure : "");
    mover_send(m, patch);
}

void source_request_return(struct mover *m)
{
    yyjson_mut_doc *patch = mover_patch(m);

    json_set_str(patch, "/status/migrationState/handover/withdraw/by", "Source");
    json_set_str(patch, "/status/migrationState/handover/withdraw/reason",
                 "the source's QEMU ended before the guest was handed over");
    mover_send(m, patch);
}

/* --- the guest has left --- */

/* Tried once: they are for people, and nothing waits for them but the end of this QEMU. */
void source_record_figures(struct mover *m)
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
void source_quit(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (m->pod->owner && pod_set_owner(m->pod, false, &err) < 0) {
        log_error("%s: %s", m->pod->vmi_name, gw_error_message(&err));
        return;
    }
    if (m->pod->step < POD_STOPPING)
        pod_quit(m->pod);
}

/* PUT /vmis/UID/pause, unpause, reset; softreboot where the guest has no agent (reboot.c).
 *
 * Pause and unpause are answered when three things agree: QEMU stands still (or runs), this node still owns the guest,
 * and the server's VMI says so. From then on the state is safe: QEMU keeps it while the agent is away, and a migration
 * hands it on with the grant, or with the VMI (docs/handover.md). While QEMU is at the switch-over of a migration the
 * answer is 503: whoever asks asks again, here or at the new owner.
 *
 * Unpause waits for the end of a migration (guest_internal.h says why). query-migrate is asked before query-status:
 * what completes in between is no longer `paused`. */
#include <string.h>

#include "agent/guest/guest_internal.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/log.h"
#include "migration/note.h"

#define PATIENCE_MS 8000

struct row {
    const char *name, *qmp;
    int paused;          /* what is to come of it: 1 the guest stands still, 0 it runs, -1 nothing is waited for */
    const char *already; /* 409 where that is so; or, without waiting, where the guest does not run */
    void (*prepare)(struct guest_services *g, struct pod *p);
};

static const struct row rows[] = {
    {"pause", "stop", 1, "VMI is already paused", NULL},
    {"unpause", "cont", 0, "VMI is not paused", NULL},
    {"reset", "system_reset", -1, NULL, NULL},
    {"softreboot", "system_powerdown", -1, "VMI is paused", reboot_prepare},
};

struct command {
    struct guest_services *g;
    struct command *next;
    uint64_t id;
    struct http_request *request;
    const struct row *row;
    char *pod_uid;
    bool done; /* QEMU did it; the server is waited for */
    struct env_timer *timer;
};

/* --- The list --- */

static struct command *find(struct guest_services *g, uint64_t id)
{
    struct command *c = g->commands;

    while (c && c->id != id)
        c = c->next;
    return c;
}

static void finish(struct command *c, int status, const char *text)
{
    struct command **at = &c->g->commands;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    env_timer_cancel(c->g->agent->env, &c->timer);
    if (status == 200)
        http_answer_text(c->request, 200, NULL, NULL);
    else
        endpoint_refuse(c->request, status, "%s", text);
    http_send(c->request);
    free(c->pod_uid);
    free(c);
}

/* Its requests are gone already, with the endpoint. */
void commands_stop(struct guest_services *g)
{
    while (g->commands) {
        struct command *c = g->commands;

        g->commands = c->next;
        env_timer_cancel(g->agent->env, &c->timer);
        free(c->pod_uid);
        free(c);
    }
}

static void on_timeout(void *userdata)
{
    struct command *c = userdata;

    c->timer = NULL;
    finish(c, 503, c->done ? "the server does not confirm it" : "QEMU does not answer");
}

/* --- What is seen --- */

static const char *const moving = "the guest is being handed over";

/* Ends the command if the pod shows that it can end. */
static void look(struct command *c, struct pod *p)
{
    yyjson_val *vmi = p->vmi ? yyjson_doc_get_root(p->vmi) : NULL;

    if (p->step >= POD_ENDED || !p->owner)
        finish(c, 503, moving);
    else if (c->done && condition_true(vmi, "Paused") == (c->row->paused == 1))
        finish(c, 200, NULL);
}

void commands_look(struct guest_services *g, struct pod *p, bool gone)
{
    struct command *next;

    for (struct command *c = g->commands; c; c = next) {
        next = c->next;
        if (!streq(c->pod_uid, p->uid))
            continue;
        if (gone)
            finish(c, 503, moving);
        else
            look(c, p);
    }
}

/* --- QEMU's side --- */

static struct pod *pod_of(struct command *c)
{
    struct pod *p = agent_pod(c->g->agent, c->pod_uid);

    return p && p->qmp ? p : NULL;
}

/* QEMU keeps no callback of ours beyond the pod's session, and a command may have ended before its reply. */
struct question {
    struct guest_services *g;
    uint64_t id;
};

static void ask(struct command *c, const char *qmp, qmp_reply_fn reply)
{
    const struct question q = {c->g, c->id};
    struct pod *p = pod_of(c);

    if (p)
        qmp_ask(p->qmp, qmp, reply, xmemdup(&q, sizeof(q)));
    else
        finish(c, 503, "QEMU does not answer");
}

/* The command that a reply is for; NULL if it ended meanwhile, or ends with QEMU's refusal. */
static struct command *answered(void *userdata, const struct qmp_fault *fault)
{
    const struct question *q = userdata;
    struct command *c = find(q->g, q->id);

    if (c && fault) {
        finish(c, streq(fault->class, QMP_CLASS_LOST) ? 503 : 500, fault->desc);
        return NULL;
    }
    return c;
}

/* Behind `stop` or `cont`: at the switch-over of a migration they do nothing. */
static void on_state_after(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct command *c = answered(userdata, fault);
    const char *wanted = c && c->row->paused ? "paused" : "running";

    if (!c)
        return;
    if (!streq(json_str_or(result, "/status", ""), wanted)) {
        finish(c, 503, moving);
        return;
    }
    c->done = true;
    struct pod *p = pod_of(c);
    if (p) {
        pod_look(p);
        look(c, p);
    }
}

static void on_done(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct command *c = answered(userdata, fault);

    if (!c)
        return;
    log_info("%s of pod %s: done", c->row->name, c->pod_uid);
    if (c->row->paused < 0)
        finish(c, 200, NULL);
    else
        ask(c, "query-status", on_state_after);
}

/* A paused guest that was given away and returned: its side of the hand-over is noted closed, so that nobody else can
 * claim it, and only its user's `cont` was missing (docs/handover.md, section 5). A later migration would have noted
 * itself open before it began. */
static bool came_back(const struct pod *p)
{
    _cleanup_handover_note_ struct handover_note note = {0};
    _cleanup_free_ char *path = xasprintf("%s/handover.json", p->dir);

    return handover_note_load(path, &note, NULL) == 0 && note.note == NOTE_CLOSED;
}

/* Paused; or not yet run because it is to start paused; or as a migration has left it. */
static bool stands_still(const struct pod *p, const char *state)
{
    return streq(state, "paused") || (p && p->paused_reason && streq(state, "prelaunch")) ||
           (p && streq(state, "postmigrate") && came_back(p));
}

static void on_state_before(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct command *c = answered(userdata, fault);
    const char *state = json_str_or(result, "/status", "");
    bool paused = c && stands_still(pod_of(c), state), runs = streq(state, "running");

    if (!c)
        return;
    if (!paused && !runs && !streq(state, "io-error"))
        finish(c, 503, moving);
    else if (c->row->paused == 0 && !runs && guest_is_migrating(pod_of(c)))
        finish(c, 503, moving);
    else if (c->row->already && runs == (c->row->paused == 0))
        finish(c, 409, c->row->already);
    else {
        struct pod *p = pod_of(c);

        if (p && c->row->prepare)
            c->row->prepare(c->g, p);
        ask(c, c->row->qmp, on_done);
    }
}

static void on_copy_before(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct command *c = answered(userdata, fault);

    if (!c)
        return;
    if (!guest_copy_is_over(result))
        finish(c, 503, moving);
    else
        ask(c, "query-status", on_state_before);
}

static const struct row *row_of(const char *name)
{
    size_t i = 0;

    while (!streq(rows[i].name, name))
        i++;
    return &rows[i];
}

static void begin(struct guest_services *g, struct pod *p, const char *name, struct http_request *request)
{
    static uint64_t last_id;
    struct command *c = xnew(struct command);

    *c = (struct command){
        .g = g, .next = g->commands, .request = request, .row = row_of(name), .pod_uid = xstrdup(p->uid)};
    c->id = ++last_id;
    g->commands = c;
    c->timer = env_timer(g->agent->env, PATIENCE_MS, on_timeout, c);
    http_later(request);
    if (c->row->paused == 0)
        ask(c, "query-migrate", on_copy_before);
    else
        ask(c, "query-status", on_state_before);
}

static void serve(void *userdata, const struct endpoint_call *call)
{
    struct pod *p = guest_pod(call);

    if (p)
        begin(userdata, p, call->what, call->request);
}

void command_press_button(struct guest_services *g, struct pod *p, struct http_request *request)
{
    begin(g, p, "softreboot", request);
}

const struct endpoint_route command_routes[] = {
    {"PUT", "vmis", "pause", CALLER_SERVER, serve},
    {"PUT", "vmis", "unpause", CALLER_SERVER, serve},
    {"PUT", "vmis", "reset", CALLER_SERVER, serve},
    {0},
};

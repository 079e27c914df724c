/* QEMU tells by VSERPORT_CHANGE that the guest opened or closed its port, at most once in a second; the truth is
 * query-chardev's frontend-open. After a migration the target's QEMU opens the port again behind the guest's first
 * instruction (virtio-serial's post-load timer), so a closed port of a guest that does not run says nothing. */
#include "agent/guest/talk.h"

#include <string.h>

#include "agent/qemu/command.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/unix.h"

#define SETTLE_MS 500 /* from the guest's first step to its port's state */
#define QUIET_FIRST_MS 5000
#define QUIET_MAX_MS 60000

static struct env *env_of(struct talk *t)
{
    return t->services->agent->env;
}

struct pod *talk_pod(struct talk *t)
{
    struct pod *p = agent_pod(t->services->agent, t->uid);

    return p && p->owner && p->qmp && p->step == POD_UP && p->has_channel ? p : NULL;
}

void talk_publish(struct talk *t)
{
    struct pod *p = talk_pod(t);

    if (!p || !t->known)
        return;
    json_set_bool(t->facts, "/connected", t->open);
    pod_set_guest(p, yyjson_mut_doc_imut_copy(t->facts, NULL));
}

/* --- The session --- */

static void quieten(struct talk *t)
{
    int64_t pause = QUIET_FIRST_MS << MIN(t->failures, 8u);

    t->failures++;
    t->quiet_until = env_now(env_of(t)) + MIN(pause, QUIET_MAX_MS);
}

static void on_closed(void *userdata, const char *why)
{
    struct talk *t = userdata;

    log_debug("pod %s: guest agent: %s", t->uid, why);
    t->session = ga_free(t->session);
    if (t->open)
        quieten(t);
    talk_schedule(t);
}

static int open_session(struct talk *t, struct pod *p, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" QEMU_GA_SOCKET, p->run_dir);
    int fd = unix_connect(path);

    if (fd < 0)
        return gw_error_errno(err, fd, "the guest agent's channel");
    return ga_new(t->services->agent->loop, fd, on_closed, t, &t->session, err);
}

/* The words of libvirt, which users of KubeVirt know. */
const char *talk_obstacle(struct talk *t)
{
    struct pod *p = agent_pod(t->services->agent, t->uid);

    if (p && !p->has_channel)
        return "the virtual machine was started without a channel for a guest agent; restart it to have one";
    if (!p || !talk_pod(t))
        return "QEMU does not answer";
    if (!t->runs && t->known)
        return "the virtual machine is paused";
    return t->open ? NULL : "QEMU guest agent is not connected";
}

void talk_ask(struct talk *t, const char *command, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply,
              void *userdata)
{
    const char *obstacle = talk_obstacle(t);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!obstacle && !t->session && open_session(t, talk_pod(t), &err) < 0)
        obstacle = gw_error_message(&err);
    if (obstacle) {
        yyjson_mut_doc_free(arguments);
        reply(userdata, NULL, &(struct ga_fault){GA_LOST, obstacle, false});
        return;
    }
    ga_command(t->session, command, arguments, patience_ms, reply, userdata);
}

/* --- Time --- */

static void look(struct talk *t);

static void on_time(void *userdata)
{
    struct talk *t = userdata;
    int64_t now = env_now(env_of(t));

    t->timer = NULL;
    if (t->look_ms && t->look_ms <= now) {
        t->look_ms = 0;
        look(t);
    }
    talk_schedule(t);
}

void talk_schedule(struct talk *t)
{
    int64_t now = env_now(env_of(t)), next = t->look_ms ? t->look_ms : INT64_MAX, due;

    if (t->known && !talk_obstacle(t)) {
        due = freeze_run(t, now);
        next = MIN(next, due);
        due = now < t->quiet_until ? t->quiet_until : polls_run(t, now);
        next = MIN(next, due);
    }
    env_timer_cancel(env_of(t), &t->timer);
    if (next != INT64_MAX)
        t->timer = env_timer(env_of(t), MAX(next - now, 0), on_time, t);
}

/* --- The port --- */

static void set_open(struct talk *t, bool open)
{
    bool changed = !t->known || open != t->open;

    t->known = true;
    t->open = open;
    if (!open && t->session)
        ga_end(t->session, "QEMU guest agent is not connected");
    if (changed && open) {
        polls_reset(t);
        t->failures = 0;
        t->quiet_until = 0;
    }
    talk_publish(t);
}

/* QEMU's answers may come when the pod is gone. */
struct question {
    struct guest_services *services;
    char uid[];
};

static void ask_qemu(struct talk *t, struct pod *p, const char *command, qmp_reply_fn reply)
{
    size_t size = strlen(t->uid) + 1;
    struct question *q = xmalloc(sizeof(*q) + size);

    q->services = t->services;
    memcpy(q->uid, t->uid, size);
    qmp_ask(p->qmp, command, reply, q);
}

static struct talk *asker(void *userdata)
{
    const struct question *q = userdata;

    return map_get(q->services->talks, q->uid);
}

static void on_status(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct talk *t = asker(userdata);

    if (t && result)
        t->runs = streq(json_str_or(result, "/status", ""), "running");
}

static void on_chardevs(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct talk *t = asker(userdata);
    yyjson_val *ours = json_find(result, "/label", QEMU_GA_CHARDEV);
    bool open = json_bool(ours, "/frontend-open", false);

    if (!t || !ours || !talk_pod(t))
        return;
    if (open || t->runs)
        set_open(t, open);
    talk_schedule(t);
}

static void look(struct talk *t)
{
    struct pod *p = talk_pod(t);

    if (!p)
        return;
    ask_qemu(t, p, "query-status", on_status);
    ask_qemu(t, p, "query-chardev", on_chardevs);
}

static void look_in(struct talk *t, int64_t ms)
{
    t->look_ms = env_now(env_of(t)) + ms;
    talk_schedule(t);
}

/* --- What happens --- */

void talk_attached(struct guest_services *g, struct pod *p)
{
    struct talk *t = p->has_channel ? talk_of(g, p) : NULL;

    if (!t)
        return;
    freeze_recall(t, p);
    look(t);
}

/* An agent that was replaced by another within a second is told by one event: whoever waits for the first one's answer
 * waits in vain. */
void talk_event(struct guest_services *g, struct pod *p, const char *name, yyjson_val *data)
{
    struct talk *t = map_get(g->talks, p->uid);

    if (!t)
        return;
    if (streq(name, "VSERPORT_CHANGE") && streq(json_str_or(data, "/id", ""), QEMU_GA_PORT)) {
        if (t->session)
            ga_end(t->session, "QEMU guest agent is not connected");
        look(t);
    } else if (streq(name, "STOP") || streq(name, "RESUME")) {
        t->runs = streq(name, "RESUME");
        look_in(t, SETTLE_MS);
    } else if (streq(name, "RESET")) {
        freeze_over(t);
    }
}

/* A target hears of its ownership by the VMI that names it. */
void talk_vmi_changed(struct guest_services *g, struct pod *p)
{
    struct talk *t = map_get(g->talks, p->uid);

    if (!t)
        return;
    freeze_recall(t, p);
    if (!t->known)
        look(t);
}

/* --- Life --- */

struct talk *talk_of(struct guest_services *g, struct pod *p)
{
    struct talk *t = map_get(g->talks, p->uid);

    if (t)
        return t;
    t = xnew(struct talk);
    t->services = g;
    t->uid = xstrdup(p->uid);
    t->facts = json_object();
    polls_reset(t);
    map_put(g->talks, p->uid, t);
    return t;
}

void talk_free(void *talk)
{
    struct talk *t = talk;

    env_timer_cancel(env_of(t), &t->timer);
    ga_free(t->session);
    yyjson_mut_doc_free(t->facts);
    free(t->uid);
    free(t);
}

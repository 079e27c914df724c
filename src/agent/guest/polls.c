/* What the guest's agent is asked for the VMI's status, and how often: the questions and times of KubeVirt's launcher
 * (its options --qemu-agent-*-interval). A refusal leaves what was known: a frozen guest's agent refuses most. */
#include "agent/guest/answers.h"
#include "agent/guest/talk.h"
#include "base/str.h"

#define FIRST_PAUSE_MS 10000

static void set_or_remove(struct talk *t, const char *path, yyjson_mut_val *value)
{
    if (value)
        json_set(t->facts, path, value);
    else
        json_remove(t->facts, path);
}

static void take_info(struct talk *t, yyjson_val *result)
{
    const char *why = answer_unsupported(result);

    set_or_remove(t, "/unsupported", why ? yyjson_mut_str(t->facts, why) : NULL);
}

static void take_os(struct talk *t, yyjson_val *result)
{
    set_or_remove(t, "/os", answer_os(t->facts, result));
}

static void take_interfaces(struct talk *t, yyjson_val *result)
{
    json_set(t->facts, "/interfaces", answer_interfaces(t->facts, result));
}

static void take_freeze(struct talk *t, yyjson_val *result)
{
    const char *status = yyjson_get_str(result);

    if (str_same(status, "frozen") || str_same(status, "thawed"))
        json_set_str(t->facts, "/freeze", status);
}

static const struct {
    const char *command;
    int64_t every_ms;
    void (*take)(struct talk *t, yyjson_val *result);
} table[POLLS] = {
    {"guest-info", 300000, take_info},
    {"guest-get-osinfo", 120000, take_os},
    {"guest-network-get-interfaces", 120000, take_interfaces},
    {"guest-fsfreeze-status", 5000, take_freeze},
};

int64_t poll_pause_ms(int64_t every_ms, unsigned round)
{
    int64_t pause = (int64_t)FIRST_PAUSE_MS << MIN(round, 16u);

    return MIN(pause, every_ms);
}

void polls_reset(struct talk *t)
{
    for (size_t i = 0; i < POLLS; i++) {
        t->polls[i].talk = t;
        t->polls[i].due_ms = 0;
        t->polls[i].rounds = 0;
    }
}

/* Facts are a tree that only grows, so it is made anew when an answer has come. */
static void renew(struct talk *t)
{
    yyjson_mut_doc *copy = yyjson_mut_doc_mut_copy(t->facts, NULL);

    yyjson_mut_doc_free(t->facts);
    t->facts = copy;
}

static void on_answer(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct poll *p = userdata;
    struct talk *t = p->talk;

    p->under_way = false;
    if (result) {
        t->failures = 0;
        table[p - t->polls].take(t, result);
        renew(t);
        talk_publish(t);
    }
    talk_schedule(t);
}

int64_t polls_run(struct talk *t, int64_t now)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < POLLS; i++) {
        struct poll *p = &t->polls[i];
        if (!p->under_way && p->due_ms <= now) {
            p->due_ms = now + poll_pause_ms(table[i].every_ms, p->rounds++);
            p->under_way = true;
            talk_ask(t, table[i].command, NULL, GA_PATIENCE_MS, on_answer, p);
        }
        next = MIN(next, p->due_ms);
    }
    return next;
}

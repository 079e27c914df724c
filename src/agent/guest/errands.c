/* GET /vmis/UID/guestosinfo, userlist, filesystemlist: the guest is asked when its users ask, and the answer has the
 * shape of KubeVirt's types. What the guest's agent refuses to tell (a frozen one refuses nearly all) is left out; one
 * that does not answer is said to. */
#include <string.h>

#include "agent/guest/answers.h"
#include "agent/guest/talk.h"
#include "base/alloc.h"
#include "base/str.h"

#define PATIENCE_MS 9000 /* the server's is 10 s */
#define ERRANDS_MAX 64

/* --- Requests --- */

static void on_timeout(void *userdata)
{
    struct errand *e = userdata;

    e->timer = NULL;
    errand_end(e, 500, NULL, "Guest agent is not responding: it takes too long");
}

struct errand *errand_new(struct talk *t, struct http_request *http)
{
    struct errand *e = xnew(struct errand);
    struct guest_services *g = t->services;

    e->talk = t;
    e->http = http;
    e->next = g->errands;
    g->errands = e;
    if (http) {
        e->timer = env_timer(g->agent->env, PATIENCE_MS, on_timeout, e);
        http_later(http);
    }
    return e;
}

static void errand_free(struct errand *e)
{
    struct errand **at = &e->talk->services->errands;

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    env_timer_cancel(e->talk->services->agent->env, &e->timer);
    yyjson_mut_doc_free(e->answer);
    free(e);
}

void errand_ask(struct errand *e, const char *command, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply)
{
    e->left++;
    talk_ask(e->talk, command, arguments, patience_ms, reply, e);
}

void errand_answered(struct errand *e)
{
    if (--e->left == 0 && e->over)
        errand_free(e);
}

/* --- Their ends --- */

struct http_request *errand_leave(struct errand *e)
{
    e->over = true;
    env_timer_cancel(e->talk->services->agent->env, &e->timer);
    return TAKE_PTR(e->http);
}

void errand_end(struct errand *e, int status, const char *type, const char *text)
{
    struct http_request *http = errand_leave(e);

    if (http && status == 200)
        http_answer_text(http, 200, type, text);
    else if (http)
        endpoint_refuse(http, status, "%s", text);
    if (http)
        http_send(http);
    if (e->left == 0)
        errand_free(e);
}

void errand_fail(struct errand *e, const char *doing, const struct ga_fault *fault)
{
    bool refused = fault->failure == GA_REFUSED;
    char why[200];
    _cleanup_free_ char *text =
        xasprintf("%s: %s: %s", doing, refused ? "the guest's agent refuses" : "Guest agent is not responding",
                  answer_clean(fault->text, why, sizeof(why)));

    errand_end(e, 500, NULL, text);
}

void errands_drop(struct guest_services *g, const struct talk *t)
{
    struct errand *next;

    for (struct errand *e = g->errands; e; e = next) {
        next = e->next;
        if (t && e->talk != t)
            continue;
        e->left = 0; /* its talk is silent from now on */
        if (!t)
            e->http = NULL; /* gone already, with the endpoint */
        errand_end(e, 503, NULL, "the guest is being handed over");
    }
}

static bool may_begin(struct guest_services *g, const struct endpoint_call *call)
{
    unsigned n = 0;

    for (struct errand *e = g->errands; e; e = e->next)
        n++;
    if (n < ERRANDS_MAX)
        return true;
    endpoint_refuse(call->request, 429, "%u requests wait for guest agents on node %s already", n,
                    g->agent->config.node);
    return false;
}

struct talk *errand_talk(struct guest_services *g, const struct endpoint_call *call)
{
    struct pod *p = guest_pod(call);

    return p && may_begin(g, call) ? talk_of(g, p) : NULL;
}

/* --- Facts --- */

static void put(struct errand *e, const char *path, yyjson_mut_val *value)
{
    if (value)
        json_set(e->answer, path, value);
}

static void take_info(struct errand *e, yyjson_val *result)
{
    put(e, "/guestAgentVersion", answer_text(e->answer, result, "/version"));
    put(e, "/supportedCommands", answer_commands(e->answer, result));
}

static void take_os(struct errand *e, yyjson_val *result)
{
    put(e, "/os", answer_os(e->answer, result));
}

static void take_hostname(struct errand *e, yyjson_val *result)
{
    put(e, "/hostname", answer_text(e->answer, result, "/host-name"));
}

static void take_timezone(struct errand *e, yyjson_val *result)
{
    put(e, "/timezone", answer_timezone(e->answer, result));
}

static void take_some_users(struct errand *e, yyjson_val *result)
{
    put(e, "/userList", answer_users(e->answer, result, ANSWER_BRIEF));
}

static void take_some_filesystems(struct errand *e, yyjson_val *result)
{
    put(e, "/fsInfo/disks", answer_filesystems(e->answer, result, ANSWER_BRIEF));
}

static void take_freeze(struct errand *e, yyjson_val *result)
{
    put(e, "/fsFreezeStatus", answer_text(e->answer, result, ""));
}

static void take_users(struct errand *e, yyjson_val *result)
{
    put(e, "/items", answer_users(e->answer, result, ANSWER_ALL));
}

static void take_filesystems(struct errand *e, yyjson_val *result)
{
    put(e, "/items", answer_filesystems(e->answer, result, ANSWER_ALL));
}

static const struct question {
    const char *what, *command;
    void (*take)(struct errand *e, yyjson_val *result);
} questions[] = {
    {"guestosinfo", "guest-info", take_info},
    {"guestosinfo", "guest-get-osinfo", take_os},
    {"guestosinfo", "guest-get-host-name", take_hostname},
    {"guestosinfo", "guest-get-timezone", take_timezone},
    {"guestosinfo", "guest-get-users", take_some_users},
    {"guestosinfo", "guest-get-fsinfo", take_some_filesystems},
    {"guestosinfo", "guest-fsfreeze-status", take_freeze},
    {"userlist", "guest-get-users", take_users},
    {"filesystemlist", "guest-get-fsinfo", take_filesystems},
};

/* Answers come in the order of the questions. */
static bool is_asked(const struct errand *e, const char *what)
{
    return e->at < ARRAY_SIZE(questions) && streq(questions[e->at].what, what);
}

static void finish(struct errand *e)
{
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(e->answer));

    errand_end(e, 200, "application/json", text);
}

static void on_answer(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;
    const struct question *q = &questions[e->at++];
    bool facts_of_many = streq(q->what, "guestosinfo");

    if (e->over)
        ;
    else if (result)
        q->take(e, result);
    else if (!facts_of_many || fault->failure != GA_REFUSED)
        errand_fail(e, q->command, fault);
    if (!e->over && !is_asked(e, q->what))
        finish(e);
    errand_answered(e);
}

/* The empty members are those that Go's encoding shows too. */
static void begin_answer(struct errand *e, const char *what)
{
    e->answer = json_object();
    if (streq(what, "guestosinfo"))
        json_set(e->answer, "/fsInfo/disks", yyjson_mut_null(e->answer));
    else
        json_set(e->answer, "/metadata", yyjson_mut_obj(e->answer));
    if (streq(what, "guestosinfo"))
        json_set(e->answer, "/os", yyjson_mut_obj(e->answer));
}

static void serve(void *userdata, const struct endpoint_call *call)
{
    struct talk *t = errand_talk(userdata, call);
    const char *obstacle = t ? talk_obstacle(t) : NULL;
    size_t i = 0;

    if (!t)
        return;
    if (obstacle) {
        endpoint_refuse(call->request, 409, "%s", t->open ? obstacle : "VMI does not have guest agent connected");
        return;
    }
    struct errand *e = errand_new(t, call->request);
    begin_answer(e, call->what);
    while (!streq(questions[i].what, call->what))
        i++;
    e->at = i;
    e->left = 1; /* it stays while it asks */
    for (; i < ARRAY_SIZE(questions) && streq(questions[i].what, call->what) && !e->over; i++)
        errand_ask(e, questions[i].command, NULL, GA_PATIENCE_MS, on_answer);
    errand_answered(e);
}

const struct endpoint_route facts_routes[] = {
    {"GET", "vmis", "guestosinfo", CALLER_SERVER, serve},
    {"GET", "vmis", "userlist", CALLER_SERVER, serve},
    {"GET", "vmis", "filesystemlist", CALLER_SERVER, serve},
    {0},
};

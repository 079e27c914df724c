/* Who has the guest may change while we ask: an agent that does not (any more, or yet) says so, and the VMI is read
 * again. */
#include "server/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/str.h"

#define VMIS "virtualmachineinstances"
#define SUBRESOURCES "subresources.kubevirt.io"
#define PATIENCE_MS 8000 /* a hand-over takes less */
#define AGAIN_MS 150

/* Texts and codes are KubeVirt's (virt-api's rest/subresource.go): clients show them and go by the codes. */
struct row {
    const char *name;
    const char *method; /* of the request to the agent */
    bool channel;
    enum gw_reason not_running; /* GW_BAD_REQUEST has virtctl wait for the guest */
    int paused;                 /* the VMI must (1) or must not (0) be paused; -1: no matter */
    const char *otherwise;
    enum { NO_BODY, DRY_RUN, TIMEOUT } body; /* may say dryRun; must say unfreezeTimeout */
    enum {
        AGENT_NO_MATTER,
        AGENT_NEEDED,
        AGENT_OR_ACPI, /* one of the two must hear of it */
    } agent;           /* in the guest */
};

#define NO_GUEST_AGENT "VMI does not have guest agent connected"

static const struct row rows[] = {
    {"pause", "PUT", false, GW_CONFLICT, 0, "VMI is already paused", DRY_RUN, AGENT_NO_MATTER},
    {"unpause", "PUT", false, GW_CONFLICT, 1, "VMI is not paused", DRY_RUN, AGENT_NO_MATTER},
    {"reset", "PUT", false, GW_CONFLICT, -1, NULL, DRY_RUN, AGENT_NO_MATTER},
    {"softreboot", "PUT", false, GW_CONFLICT, 0, "VMI is paused", DRY_RUN, AGENT_OR_ACPI},
    {"freeze", "PUT", false, GW_CONFLICT, -1, NULL, TIMEOUT, AGENT_NO_MATTER},
    {"unfreeze", "PUT", false, GW_CONFLICT, -1, NULL, NO_BODY, AGENT_NO_MATTER},
    {"console", "GET", true, GW_BAD_REQUEST, -1, NULL, NO_BODY, AGENT_NO_MATTER},
    {"portforward", "GET", true, GW_CONFLICT, 0, "VMI is paused", NO_BODY, AGENT_NO_MATTER},
    {"vnc", "GET", true, GW_BAD_REQUEST, -1, NULL, NO_BODY, AGENT_NO_MATTER},
    {"guestosinfo", "GET", false, GW_CONFLICT, -1, NULL, NO_BODY, AGENT_NEEDED},
    {"userlist", "GET", false, GW_CONFLICT, -1, NULL, NO_BODY, AGENT_NEEDED},
    {"filesystemlist", "GET", false, GW_CONFLICT, -1, NULL, NO_BODY, AGENT_NEEDED},
};

static const struct row *row_of(const char *name)
{
    size_t i = 0;

    while (!streq(rows[i].name, name))
        i++;
    return &rows[i];
}

/* --- Checks --- */

static int refuse(const char *name, enum gw_reason reason, const char *why, struct gw_error *err)
{
    if (reason == GW_CONFLICT) {
        gw_error_set(err, reason, "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"%s\": %s",
                     name, why);
        return -ECANCELED;
    }
    return gw_error_set(err, reason, "%s", why);
}

static int check_vmi(const struct row *row, yyjson_val *vmi, const char *name, struct gw_error *err)
{
    const char *phase = json_str_or(vmi, "/status/phase", "");
    bool paused = condition_true(vmi, "Paused");

    if (streq(row->name, "console") && streq(phase, "Failed"))
        return refuse(name, GW_CONFLICT, "VM is in failed status", err);
    if (streq(row->name, "console") && !json_bool(vmi, "/spec/domain/devices/autoattachSerialConsole", true))
        return refuse(name, GW_BAD_REQUEST, "No serial consoles are present.", err);
    if (streq(row->name, "vnc") && !json_bool(vmi, "/spec/domain/devices/autoattachGraphicsDevice", false))
        return refuse(name, GW_BAD_REQUEST, "No graphics devices are present.", err);
    if (!streq(phase, "Running"))
        return refuse(name, row->not_running, "VM is not running", err);
    if (row->agent && !condition_true(vmi, "AgentConnected") &&
        (row->agent == AGENT_NEEDED || !json_bool(vmi, "/spec/domain/features/acpi/enabled", true)))
        return refuse(name, GW_CONFLICT,
                      row->agent == AGENT_NEEDED ? "VMI does not have guest agent connected"
                                                 : "VMI neither have the agent connected nor the ACPI feature enabled",
                      err);
    if (row->paused >= 0 && paused != (row->paused == 1))
        return refuse(name, GW_CONFLICT, row->otherwise, err);
    if (streq(row->name, "pause") && json_at(vmi, "/spec/livenessProbe") &&
        !json_at(vmi, "/spec/livenessProbe/guestAgentPing"))
        return gw_error_set(
            err, GW_FORBIDDEN,
            "virtualmachineinstance.kubevirt.io \"%s\" is forbidden: Pausing VMIs with LivenessProbe is "
            "currently not supported",
            name);
    return 0;
}

/* The body may be empty; virtctl names no type of it. */
static int read_dry_run(const struct api_request *q, bool *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *item;
    int r = q->body_len ? json_parse(q->body, q->body_len, &doc, err) : 0;

    if (r < 0)
        return r;
    json_each(json_at(doc ? yyjson_doc_get_root(doc) : NULL, "/dryRun"), item) {
        if (!yyjson_equals_str(item, "All"))
            return gw_error_set(err, GW_BAD_REQUEST, "dryRun: supported is All");
        *ret = true;
    }
    return 0;
}

/* As KubeVirt's node agent refuses: without the field, though 0 is one. */
static int read_timeout(const struct api_request *q, int64_t *ret_s, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int64_t ms = 0;
    int r = q->body_len ? json_parse(q->body, q->body_len, &doc, err) : 0;
    const char *text = json_str(r == 0 && doc ? yyjson_doc_get_root(doc) : NULL, "/unfreezeTimeout");

    if (r == 0 && !text)
        r = gw_error_set(err, GW_BAD_REQUEST, "Unfreeze timeout in freeze request is not set (unfreezeTimeout)");
    r = r < 0 ? r : duration_parse(text, &ms, err);
    if (r == 0 && ms < 0)
        r = gw_error_set(err, GW_BAD_REQUEST, "unfreezeTimeout: \"%.40s\" is less than nothing", text);
    *ret_s = (ms + 999) / 1000;
    return r;
}

/* "/vmis/UID/portforward/22" of /portforward/22/tcp. NULL with err filled. */
static char *agent_path(const struct row *row, yyjson_val *vmi, const struct rest_target *t, int64_t timeout_s,
                        struct gw_error *err)
{
    const char *uid = meta_uid(vmi);
    char *end;

    if (row->body == TIMEOUT)
        return xasprintf("/vmis/%s/%s/%" PRId64, uid, row->name, timeout_s);
    if (!streq(row->name, "portforward"))
        return xasprintf("/vmis/%s/%s", uid, row->name);

    long n = strtol(t->below, &end, 10);

    if (n < 1 || n > 65535 || (*end && *end != '/'))
        gw_error_set(err, GW_BAD_REQUEST, "portforward/PORT[/tcp]: PORT is a number from 1 to 65535");
    else if (*end && !streq(end, "/tcp"))
        gw_error_set(err, GW_BAD_REQUEST, "portforward: protocol \"%s\" is not supported, only tcp is", end + 1);
    else
        return xasprintf("/vmis/%s/portforward/%ld", uid, n);
    return NULL;
}

/* --- Asking --- */

int guest_read(struct rest_server *s, const char *group, const char *plural, const char *ns, const char *name,
               yyjson_doc **ret, struct gw_error *err)
{
    return rest_read(s, kinds_find(s->kinds, group, NULL, plural), ns, name, ret, err);
}

int guest_refused(const struct agent_answer *answer, struct gw_error *err)
{
    enum gw_reason reason = gw_reason_from(NULL, answer->status);

    if (!reason || reason == GW_INTERNAL_ERROR)
        return gw_error_set(err, GW_INTERNAL_ERROR, "Internal error occurred: %s", answer->text);
    return gw_error_set(err, reason, "%s", answer->text);
}

static void sleep_ms(int64_t ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

struct request {
    struct rest_server *server;
    const struct rest_target *target;
    const struct row *row;
    bool dry_run;
    int64_t timeout_s;
    bool asked; /* an agent may have done it already */
};

/* 0: answered; 1: it may go better in a moment (err says why). */
static int ask_once(struct request *q, struct agent_answer *answer, struct gw_error *err)
{
    const struct rest_target *t = q->target;
    _cleanup_doc_ yyjson_doc *doc = NULL, *node = NULL;
    _cleanup_free_ char *path = NULL;
    int r = guest_read(q->server, "kubevirt.io", VMIS, t->namespace, t->name, &doc, err);

    if (r < 0)
        return r;

    yyjson_val *vmi = yyjson_doc_get_root(doc);

    r = check_vmi(q->row, vmi, t->name, err);
    if (r == -ECANCELED && q->asked && q->row->paused >= 0 && condition_true(vmi, "Paused") != (q->row->paused == 1)) {
        answer->status = 200; /* what we asked for has come to pass meanwhile */
        return 0;
    }
    path = r < 0 ? NULL : agent_path(q->row, vmi, t, q->timeout_s, err);
    if (!path)
        return r < 0 ? r : -EINVAL;
    if (q->dry_run) {
        answer->status = 200;
        return 0;
    }
    r = guest_read(q->server, "", "nodes", NULL, json_str_or(vmi, "/status/nodeName", ""), &node, err);
    r = r < 0 ? r
              : agents_ask(q->server->agents, yyjson_doc_get_root(node), q->row->method, path, q->row->channel, answer,
                           err);
    if (r < 0)
        return err->reason == GW_SERVICE_UNAVAILABLE ? 1 : r;
    if (answer->status == 200 || answer->status == 101)
        return 0;
    if (answer->status == 409)
        return refuse(t->name, GW_CONFLICT, answer->text, err);
    guest_refused(answer, err);
    q->asked = true;
    return answer->status == 404 || answer->status == 503 ? 1 : err->number;
}

static int ask(struct request *q, struct agent_answer *answer, struct gw_error *err)
{
    int64_t deadline = clock_monotonic_ms() + PATIENCE_MS;

    for (;;) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
        int r = ask_once(q, answer, &fault);

        if (r == 0)
            return 0;
        agent_answer_done(answer);
        if (r < 0 || clock_monotonic_ms() > deadline) {
            if (fault.reason == GW_NOT_FOUND && r > 0)
                fault.reason = GW_SERVICE_UNAVAILABLE; /* the VMI is there, its guest was not found */
            gw_error_move(err, &fault);
            return r < 0 ? r : -EAGAIN;
        }
        sleep_ms(AGAIN_MS);
    }
}

static bool waits_for_guest(const struct row *row)
{
    return row->agent == AGENT_NEEDED || row->body == TIMEOUT || streq(row->name, "unfreeze");
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    struct request request = {.server = s, .target = t, .row = row_of(t->subresource)};
    _cleanup_answer_ struct agent_answer answer = {0};
    const char *verb = streq(request.row->method, "GET") ? "get" : "update";
    int r = 0;

    if (!streq(t->verb, verb) || !t->name)
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (!s->agents)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "this server reaches no agents");
    if (request.row->body == DRY_RUN)
        r = read_dry_run(q, &request.dry_run, err);
    else if (request.row->body == TIMEOUT)
        r = read_timeout(q, &request.timeout_s, err);
    if (r == 0 && request.row->channel && (!q->upgrade || strcasecmp(q->upgrade, "websocket") != 0))
        r = gw_error_set(err, GW_BAD_REQUEST, "%s is a websocket: the request must ask for an upgrade", t->subresource);
    bool patient = r == 0 && waits_for_guest(request.row);
    r = patient ? agents_be_patient(s->agents, err) : r;
    if (r < 0)
        return r;
    r = ask(&request, &answer, err);
    if (patient)
        agents_heard(s->agents);
    if (r < 0)
        return r;
    if (answer.link)
        tunnel_offer(s->agents, TAKE_PTR(answer.link), response);
    else if (answer.text && *answer.text)
        api_response_json(response, 200, blob_text(answer.text));
    else
        response->status = 200;
    return 0;
}

#define IN_VERSION(v, on, what, verb, path_below) \
    { \
        .group = SUBRESOURCES, .version = v, .resource = on, .subresource = what, .kind = "VirtualMachineInstance", \
        .verbs = verb, .namespaced = true, .takes_below = path_below, .handle = handle \
    }
#define ROWS(...) IN_VERSION("v1", __VA_ARGS__), IN_VERSION("v1alpha3", __VA_ARGS__)

/* A VM's guest is its VMI of the same name. */
const struct rest_extra guest_extras[] = {
    ROWS(VMIS, "pause", "update", false),
    ROWS(VMIS, "unpause", "update", false),
    ROWS(VMIS, "reset", "update", false),
    ROWS(VMIS, "softreboot", "update", false),
    ROWS(VMIS, "freeze", "update", false),
    ROWS(VMIS, "unfreeze", "update", false),
    ROWS(VMIS, "console", "get", false),
    ROWS(VMIS, "vnc", "get", false),
    ROWS(VMIS, "guestosinfo", "get", false),
    ROWS(VMIS, "userlist", "get", false),
    ROWS(VMIS, "filesystemlist", "get", false),
    ROWS(VMIS, "portforward", "get", true),
    ROWS("virtualmachines", "portforward", "get", true),
    {0},
};

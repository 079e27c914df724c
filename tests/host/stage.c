#include "stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/migration/mover.h"
#include "agent/network/pod_network.h"
#include "api/patch.h"
#include "apiserver/ownership.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client_curl.h"
#include "http/http_server.h"

#define SERVER_DELAY_MS 3 /* of a write, as a real one syncs */

/* --- The API server, as far as it goes --- */

struct queued {
    struct queued *next;
    struct node *node; /* NULL: the controller */
    unsigned life;
    int64_t due_ms;
    yyjson_mut_doc *patch;
    void (*done)(void *userdata, const struct gw_error *err);
    void *userdata;
};

static struct node *node_of(struct pod *p)
{
    return (struct node *)((char *)p - offsetof(struct node, pod));
}

#define HOOKS(n, member, ...) \
    for (size_t h_ = 0; h_ < (n)->n_hooks; h_++) \
        if ((n)->hooks[h_]->member) \
    (n)->hooks[h_]->member((n)->hooks_data[h_], &(n)->pod __VA_OPT__(, ) __VA_ARGS__)

static void show(struct node *n)
{
    if (n->deaf)
        return;
    _cleanup_mut_doc_ yyjson_mut_doc *copy = json_copy(yyjson_doc_get_root(n->stage->vmi));

    yyjson_doc_free(n->pod.vmi);
    n->pod.vmi = yyjson_mut_doc_imut_copy(copy, NULL);
    if (n->services)
        HOOKS(n, vmi_changed);
}

/* Under the real rules; node NULL: a user, who may do all. */
static int apply(struct stage *s, struct node *n, yyjson_val *patch, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(s->vmi));
    const struct ownership o = {.node = n ? n->agent.config.node : NULL, .migration_trust = s->trust, .wall_ms = clock_wall_ms()};
    yyjson_doc *next;
    int r = patch_merge(d, patch, err);

    assert_int_equal(r, 0);
    next = yyjson_mut_doc_imut_copy(d, NULL);
    if (n && (r = ownership_check(&o, yyjson_doc_get_root(s->vmi), yyjson_doc_get_root(next), err)) < 0) {
        yyjson_doc_free(next);
        return r;
    }
    yyjson_doc_free(s->vmi);
    s->vmi = next;
    for (size_t i = 0; i < 2; i++)
        show(&s->nodes[i]);
    return 0;
}

static void queue(struct stage *s, struct node *n, yyjson_mut_doc *patch, void (*done)(void *, const struct gw_error *),
                  void *userdata)
{
    struct queued *q = xnew(struct queued), **end = &s->queue;

    *q = (struct queued){.node = n, .life = n ? n->life : 0, .due_ms = clock_monotonic_ms() + SERVER_DELAY_MS, .patch = patch,
                         .done = done, .userdata = userdata};
    while (*end)
        end = &(*end)->next;
    *end = q;
}

static void serve_one(struct stage *s)
{
    struct queued *q = s->queue;
    _cleanup_doc_ yyjson_doc *patch = yyjson_mut_doc_imut_copy(q->patch, NULL);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool alive = !q->node || (q->node->services && q->node->life == q->life);

    s->queue = q->next;
    int r = alive ? apply(s, q->node, yyjson_doc_get_root(patch), &err) : 0;
    if (r < 0)
        s->refusals++;
    if (alive && q->done)
        q->done(q->userdata, r < 0 ? &err : NULL);
    yyjson_mut_doc_free(q->patch);
    free(q);
}

void stage_patch(struct stage *s, const char *json)
{
    _cleanup_doc_ yyjson_doc *patch = NULL;

    assert_int_equal(json_parse(json, strlen(json), &patch, NULL), 0);
    assert_int_equal(apply(s, NULL, yyjson_doc_get_root(patch), NULL), 0);
}

static char *sign(struct stage *s, yyjson_val *csr)
{
    bool migration = streq(json_str_or(csr, "/spec/signerName", ""), "godwit.io/migration");
    const char *text = json_str(csr, "/spec/request");
    _cleanup_free_ char *pem = NULL, *cert = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};

    if (base64_decode(text, strlen(text), &pem, NULL) < 0 || pki_csr_read(pem, &info, NULL) < 0)
        return NULL;
    const char *sans[4] = {info.sans[0], info.n_sans > 1 ? info.sans[1] : NULL, NULL};
    struct pki_subject subject = {.cn = info.cn, .sans = sans};
    if (pki_issue(migration ? s->lab->ca : s->cluster_ca, pem, &subject, info.usages, 3600, &cert, NULL) < 0)
        return NULL;
    return base64_encode(cert, strlen(cert));
}

/* On a worker thread: certificates are made when they are asked for, and told by the GET, as if a signer had been by. */
static void on_request(struct http_request *r, void *userdata)
{
    static char *certificates[64];
    static char *names[64];
    static size_t n;
    struct stage *s = userdata;
    _cleanup_doc_ yyjson_doc *body = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *answer = json_object();
    const char *target = http_target(r), *name = strrchr(target, '/') + 1;
    size_t len;
    const char *text = http_body(r, &len);

    if (streq(http_method(r), "POST") && strstr(target, "certificatesigningrequests") && json_parse(text, len, &body, NULL) == 0) {
        names[n % 64] = xstrdup(json_str(yyjson_doc_get_root(body), "/metadata/name"));
        certificates[n++ % 64] = sign(s, yyjson_doc_get_root(body));
    } else if (streq(http_method(r), "GET")) {
        for (size_t i = 0; i < 64; i++)
            if (names[i] && streq(names[i], name))
                json_set_str(answer, "/status/certificate", certificates[i]);
    }
    _cleanup_free_ char *json = json_text(yyjson_mut_doc_get_root(answer));
    http_answer_text(r, s->server_dead ? 503 : 200, "application/json", json);
}

/* --- The core of the agents --- */

void agent_add_pod_hooks(struct agent *a, const struct pod_hooks *hooks, void *userdata)
{
    struct node *n = (struct node *)((char *)a - offsetof(struct node, agent));

    n->hooks[n->n_hooks] = hooks;
    n->hooks_data[n->n_hooks++] = userdata;
}

struct pod *agent_pod(struct agent *a, const char *uid)
{
    struct node *n = (struct node *)((char *)a - offsetof(struct node, agent));

    return streq(n->pod.uid, uid) ? &n->pod : NULL;
}

static int on_behind(sd_event_source *source, void *userdata)
{
    struct stage *s = userdata;
    void (*act)(struct stage *) = s->on_request;

    s->on_request = NULL;
    if (act)
        act(s);
    return 0;
}

/* Asked first of all by whoever serves a request; what it sends follows at once. */
struct pod *agent_vmi_pod(struct agent *a, const char *vmi_uid)
{
    struct node *n = (struct node *)((char *)a - offsetof(struct node, agent));

    if (n->stage->on_request)
        sd_event_add_defer(a->loop, NULL, on_behind, n->stage);
    return n->pod.owner && streq(n->pod.vmi_uid, vmi_uid) ? &n->pod : NULL;
}

void pod_set_guest(struct pod *p, yyjson_doc *doc)
{
    yyjson_doc_free(doc);
}

static void on_look(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct node *n = userdata;
    const char *state = json_str_or(result, "/status", "");

    if (streq(state, "paused"))
        n->pod.paused_reason = "PausedByUser";
    else if (streq(state, "running"))
        n->pod.paused_reason = NULL;
    if (n->pod.owner && result)
        stage_patch(n->stage, n->pod.paused_reason ? "{\"status\":{\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\"}]}}"
                                                   : "{\"status\":{\"conditions\":[]}}");
}

void pod_look(struct pod *p)
{
    if (p->qmp)
        qmp_command(p->qmp, "query-status", NULL, on_look, node_of(p));
}

struct pod *agent_target_pod(struct agent *a, const char *migration_uid)
{
    struct node *n = (struct node *)((char *)a - offsetof(struct node, agent));

    return str_same(n->pod.migration_uid, migration_uid) ? &n->pod : NULL;
}

int pod_set_owner(struct pod *p, bool owner, struct gw_error *err)
{
    p->owner = owner;
    return 0;
}

void pod_stop(struct pod *p, int grace_s)
{
    node_of(p)->stops = true;
}

void pod_quit(struct pod *p)
{
    node_of(p)->quits = true;
    p->step = POD_STOPPING;
    if (p->qmp)
        qmp_command(p->qmp, "quit", NULL, NULL, NULL);
}

void pod_finish(struct pod *p, bool succeeded, const char *reason, const char *message)
{
    struct node *n = node_of(p);

    assert_false(n->finished);
    n->finished = true;
    n->succeeded = succeeded;
    free(n->finish_reason);
    n->finish_reason = xstrdup(message);
}

void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
}

void pod_patch_vmi(struct pod *p, yyjson_mut_doc *patch, void (*done)(void *userdata, const struct gw_error *err), void *userdata)
{
    queue(node_of(p)->stage, node_of(p), patch, done, userdata);
}

/* The network is the stage here. */
static struct pod_network *network_of(struct network *network, const char *uid)
{
    struct stage *s = (struct stage *)network;

    return (struct pod_network *)s->nodes[streq(uid, s->nodes[1].pod.uid)].pod.network;
}

int pod_network_activate(struct network *n, const char *uid, int64_t epoch, struct gw_error *err)
{
    struct pod_network *p = network_of(n, uid);

    if (((struct stage *)n)->no_routes)
        return gw_error_set(err, GW_INTERNAL_ERROR, "no routes now");
    p->state = ADDRESS_ACTIVE;
    p->epoch = epoch;
    return 0;
}

int pod_network_forward(struct network *network, const char *uid, const char *target_node, struct gw_error *err)
{
    struct stage *s = (struct stage *)network;

    assert_string_equal(target_node, "node-b");
    network_of(network, uid)->state = ADDRESS_FORWARDING;
    if (s->on_forward)
        s->on_forward(s);
    return 0;
}

static void on_event(void *userdata, const char *name, yyjson_val *data, int64_t time_us)
{
    struct node *n = userdata;

    log_debug("%s: %s %s", n->pod.name, name, json_str_or(data, "/status", ""));
    if (n->services)
        HOOKS(n, event, name, data, time_us);
}

static void on_closed(void *userdata)
{
    ((struct node *)userdata)->pod.qmp = NULL;
}

static void notice_end(struct node *n)
{
    if (n->pod.step >= POD_ENDED || machine_lives(n->machine) || !n->services)
        return;
    n->pod.qmp = NULL;
    n->machine->qmp = qmp_free(n->machine->qmp);
    n->pod.step = POD_ENDED;
    n->pod.exit = (struct pod_exit){.known = true, .reason = n->quits ? "host-qmp-quit" : "crashed", .code = -1, .message = "it ended"};
    HOOKS(n, ended);
}

static void on_listening(void *userdata)
{
}

void node_start_agent(struct node *n)
{
    n->life++;
    n->finished = false; /* a pod that ended before is concluded again, and must come to the same */
    n->agent.endpoint = endpoint_new(&n->agent);
    n->guests = guest_start(&n->agent);
    assert_int_equal(migration_start(&n->agent, on_listening, n, &n->services, NULL), 0);
    show(n);
    if (machine_lives(n->machine)) {
        machine_reopen(n->machine);
        n->pod.qmp = n->machine->qmp;
        HOOKS(n, attached);
    } else {
        n->pod.step = POD_UP;
        notice_end(n);
    }
}

void node_kill_agent(struct node *n)
{
    if (!n->services)
        return;
    HOOKS(n, gone);
    n->agent.endpoint = endpoint_free(n->agent.endpoint);
    n->guests = guest_stop(n->guests);
    free(TAKE_PTR(n->agent.serving_pem)); /* of its memory */
    n->services = migration_stop(n->services);
    n->n_hooks = 0;
    n->pod.qmp = NULL;
    n->machine->qmp = qmp_free(n->machine->qmp);
}

void node_kill_qemu(struct node *n)
{
    machine_kill(n->machine);
}

bool node_stop(struct node *n)
{
    bool put_off = false;

    for (size_t i = 0; i < n->n_hooks; i++)
        put_off = put_off || (n->hooks[i]->stopping && n->hooks[i]->stopping(n->hooks_data[i], &n->pod));
    return put_off;
}

/* --- Requests of the API server --- */

static bool listens(void *data)
{
    return endpoint_port(((struct node *)data)->agent.endpoint) != 0;
}

static bool is_there(void *data)
{
    return fs_exists(data);
}

static void write_server_identity(struct stage *s)
{
    _cleanup_free_ char *cert = NULL, *path = xasprintf("%s/server.pem", s->lab->dir);
    _cleanup_key_ char *key = NULL;

    assert_int_equal(pki_issue_with_key(s->cluster_ca, &(struct pki_subject){.cn = ENDPOINT_SERVER_NAME}, PKI_CLIENT, 3600,
                                        &cert, &key, NULL), 0);
    _cleanup_free_ char *both = xasprintf("%s%s", cert, key);
    assert_int_equal(fs_write(path, both, strlen(both), 0600, NULL), 0);
}

int node_ask(struct node *n, const char *what)
{
    struct lab *l = n->stage->lab;
    _cleanup_free_ char *answer = xasprintf("%s/answer", l->dir), *command = NULL, *text = NULL;

    assert_true(lab_wait(l, 10, listens, n));
    write_server_identity(n->stage);
    command = xasprintf("(curl -sk -o /dev/null -w '%%{http_code}' --cert %s/server.pem -X PUT "
                        "https://127.0.0.1:%d/vmis/vmi-uid/%s >%s.new; mv %s.new %s) &",
                        l->dir, endpoint_port(n->agent.endpoint), what, answer, answer, answer);
    assert_int_equal(lab_run(command), 0);
    assert_true(lab_wait(l, 30, is_there, answer));
    assert_true(fs_read(answer, 0, &text, NULL, NULL) >= 0);
    unlink(answer);
    return atoi(text);
}

/* --- The play --- */

static void node_init(struct stage *s, size_t i, struct machine *m)
{
    struct node *n = &s->nodes[i];
    _cleanup_free_ char *cn = xasprintf("system:node:node-%c", (char)('a' + i)), *url = xasprintf("https://127.0.0.1:%d", s->server_port);
    const char *groups[] = {"system:nodes", NULL};

    n->stage = s;
    n->machine = m;
    m->on_event = on_event;
    m->on_closed = on_closed;
    m->userdata = n;
    n->agent.config.node = xasprintf("node-%c", (char)('a' + i));
    n->agent.config.address = xstrdup("127.0.0.1");
    n->agent.loop = s->lab->loop;
    n->agent.network = (struct network *)s;
    n->agent.cluster_ca = xstrdup(pki_ca_cert_pem(s->cluster_ca));
    n->agent.migration_ca = xstrdup(pki_ca_cert_pem(s->lab->ca));
    n->agent.migration_trust = s->trust;
    assert_int_equal(pki_issue_with_key(s->cluster_ca, &(struct pki_subject){.cn = cn, .o = groups}, PKI_CLIENT, 3600,
                                        &n->agent.cert_pem, &n->agent.key_pem, NULL), 0);
    struct client_config config = {.server = url, .ca = (char *)pki_ca_cert_pem(s->cluster_ca), .cert = n->agent.cert_pem, .key = n->agent.key_pem};
    assert_int_equal(client_curl_new(s->lab->loop, &config, &n->agent.client, NULL), 0);
    n->agent.env = env_sd_new(s->lab->loop, n->agent.client);
    n->pod = (struct pod){
        .agent = &n->agent,
        .uid = xasprintf("pod-uid-%zu", i),
        .ns = xstrdup("default"),
        .name = xasprintf("pod-%zu", i),
        .vmi_name = xstrdup("vm"),
        .vmi_uid = xstrdup("vmi-uid"),
        .migration_uid = i ? xstrdup("mig-uid") : NULL,
        .dir = xasprintf("%s/pod-%zu", s->lab->dir, i),
        .run_dir = xasprintf("%s/pod-%zu/run", s->lab->dir, i),
        .step = POD_UP,
        .owner = i == 0,
        .disks = m->disks,
        .memory = 64 << 20,
    };
    struct pod_network *network = xnew(struct pod_network);
    network->pod_address = xstrdup("127.0.0.1");
    network->state = i ? ADDRESS_HOLDING : ADDRESS_ACTIVE;
    n->pod.network = network;
    assert_int_equal(fs_mkdirs(n->pod.run_dir, 0700, NULL), 0);
}

static int on_pump(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct stage *s = userdata;

    while (s->queue && !s->server_dead && s->queue->due_ms <= clock_monotonic_ms())
        serve_one(s);
    for (size_t i = 0; i < 2; i++)
        notice_end(&s->nodes[i]);
    sd_event_source_set_time_relative(source, 1000);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void start_server(struct stage *s)
{
    const char *sans[] = {"127.0.0.1", NULL};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;

    assert_int_equal(pki_ca_new("cluster", 3600, &s->cluster_ca, NULL), 0);
    assert_int_equal(pki_issue_with_key(s->cluster_ca, &(struct pki_subject){.cn = "server", .sans = sans}, PKI_SERVER, 3600, &cert, &key, NULL), 0);
    const struct http_config config = {.address = "127.0.0.1", .cert_pem = cert, .key_pem = key, .handler = on_request, .userdata = s, .workers = 1};
    assert_int_equal(http_server_new(s->lab->loop, &config, &s->server, NULL), 0);
    s->server_port = http_server_port(s->server);
}

static void pause_guest(struct stage *s)
{
    yyjson_doc_free(machine_call(s->nodes[0].machine, "stop", NULL, NULL));
    s->nodes[0].machine->resumed = 0;
    s->nodes[0].pod.paused_reason = "PausedByUser";
    stage_patch(s, "{\"status\":{\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\"}]}}");
    for (size_t i = 0; i < 2; i++)
        s->nodes[i].pod.disks.items[0].shared = true; /* the machine's own */
}

static struct stage *stage_start(int64_t bandwidth, bool paused)
{
    static const char vmi[] =
        "{\"metadata\":{\"name\":\"vm\",\"namespace\":\"default\",\"uid\":\"vmi-uid\"},\"status\":{\"nodeName\":\"node-a\","
        "\"migrationState\":{\"migrationUid\":\"mig-uid\",\"sourceNode\":\"node-a\",\"sourcePod\":\"pod-0\",\"targetNode\":\"node-b\","
        "\"targetPod\":\"pod-1\",\"migrationConfiguration\":{},\"handover\":{\"epoch\":1}}}}";
    struct stage *s = xnew(struct stage);
    _cleanup_free_ char *limit =
        xasprintf("{\"status\":{\"migrationState\":{\"migrationConfiguration\":{\"bandwidthPerMigration\":\"%lld\"}}}}", (long long)bandwidth);

    s->lab = lab_new();
    assert_int_equal(pki_trust_new(pki_ca_cert_pem(s->lab->ca), &s->trust, NULL), 0);
    start_server(s);
    assert_int_equal(json_parse(vmi, strlen(vmi), &s->vmi, NULL), 0);
    node_init(s, 0, machine_start(s->lab, "source", false));
    node_init(s, 1, machine_start(s->lab, "target", true));
    lab_pass(s->lab, 1500); /* the guest boots */
    stage_patch(s, limit);
    if (paused)
        pause_guest(s);
    assert_true(sd_event_add_time_relative(s->lab->loop, &s->pump, CLOCK_MONOTONIC, 1000, 100, on_pump, s) >= 0);
    for (size_t i = 0; i < 2; i++)
        node_start_agent(&s->nodes[i]);
    return s;
}

struct stage *stage_new(int64_t bandwidth)
{
    return stage_start(bandwidth, false);
}

struct stage *stage_paused(int64_t bandwidth)
{
    return stage_start(bandwidth, true);
}

static void node_done(struct node *n)
{
    struct pod *p = &n->pod;
    struct pod_network *network = (struct pod_network *)p->network;

    node_kill_agent(n);
    api_client_free(n->agent.client);
    env_sd_free(n->agent.env);
    char *texts[] = {n->agent.config.node, n->agent.config.address, n->agent.cert_pem, n->agent.key_pem, n->agent.serving_pem, n->agent.cluster_ca, n->agent.migration_ca, n->finish_reason, p->uid, p->ns,
                     p->name, p->vmi_name, p->vmi_uid, p->migration_uid, p->dir, p->run_dir, network->pod_address};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(network);
    yyjson_doc_free(p->vmi);
}

void stage_free(struct stage *s)
{
    s->server_dead = false;
    for (size_t i = 0; i < 2; i++)
        node_done(&s->nodes[i]);
    while (s->queue)
        serve_one(s);
    sd_event_source_disable_unref(s->pump);
    http_server_free(s->server);
    pki_ca_free(s->cluster_ca);
    pki_trust_free(s->trust);
    yyjson_doc_free(s->vmi);
    lab_free(s->lab);
    free(s);
}

struct reach {
    struct stage *s;
    const char *state;
};

static const char *epoch_now(struct stage *s)
{
    struct epoch e;

    epoch_read(yyjson_doc_get_root(s->vmi), &e);
    return epoch_state_string(e.state);
}

static bool has_reached(void *data)
{
    struct reach *r = data;

    return streq(epoch_now(r->s), r->state);
}

bool stage_reaches(struct stage *s, const char *epoch_state, double seconds)
{
    struct reach r = {s, epoch_state};

    if (lab_wait(s->lab, seconds, has_reached, &r))
        return true;
    _cleanup_blob_ struct blob *text = json_encode_val(json_at(yyjson_doc_get_root(s->vmi), "/status"));
    print_message("epoch is %s, not %s: %s\n", epoch_now(s), epoch_state, text->data);
    return false;
}

static bool has_settled(void *data)
{
    struct stage *s = data;

    if (streq(epoch_now(s), "Claimed"))
        return s->nodes[0].finished;
    return streq(epoch_now(s), "Closed") && s->nodes[1].finished;
}

bool stage_settles(struct stage *s, double seconds)
{
    if (lab_wait(s->lab, seconds, has_settled, s))
        return true;
    _cleanup_blob_ struct blob *text = json_encode_val(json_at(yyjson_doc_get_root(s->vmi), "/status"));
    print_message("not settled: %s\n", text->data);
    return false;
}

const char *stage_text(struct stage *s, const char *path)
{
    return json_str_or(yyjson_doc_get_root(s->vmi), path, "");
}

#include "fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "client/informer.h"
#include "migration/source.h"
#include "migration/target.h"

#define STATE "/status/migrationState"

struct fleet {
    struct sim *s;
    struct env *env;
    struct fleet_config cfg;
    struct informer *pods, *vmis;
    struct map *members; /* pod uid -> struct member */
    struct map *runs;    /* VMI uid -> struct member that runs the guest */
    bool *cordoned;
    size_t lost, restarts;
};

/* A launcher pod and its QEMU. */
struct member {
    struct fleet *f;
    char *key, *uid, *name, *vmi_key, *vmi_uid;
    bool target;
    struct env_timer *timer;
    bool busy;            /* a write is under way */
    bool up;
    const char *end;      /* how it ended: told until the API knows */
    bool alive;           /* QEMU */
    enum waiting_state waiting;
    enum copy_state copy;
    int64_t copy_end, complete_since;
    bool credentials;
    /* noted durably */
    enum note note;
    int64_t epoch;
    bool proof;
    /* in the agent's memory */
    bool direct, cont_sent, given_up;
};

static bool chance(struct fleet *f, int per_mille)
{
    return per_mille && (int)(env_random(f->env) % 1000) < per_mille;
}

static int64_t between(struct fleet *f, int64_t from, int64_t to)
{
    return from + (int64_t)(env_random(f->env) % (uint64_t)(to - from + 1));
}

static void tick(void *userdata);

static void kick(struct member *m, int64_t ms)
{
    if (!m->timer)
        m->timer = env_timer(m->f->env, ms, tick, m);
}

static bool guest_runs(const struct member *m)
{
    return map_get(m->f->runs, m->vmi_uid) == m;
}

static void set_runs(struct member *m, bool runs)
{
    struct member *other = map_get(m->f->runs, m->vmi_uid);

    if (runs && other && other != m)
        fail_msg("%s runs in %s and in %s", m->vmi_key, other->name, m->name);
    if (runs)
        map_put(m->f->runs, m->vmi_uid, m);
    else if (other == m)
        map_remove(m->f->runs, m->vmi_uid);
}

static void kill_qemu(struct member *m)
{
    m->alive = false;
    m->waiting = WAITING_DEAD;
    set_runs(m, false);
}

/* --- writes --- */

static void written(void *userdata, struct api_answer *answer)
{
    struct member *m = userdata;

    m->busy = false;
    kick(m, answer->err ? between(m->f, 100, 1000) : between(m->f, 1, 20));
}

static yyjson_mut_doc *parse(const char *text)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0);

    assert_non_null(doc);
    return yyjson_doc_mut_copy(doc, NULL);
}

static void _printf_(2, 3) patch_pod(struct member *m, const char *fmt, ...)
{
    char ns[OBJECT_KEY_MAX], name[OBJECT_KEY_MAX], text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = parse(text);
    object_key_split(m->key, ns, name);
    m->busy = true;
    api_patch(m->f->env->client, &API_PODS, ns, name, "status", API_PATCH_MERGE, patch, written, m);
}

/* In the real system the server refuses what an agent writes for a past epoch; here the version does. */
static void patch_vmi(struct member *m, yyjson_val *vmi, yyjson_mut_doc *patch)
{
    json_set_str(patch, "/metadata/resourceVersion", meta_version(vmi));
    m->busy = true;
    api_patch(m->f->env->client, &API_VIRTUALMACHINEINSTANCES, meta_namespace(vmi), meta_name(vmi), NULL, API_PATCH_MERGE, patch,
              written, m);
    yyjson_mut_doc_free(patch);
}

static void _printf_(3, 4) patch_state(struct member *m, yyjson_val *vmi, const char *fmt, ...)
{
    char inner[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(inner, sizeof(inner), fmt, ap);
    va_end(ap);
    _cleanup_free_ char *text = xasprintf("{\"status\":{\"migrationState\":%s}}", inner);
    patch_vmi(m, vmi, parse(text));
}

static void end_vmi(struct member *m, yyjson_val *vmi, const char *phase)
{
    _cleanup_free_ char *text = xasprintf("{\"status\":{\"phase\":\"%s\"}}", phase);

    patch_vmi(m, vmi, parse(text));
}

static void finish(struct member *m, const char *phase)
{
    kill_qemu(m);
    m->end = phase;
    patch_pod(m, "{\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}", phase);
}

/* --- binding --- */

static void bind_pod(struct member *m)
{
    _cleanup_val_vec_ struct val_vec others = {0};
    char ns[OBJECT_KEY_MAX], name[OBJECT_KEY_MAX], node[16];

    int64_t pick = between(m->f, 0, m->f->cfg.nodes - 1);

    if (m->f->cordoned[pick]) {
        kick(m, 1);
        return;
    }
    informer_select(m->f->pods, INDEX_OWNER, m->vmi_uid, &others);
    snprintf(node, sizeof(node), "n%03d", (int)pick);
    VEC_EACH(&others, pod)
        if (streq(json_str_or(*pod, "/spec/nodeName", ""), node)) {
            kick(m, 1);
            return;
        }
    _cleanup_mut_doc_ yyjson_mut_doc *binding = json_object();
    json_set_str(binding, "/target/kind", "Node");
    json_set_str(binding, "/target/name", node);
    object_key_split(m->key, ns, name);
    m->busy = true;
    api_create_sub(m->f->env->client, &API_PODS, ns, name, "binding", binding, written, m);
}

/* --- the source --- */

static struct member *target_of(struct member *m, const struct epoch *e)
{
    _cleanup_val_vec_ struct val_vec pods = {0};

    informer_select(m->f->pods, INDEX_OWNER, m->vmi_uid, &pods);
    VEC_EACH(&pods, pod)
        if (str_same(meta_name(*pod), e->target_pod))
            return map_get(m->f->members, meta_uid(*pod));
    return NULL;
}

/* The end of a copy, one way or the other. */
static void end_copy(struct member *m, const struct epoch *e)
{
    struct member *to = target_of(m, e);
    bool listens = to && to->alive && to->waiting == WAITING_LISTENING && to->epoch == e->number;

    if (listens && chance(m->f, m->f->cfg.target_dies)) {
        kill_qemu(to);
        listens = false;
    }
    if (chance(m->f, m->f->cfg.source_dies)) {
        m->f->lost++;
        kill_qemu(m);
        return;
    }
    if (!listens || chance(m->f, m->f->cfg.copy_fails)) {
        m->copy = COPY_FAILED;
        return;
    }
    m->copy = COPY_COMPLETED;
    set_runs(m, false);
    to->waiting = WAITING_COMPLETE;
    to->complete_since = env_now(m->f->env);
    kick(to, between(m->f, 1, 50));
}

static void send_grant(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    struct member *to = target_of(m, e);

    if (to && to->epoch == e->number && chance(m->f, 500)) { /* the direct way */
        to->direct = true;
        kick(to, between(m->f, 1, 50));
    }
    if (e->state == EPOCH_OPEN)
        patch_state(m, vmi, "{\"handover\":{\"grant\":{\"epoch\":%lld,\"by\":\"Source\",\"node\":\"%s\"}},\"progress\":{\"percent\":100,"
                    "\"totalTimeMs\":1000,\"downtimeMs\":30}}", (long long)e->number, e->target_node);
    else
        kick(m, 500);
}

static void source_over(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    if (m->alive || m->end)
        return;
    if (e->state == EPOCH_CLAIMED)
        finish(m, "Succeeded");
    else if (!streq(json_str_or(vmi, "/status/phase", ""), "Failed"))
        end_vmi(m, vmi, "Failed");
    else
        finish(m, "Failed");
}

/* False if there is nothing to do for this epoch. */
static bool act_as_source(struct member *m, yyjson_val *vmi, const struct epoch *e)
{
    yyjson_val *state = json_at(vmi, STATE);
    struct source_view v = {
        .note = m->note, .epoch = e->state, .copy = m->copy, .qemu_alive = m->alive, .guest_runs = guest_runs(m),
        .target_ready = json_at(state, "/targetNodeAddress") != NULL, .credentials = m->credentials,
        .start_recorded = json_at(state, "/startTimestamp") != NULL, .figures_recorded = json_at(state, "/progress/totalTimeMs") != NULL,
        .close_recorded = e->state == EPOCH_CLOSED, .abort_requested = e->abort_requested, .withdrawn = e->withdrawn,
        .given_up = m->given_up,
    };

    if (m->copy == COPY_ACTIVE && env_now(m->f->env) >= m->copy_end) {
        end_copy(m, e);
        kick(m, 1);
        return true;
    }
    switch (source_next(&v)) {
    case SOURCE_NOTE_OPEN:
        m->note = NOTE_OPEN;
        break;
    case SOURCE_GET_CREDENTIALS:
        m->credentials = true;
        break;
    case SOURCE_RECORD_START:
        patch_state(m, vmi, "{\"startTimestamp\":\"2025-12-01T00:00:00Z\",\"mode\":\"PreCopy\"}");
        return true;
    case SOURCE_COPY_MEMORY:
        m->copy = COPY_ACTIVE;
        m->copy_end = env_now(m->f->env) + between(m->f, m->f->cfg.copy_ms[0], m->f->cfg.copy_ms[1]);
        kick(m, m->copy_end - env_now(m->f->env));
        return true;
    case SOURCE_CANCEL:
        m->copy = COPY_FAILED;
        break;
    case SOURCE_NOTE_GRANTED:
        m->note = NOTE_GRANTED;
        break;
    case SOURCE_SEND_GRANT:
        send_grant(m, vmi, e);
        return true;
    case SOURCE_NOTE_CLOSED:
        m->note = NOTE_CLOSED;
        break;
    case SOURCE_TAKE_BACK:
        set_runs(m, true);
        break;
    case SOURCE_RECORD_CLOSE:
        patch_state(m, vmi, "{\"completed\":true,\"failed\":true,\"failureReason\":\"the copy failed\",\"endTimestamp\":"
                    "\"2025-12-01T00:00:00Z\"}");
        return true;
    case SOURCE_REQUEST_RETURN:
        patch_state(m, vmi, "{\"handover\":{\"withdraw\":{\"by\":\"Source\"}}}");
        return true;
    case SOURCE_RECORD_FIGURES:
        patch_state(m, vmi, "{\"progress\":{\"percent\":100,\"totalTimeMs\":1000,\"downtimeMs\":30}}");
        return true;
    case SOURCE_QUIT:
        kill_qemu(m);
        break;
    case SOURCE_DONE:
        source_over(m, vmi, e);
        return !m->alive;
    default:
        return true;
    }
    kick(m, between(m->f, 1, 20));
    return true;
}

/* --- the target --- */

static bool act_as_target(struct member *m, yyjson_val *vmi, yyjson_val *pod, const struct epoch *e)
{
    yyjson_val *state = json_at(vmi, STATE);
    struct target_view v = {
        .note = m->note, .epoch = e->state, .qemu = guest_runs(m) ? WAITING_RUNS : m->waiting,
        .direct_grant = m->direct || m->proof, .credentials = m->credentials,
        .published = json_at(state, "/targetNodeAddress") != NULL, .withdrawn = e->withdrawn || meta_deleting(pod),
        .received_told = e->received, .cont_sent = m->cont_sent,
        .complete_ms = m->waiting == WAITING_COMPLETE ? env_now(m->f->env) - m->complete_since : -1,
    };

    switch (target_next(&v)) {
    case TARGET_NOTE_PREPARED:
        m->note = NOTE_PREPARED;
        break;
    case TARGET_GET_CREDENTIALS:
        m->credentials = true;
        break;
    case TARGET_LISTEN:
        m->waiting = WAITING_LISTENING;
        break;
    case TARGET_PUBLISH:
        patch_state(m, vmi, "{\"targetNodeAddress\":\"10.0.0.9\",\"targetDirectMigrationNodePorts\":{\"49152\":49152},"
                    "\"targetNodeDomainDetected\":true}");
        return true;
    case TARGET_NOTE_CLAIMED:
        m->note = NOTE_CLAIMED;
        m->proof = m->direct;
        m->cont_sent = false;
        break;
    case TARGET_RUN:
        set_runs(m, true);
        m->cont_sent = true;
        m->waiting = WAITING_RUNS;
        break;
    case TARGET_RECORD_CLAIM: /* nodeName lies beside migrationState */
        patch_state(m, vmi, "{\"handover\":{\"claim\":{\"epoch\":%lld,\"node\":\"%s\"}},\"completed\":true,\"endTimestamp\":"
                    "\"2025-12-01T00:00:00Z\"},\"nodeName\":\"%s\",\"evacuationNodeName\":null", (long long)e->number, e->target_node,
                    e->target_node);
        return true;
    case TARGET_TELL_RECEIVED:
        patch_state(m, vmi, "{\"handover\":{\"received\":{\"epoch\":%lld}}}", (long long)e->number);
        return true;
    case TARGET_NOTE_DESTROYED:
        m->note = NOTE_DESTROYED;
        break;
    case TARGET_DESTROY:
        kill_qemu(m);
        break;
    case TARGET_RETURN:
        patch_state(m, vmi, "{\"handover\":{\"returned\":{\"epoch\":%lld}}}", (long long)e->number);
        return true;
    case TARGET_DONE:
        if (m->note != NOTE_CLAIMED && !m->end)
            finish(m, "Failed");
        return m->note != NOTE_CLAIMED;
    default:
        kick(m, 500); /* the two seconds after which a complete target speaks up */
        return true;
    }
    kick(m, between(m->f, 1, 20));
    return true;
}

/* --- a pod's life --- */

static void tell_running(struct member *m)
{
    patch_pod(m, "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
}

static void start_pod(struct member *m)
{
    if (m->target && chance(m->f, m->f->cfg.target_fails)) {
        finish(m, "Failed");
        return;
    }
    m->up = m->alive = true;
    m->waiting = WAITING_IDLE;
    tell_running(m);
}

/* The first pod of a VM starts its guest. True if it had to. */
static bool start_guest(struct member *m, yyjson_val *vmi, yyjson_val *pod)
{
    if (m->target || streq(json_str_or(vmi, "/status/phase", ""), "Running") || !streq(json_str_or(vmi, "/status/phase", ""), "Scheduling"))
        return false;
    set_runs(m, true);
    yyjson_mut_doc *patch = parse("{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},"
                                  "{\"type\":\"LiveMigratable\",\"status\":\"True\"}]}}");
    json_set_str(patch, "/status/nodeName", json_str(pod, "/spec/nodeName"));
    patch_vmi(m, vmi, patch);
    return true;
}

static void forget_memory(struct member *m)
{
    m->f->restarts++;
    m->direct = m->given_up = false;
    m->cont_sent = m->note == NOTE_CLAIMED;
}

static void begin_epoch(struct member *m, const struct epoch *e)
{
    m->epoch = e->number;
    m->note = NOTE_NONE;
    m->credentials = m->proof = m->direct = m->cont_sent = m->given_up = false;
    m->copy = COPY_NONE;
}

/* True if a migration has something to do with the pod. */
static bool migrate(struct member *m, yyjson_val *vmi, yyjson_val *pod)
{
    struct epoch e;

    epoch_read(vmi, &e);
    bool source = e.number && e.source_pod && streq(e.source_pod, m->name);
    bool target = e.number && e.target_pod && streq(e.target_pod, m->name);
    if ((!source && !target) || (epoch_settled(e.state) && m->epoch != e.number))
        return false;
    if (m->epoch != e.number)
        begin_epoch(m, &e);
    if (source && meta_deleting(pod) && !epoch_settled(e.state))
        m->given_up = true;
    return source ? act_as_source(m, vmi, &e) : act_as_target(m, vmi, pod, &e);
}

static void deleted(void *userdata, struct api_answer *answer)
{
    written(userdata, answer);
}

static void look(struct member *m, yyjson_val *pod)
{
    yyjson_val *vmi = informer_get(m->f->vmis, m->vmi_key);

    if (!json_str(pod, "/spec/nodeName")) {
        bind_pod(m);
    } else if (m->end && !streq(json_str_or(pod, "/status/phase", ""), m->end)) {
        finish(m, m->end);
    } else if (m->end) {
        if (!meta_deleting(pod))
            return;
        m->busy = true;
        api_delete_now(m->f->env->client, &API_PODS, meta_namespace(pod), m->name, m->uid, deleted, m);
    } else if (!m->up) {
        if (meta_deleting(pod))
            finish(m, "Failed");
        else
            start_pod(m);
    } else if (streq(json_str_or(pod, "/status/phase", ""), "Pending")) {
        tell_running(m);
    } else if (!vmi || !streq(meta_uid(vmi), m->vmi_uid)) {
        finish(m, "Failed");
    } else {
        if (chance(m->f, m->f->cfg.agent_restarts))
            forget_memory(m);
        if (!migrate(m, vmi, pod) && !start_guest(m, vmi, pod) && meta_deleting(pod))
            finish(m, "Succeeded");
    }
}

static void tick(void *userdata)
{
    struct member *m = userdata;
    yyjson_val *pod = informer_get(m->f->pods, m->key);

    m->timer = NULL;
    if (!pod || !streq(meta_uid(pod), m->uid)) {
        kill_qemu(m);
        return;
    }
    if (!m->busy)
        look(m, pod);
}

/* --- what it hears --- */

static void member_free(void *p)
{
    struct member *m = p;

    env_timer_cancel(m->f->env, &m->timer);
    free(m->key);
    free(m->uid);
    free(m->name);
    free(m->vmi_key);
    free(m->vmi_uid);
    free(m);
}

static void on_pod(void *userdata, const char *key, yyjson_val *old, yyjson_val *pod)
{
    struct fleet *f = userdata;
    struct member *m = map_get(f->members, meta_uid(pod ? pod : old));
    yyjson_val *owner = meta_controller(pod);

    if (!m && pod) {
        m = xnew(struct member);
        *m = (struct member){.f = f, .key = xstrdup(key), .uid = xstrdup(meta_uid(pod)), .name = xstrdup(meta_name(pod)),
                             .vmi_key = xasprintf("%s/%s", meta_namespace(pod), json_str_or(owner, "/name", "")),
                             .vmi_uid = xstrdup(json_str_or(owner, "/uid", "")),
                             .target = meta_label(pod, "kubevirt.io/migrationJobUID") != NULL};
        map_put(f->members, m->uid, m);
    }
    if (m)
        kick(m, between(f, 10, 200));
}

static void on_vmi(void *userdata, const char *key, yyjson_val *old, yyjson_val *vmi)
{
    struct fleet *f = userdata;
    _cleanup_val_vec_ struct val_vec pods = {0};

    informer_select(f->pods, INDEX_OWNER, meta_uid(vmi ? vmi : old), &pods);
    VEC_EACH(&pods, pod) {
        struct member *m = map_get(f->members, meta_uid(*pod));
        if (m)
            kick(m, between(f, 1, 30));
    }
}

static void make_nodes(struct fleet *f)
{
    for (int i = 0; i < f->cfg.nodes; i++) {
        _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"n%03d\",\"labels\":{\"cpu-vendor.node.kubevirt.io/Intel\":\"true\"}}}", i);
        _cleanup_free_ char *status = xasprintf("/api/v1/nodes/n%03d/status", i);
        sim_post(f->s, "/api/v1/nodes", body);
        sim_patch(f->s, status, "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    }
}

void fleet_cordon(struct fleet *f, int node, bool on)
{
    _cleanup_free_ char *target = xasprintf("/api/v1/nodes/n%03d", node);

    f->cordoned[node] = on;
    sim_patch(f->s, target, on ? "{\"spec\":{\"unschedulable\":true}}" : "{\"spec\":{\"unschedulable\":null}}");
}

struct fleet *fleet_new(struct sim *s, const struct fleet_config *cfg)
{
    static const char *const of_pods[] = {"/spec/nodeName", "/status/phase", NULL}, *const of_vmis[] = {"/status", NULL};
    struct fleet *f = xnew(struct fleet);

    f->s = s;
    f->cfg = *cfg;
    f->env = sim_process(s, "agents", "system:masters");
    f->members = map_new(member_free);
    f->runs = map_new(NULL);
    f->cordoned = xcalloc((size_t)cfg->nodes, sizeof(bool));
    make_nodes(f);
    f->pods = informer_new(f->env, &(struct informer_config){.resource = &API_PODS, .keep = of_pods});
    f->vmis = informer_new(f->env, &(struct informer_config){.resource = &API_VIRTUALMACHINEINSTANCES, .keep = of_vmis});
    informer_add_handler(f->pods, on_pod, f);
    informer_add_handler(f->vmis, on_vmi, f);
    return f;
}

struct fleet *fleet_free(struct fleet *f)
{
    informer_free(f->pods);
    informer_free(f->vmis);
    map_free(f->members);
    map_free(f->runs);
    sim_process_end(f->env);
    free(f->cordoned);
    free(f);
    return NULL;
}

size_t fleet_running(const struct fleet *f)
{
    return map_len(f->runs);
}

size_t fleet_lost(const struct fleet *f)
{
    return f->lost;
}

size_t fleet_restarts(const struct fleet *f)
{
    return f->restarts;
}

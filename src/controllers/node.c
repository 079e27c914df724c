/* The life of nodes: heartbeats, taints, addresses, fencing.
 *
 * A node's agent renews its Lease; the controller notes when it saw that happen, by its own clock, and after 40 s
 * without one sets Ready to Unknown and the taint node.kubernetes.io/unreachable. Nothing else happens to a silent
 * node: its guests may well be running, and a second copy must not be started (docs/handover.md, section 6). Only when
 * an operator or a fencing hook declares it dead, with the taint node.kubernetes.io/out-of-service, its pods are marked
 * Failed, upon which their controllers act.
 *
 * The instants of renewal are this process's memory: a new leader gives every node a fresh grace period. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "controllers/node.h"
#include "controllers/addresses.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"

#define LEASE_NS "kube-node-lease"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"
#define TAINT_NOT_READY "node.kubernetes.io/not-ready"
#define TAINT_CORDONED "node.kubernetes.io/unschedulable"
#define REASON_SILENT "NodeStatusUnknown"

#define DEFAULT_CIDR NODES_CIDR
#define DEFAULT_MASK 24
#define DEFAULT_GRACE_MS 40000

static const struct node_options *options_of(struct task *t)
{
    static const struct node_options defaults = {DEFAULT_CIDR, DEFAULT_MASK, DEFAULT_GRACE_MS};

    return task_options(t) ? task_options(t) : &defaults;
}

/* --- heartbeats --- */

/* When a node's lease was last seen to change. */
struct pulse {
    char *renewed; /* spec.renewTime then */
    int64_t seen_ms;
};

static void pulse_free(void *p)
{
    free(((struct pulse *)p)->renewed);
    free(p);
}

static void *start(_unused_ struct env *env)
{
    return map_new(pulse_free);
}

static void stop(void *state)
{
    map_free(state);
}

/* Milliseconds since the last sign of life. */
static int64_t silence(struct task *t, const char *node)
{
    yyjson_val *lease = task_get_ns(t, &API_LEASES, LEASE_NS, node);
    const char *renewed = json_str_or(lease, "/spec/renewTime", "");
    struct pulse *p = map_get(task_state(t), node);

    if (!p) {
        p = xnew(struct pulse);
        map_put(task_state(t), node, p);
    }
    if (!p->renewed || !streq(p->renewed, renewed)) {
        free(p->renewed);
        p->renewed = xstrdup(renewed);
        p->seen_ms = task_now_ms(t);
    }
    return task_now_ms(t) - p->seen_ms;
}

/* --- taints --- */

static yyjson_val *find_taint(yyjson_val *node, const char *key, const char *effect)
{
    yyjson_val *taint;

    json_each(json_at(node, "/spec/taints"), taint)
        if (streq(json_str_or(taint, "/key", ""), key) && (!effect || streq(json_str_or(taint, "/effect", ""), effect)))
            return taint;
    return NULL;
}

struct wanted {
    const char *key, *effect;
    bool there;
};

static bool is_wanted(const struct wanted *w, size_t n, yyjson_val *taint)
{
    for (size_t i = 0; i < n; i++)
        if (streq(json_str_or(taint, "/key", ""), w[i].key) && streq(json_str_or(taint, "/effect", ""), w[i].effect))
            return w[i].there;
    return true; /* others' taints stay */
}

/* Puts the taints into the patch if they are to change. */
static bool patch_taints(yyjson_mut_doc *patch, yyjson_val *node, const struct wanted *w, size_t n, const char *now)
{
    yyjson_mut_val *list = yyjson_mut_arr(patch);
    bool changed = false;
    yyjson_val *taint;
    size_t i;

    json_each_at(json_at(node, "/spec/taints"), i, taint) {
        if (is_wanted(w, n, taint))
            yyjson_mut_arr_append(list, yyjson_val_mut_copy(patch, taint));
        else
            changed = true;
    }
    for (i = 0; i < n; i++) {
        if (!w[i].there || find_taint(node, w[i].key, w[i].effect))
            continue;
        yyjson_mut_val *t = yyjson_mut_arr_add_obj(patch, list);
        yyjson_mut_obj_add_str(patch, t, "key", w[i].key);
        yyjson_mut_obj_add_str(patch, t, "effect", w[i].effect);
        yyjson_mut_obj_add_strcpy(patch, t, "timeAdded", now);
        changed = true;
    }
    if (changed)
        json_set(patch, "/spec/taints", list);
    return changed;
}

static void sync_taints(struct task *t, yyjson_val *node, bool silent)
{
    bool ready = condition_true(node, "Ready");
    const struct wanted wanted[] = {
        {TAINT_UNREACHABLE, "NoSchedule", silent},
        {TAINT_UNREACHABLE, "NoExecute", silent},
        {TAINT_NOT_READY, "NoSchedule", !silent && !ready},
        {TAINT_CORDONED, "NoSchedule", json_bool(node, "/spec/unschedulable", false)},
    };
    yyjson_mut_doc *patch = json_object();
    char now[CLOCK_TEXT_MAX];

    if (patch_taints(patch, node, wanted, ARRAY_SIZE(wanted), clock_format(task_wall_ms(t), now)))
        task_patch(t, &API_NODES, node, NULL, true, patch);
    else
        yyjson_mut_doc_free(patch);
}

/* --- condition Ready --- */

static void set_ready(struct task *t, yyjson_val *node, const char *status, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    if (patch_condition(patch, node, "Ready", status, reason, message, task_wall_ms(t)))
        task_patch(t, &API_NODES, node, "status", true, patch);
    else
        yyjson_mut_doc_free(patch);
}

/* Only a node that was Ready becomes Unknown, so that it can be Ready again as soon as it is heard of; one that
 * reported a fault keeps it. */
static void sync_ready(struct task *t, yyjson_val *node, bool silent)
{
    yyjson_val *ready = condition_find(node, "Ready");
    bool ours =
        streq(json_str_or(ready, "/status", ""), "Unknown") && streq(json_str_or(ready, "/reason", ""), REASON_SILENT);

    if (silent && condition_true(node, "Ready")) {
        set_ready(t, node, "Unknown", REASON_SILENT, "The agent of this node has stopped renewing its lease.");
        task_event(t, node, EVENT_WARNING, "NodeNotReady", "Node %s status is now: NodeNotReady", meta_name(node));
    } else if (!silent && ours) {
        set_ready(t, node, "True", "AgentReady", "The agent of this node renews its lease again.");
        task_event(t, node, EVENT_NORMAL, "NodeReady", "Node %s status is now: NodeReady", meta_name(node));
    }
}

/* --- addresses --- */

static bool parse_cidr(const char *text, uint32_t *ret_address, int *ret_mask)
{
    const char *slash = strchr(text, '/');
    _cleanup_free_ char *address = slash ? xstrndup(text, (size_t)(slash - text)) : NULL;
    struct in_addr in;

    if (!slash || inet_pton(AF_INET, address, &in) != 1)
        return false;
    *ret_address = ntohl(in.s_addr);
    *ret_mask = atoi(slash + 1);
    return *ret_mask > 0 && *ret_mask <= 32;
}

static char *format_cidr(uint32_t address, int mask)
{
    struct in_addr in = {.s_addr = htonl(address)};
    char text[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &in, text, sizeof(text));
    return xasprintf("%s/%d", text, mask);
}

/* Marks in used (a byte for each range of the cluster) the one that holds the address. */
static void mark(char *used, size_t n, uint32_t base, int mask, uint32_t address)
{
    size_t at = (address - base) >> (32 - mask);

    if (address >= base && at < n)
        used[at] = 1;
}

struct ranges {
    char *used;
    size_t n;
    uint32_t base;
    int mask;
};

static void mark_address(void *userdata, _unused_ const char *key, yyjson_val *vmi)
{
    const struct ranges *r = userdata;
    const char *text = meta_annotation(vmi, "godwit.io/pod-address");
    struct in_addr in;

    if (text && inet_pton(AF_INET, text, &in) == 1)
        mark(r->used, r->n, r->base, r->mask, ntohl(in.s_addr));
}

/* Ranges of nodes, and ranges in which a VM's address still lives although the node it was made on is gone. */
static void mark_all(struct task *t, char *used, size_t n, uint32_t base, int mask)
{
    struct ranges ranges = {used, n, base, mask};
    yyjson_val *obj;
    uint32_t address;
    int ignored;

    for (size_t at = 0; informer_next(task_informer(t, &API_NODES), &at, NULL, &obj);)
        if (parse_cidr(json_str_or(obj, "/spec/podCIDR", ""), &address, &ignored))
            mark(used, n, base, mask, address);
    informer_each(task_informer(t, &API_VIRTUALMACHINEINSTANCES), mark_address, &ranges);
}

static void give_range(struct task *t, yyjson_val *node)
{
    const struct node_options *o = options_of(t);
    uint32_t base;
    int cluster_mask;

    if (*json_str_or(node, "/spec/podCIDR", ""))
        return;
    if (!parse_cidr(o->cluster_cidr, &base, &cluster_mask) || cluster_mask > o->node_mask) {
        task_event(t, node, EVENT_WARNING, "CIDRNotAvailable", "the cluster's range %s is none", o->cluster_cidr);
        return;
    }
    size_t n = (size_t)1 << (o->node_mask - cluster_mask), at = 0;
    _cleanup_free_ char *used = xcalloc(n, 1);
    mark_all(t, used, n, base, o->node_mask);
    while (at < n && used[at])
        at++;
    if (at == n) {
        task_event(t, node, EVENT_WARNING, "CIDRNotAvailable", "all %zu ranges of %s are taken", n, o->cluster_cidr);
        return;
    }
    _cleanup_free_ char *range = format_cidr(base + ((uint32_t)at << (32 - o->node_mask)), o->node_mask);
    yyjson_mut_doc *patch = json_object();
    json_set_str(patch, "/spec/podCIDR", range);
    json_set(patch, "/spec/podCIDRs", yyjson_mut_arr(patch));
    yyjson_mut_arr_add_strcpy(patch, json_mut_at(patch, "/spec/podCIDRs"), range);
    task_patch(t, &API_NODES, node, NULL, true, patch);
}

/* --- fencing --- */

/* The agent will not report any more what became of the pod, nor take it away. */
static void end_pod(struct task *t, yyjson_val *pod, const char *node)
{
    if (!is_final(pod)) {
        bury_pod(t, pod);
        task_event(t, pod, EVENT_WARNING, "NodeLost", "Node %s was declared dead (taint " TAINT_DEAD ").", node);
    }
    if (meta_deleting(pod))
        task_delete_now(t, &API_PODS, pod);
}

static void end_pods(struct task *t, const char *node)
{
    _cleanup_val_vec_ struct val_vec pods = {0};

    task_select(t, &API_PODS, INDEX_NODE, node, &pods);
    VEC_EACH(&pods, pod)
        end_pod(t, *pod, node);
}

/* --- the controller --- */

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *node = task_get(t, &API_NODES, key);
    int64_t grace = options_of(t)->grace_ms;

    if (!node) {
        map_remove(task_state(t), key);
        return;
    }
    int64_t quiet = silence(t, key);
    bool silent = quiet > grace;
    if (meta_deleting(node))
        return;
    give_range(t, node);
    sync_ready(t, node, silent);
    sync_taints(t, node, silent);
    if (silent && node_is_dead(node))
        end_pods(t, key);
    if (!silent)
        task_requeue(t, grace - quiet + 1);
}

static void map_lease(struct keys *out, yyjson_val *old, yyjson_val *lease)
{
    yyjson_val *l = lease ? lease : old;

    if (streq(meta_namespace(l), LEASE_NS))
        keys_add(out, meta_name(l));
}

/* A pod that begins to be deleted on a dead node has nobody else to take it away. */
static void map_pod(struct keys *out, yyjson_val *old, yyjson_val *pod)
{
    if (pod && meta_deleting(pod) && (!old || !meta_deleting(old)))
        keys_add(out, json_str(pod, "/spec/nodeName"));
}

const struct controller node_controller = {
    .name = "node",
    .reconcile = reconcile,
    .start = start,
    .stop = stop,
    /* One at a time: two nodes must not be given the same range. */
    .parallel = 1,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_NODES, .keep = (const char *const[]){"/spec", "/status/conditions", NULL}},
            {.resource = &API_LEASES, .map = map_lease, .keep = (const char *const[]){"/spec/renewTime", NULL}},
            {.resource = &API_PODS,
             .map = map_pod,
             .indexes = (const struct informer_index[]){{INDEX_NODE, index_node}, {0}},
             .keep = (const char *const[]){"/spec/nodeName", "/status/phase", NULL}},
            {.resource = &API_VIRTUALMACHINEINSTANCES, .silent = true, .keep = (const char *const[]){NULL}},
            {0},
        },
};

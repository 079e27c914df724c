/* One node's pod network for tests: runs in the node's namespace, takes one command per line, answers each with one
 * line of JSON ({"us": microseconds taken, "error": why, ...}). Peers' announcements come with the command "update". */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/network/network.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"

#define MAX_WORDS 12

static struct network *net;

static int run_open(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    int r = network_open(&(struct network_config){.node = w[1],
                                                  .node_address = w[2],
                                                  .pod_cidr = w[3],
                                                  .cluster_cidr = w[4],
                                                  .run_dir = w[5],
                                                  .mtu = atoi(w[6]),
                                                  .vxlan = streq(w[7], "vxlan")},
                         &net, err);
    if (r == 0)
        json_set_str(ret, "/notes", network_notes(net));
    return r;
}

/* "tcp/80,udp/53" */
static size_t read_ports(char *text, struct pod_port *ports)
{
    size_t n = 0;

    for (char *save, *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save))
        ports[n++] = (struct pod_port){strncmp(p, "tcp/", 4) == 0 ? IPPROTO_TCP : IPPROTO_UDP, (uint16_t)atoi(p + 4)};
    return n;
}

static void tell(yyjson_mut_doc *ret, const struct pod_network *p)
{
    json_set_str(ret, "/netns", p->netns);
    json_set_str(ret, "/link", p->host_link);
    json_set_str(ret, "/podAddress", p->pod_address);
    json_set_str(ret, "/state", address_state_string(p->state));
    json_set_int(ret, "/epoch", p->epoch);
    json_set_int(ret, "/mtu", p->mtu);
    json_set_bool(ret, "/destroyed", p->destroyed);
}

static int run_create(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    struct pod_port ports[16];
    const struct pod_network *p;
    size_t n = w[5] ? read_ports(w[5], ports) : 0;
    int r = pod_network_create(
        net,
        &(struct pod_network_spec){
            .uid = w[1], .vmi = w[2], .vm_address = w[3], .guest_mac = w[4], .ports = ports, .n_ports = n},
        &p, err);
    if (r == 0)
        tell(ret, p);
    return r;
}

static int run_find(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    const struct pod_network *p = pod_network_find(net, w[1]);

    if (!p)
        return gw_error_set(err, GW_NOT_FOUND, "no pod %s", w[1]);
    tell(ret, p);
    return 0;
}

static int run_activate(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    return pod_network_activate(net, w[1], atoll(w[2]), err);
}

static int run_forward(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    return pod_network_forward(net, w[1], w[2], err);
}

static int run_destroy(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    return pod_network_destroy(net, w[1], err);
}

/* "update JSON [MS]": the array of all NodeNetworks; MS is added to the clock. */
static int run_update(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    struct node_view_vec views = {0};
    int r = json_parse(w[1], strlen(w[1]), &doc, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < yyjson_arr_size(yyjson_doc_get_root(doc)); i++) {
        struct node_view v;
        if ((r = node_view_read(yyjson_arr_get(yyjson_doc_get_root(doc), i), &v, err)) < 0)
            return r;
        node_view_vec_push(&views, v);
    }
    return network_update(net, &views, clock_monotonic_ms() + (w[2] ? atoll(w[2]) : 0), err);
}

static int run_announce(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    struct node_view v;

    network_announcement(net, &v);
    json_set_str(ret, "/object/metadata/name", v.node);
    node_view_write_spec(&v, ret, "/object/spec");
    node_view_write_status(&v, ret, "/object/status");
    node_view_done(&v);
    return 0;
}

static int run_teardown(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    int r = network_teardown(net, err);

    net = network_close(net);
    return r;
}

static int run_sweep(char **w, yyjson_mut_doc *ret, struct gw_error *err)
{
    return network_sweep(w[1], err);
}

static const struct {
    const char *name;
    int (*run)(char **words, yyjson_mut_doc *ret, struct gw_error *err);
} commands[] = {
    {"open", run_open},         {"create", run_create},   {"find", run_find},     {"activate", run_activate},
    {"forward", run_forward},   {"destroy", run_destroy}, {"update", run_update}, {"announce", run_announce},
    {"teardown", run_teardown}, {"sweep", run_sweep},
};

static int run(char **words, yyjson_mut_doc *ret, struct gw_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (words[0] && streq(words[0], commands[i].name))
            return commands[i].run(words, ret, err);
    return gw_error_set(err, GW_BAD_REQUEST, "unknown command");
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void answer(char *line)
{
    _cleanup_mut_doc_ yyjson_mut_doc *ret = json_object();
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char *words[MAX_WORDS] = {0}, *save;
    size_t n = 0;

    for (char *w = strtok_r(line, " \n", &save); w && n < MAX_WORDS - 1; w = strtok_r(NULL, " \n", &save))
        words[n++] = w;
    int64_t start = now_us();
    int r = run(words, ret, &err);
    json_set_int(ret, "/us", now_us() - start);
    if (r < 0)
        json_set_str(ret, "/error", gw_error_message(&err));
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(ret));
    puts(text);
    fflush(stdout);
}

int main(void)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0)
        answer(line);
    network_close(net);
    return 0;
}

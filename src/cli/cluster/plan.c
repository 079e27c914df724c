#include "cli/cluster/plan.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

#define SUBNET_BASE 0x64400000u /* 100.64.0.0 */
#define HOST_PART 1
#define FIRST_NODE_PART 11

void cluster_plan_done(struct cluster_plan *p)
{
    free(p->dir);
    free(p->link_rate);
    free(p->certificate_lifetime);
    *p = (struct cluster_plan){0};
}

/* FNV-1a: names have to be the same in every run, not secret. */
static uint64_t hash(const char *text, unsigned attempt)
{
    uint64_t h = 0xcbf29ce484222325ULL + attempt;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
    return h ^ h >> 32;
}

void cluster_plan_make(struct cluster_plan *p, const char *dir, unsigned nodes, const char *link_rate, unsigned attempt)
{
    uint64_t h = hash(dir, attempt);

    *p = (struct cluster_plan){.dir = xstrdup(dir),
                               .nodes = nodes,
                               .subnet = (unsigned)(h >> 24) % CLUSTER_SUBNETS,
                               .link_rate = xstrdup(link_rate)};
    snprintf(p->id, sizeof(p->id), "%06x", (unsigned)(h & 0xffffff));
}

char *cluster_plan_encode(const struct cluster_plan *p)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/id", p->id);
    json_set_int(d, "/nodes", p->nodes);
    json_set_int(d, "/subnet", p->subnet);
    if (p->link_rate)
        json_set_str(d, "/linkRate", p->link_rate);
    if (p->certificate_lifetime)
        json_set_str(d, "/certificateLifetime", p->certificate_lifetime);
    if (p->encrypted)
        json_set(d, "/encryptedSecrets", yyjson_mut_true(d));
    return json_text(yyjson_mut_doc_get_root(d));
}

int cluster_plan_decode(struct cluster_plan *p, const char *dir, const char *text, size_t len, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_parse(text, len, &doc, err);

    if (r < 0)
        return r;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *id = json_str(root, "/id");
    int64_t nodes = json_int(root, "/nodes", 0), subnet = json_int(root, "/subnet", -1);
    if (!id || strlen(id) != CLUSTER_ID_LEN || nodes < 1 || nodes > CLUSTER_MAX_NODES || subnet < 0 ||
        subnet >= CLUSTER_SUBNETS)
        return gw_error_set(err, GW_INVALID, "cluster.json is damaged: id, nodes or subnet is missing or out of range");
    *p = (struct cluster_plan){.dir = xstrdup(dir),
                               .nodes = (unsigned)nodes,
                               .subnet = (unsigned)subnet,
                               .link_rate = xstrdup(json_str(root, "/linkRate")),
                               .certificate_lifetime = xstrdup(json_str(root, "/certificateLifetime")),
                               .encrypted = json_bool(root, "/encryptedSecrets", false)};
    memcpy(p->id, id, sizeof(p->id));
    return 0;
}

char *cluster_host_link(const struct cluster_plan *p, char *buf)
{
    snprintf(buf, CLUSTER_NAME_MAX, "gw%s", p->id);
    return buf;
}

char *cluster_fabric_ns(const struct cluster_plan *p, char *buf)
{
    snprintf(buf, CLUSTER_NAME_MAX, "gw%s-net", p->id);
    return buf;
}

char *cluster_node_ns(const struct cluster_plan *p, unsigned node, char *buf)
{
    snprintf(buf, CLUSTER_NAME_MAX, "gw%s-node%u", p->id, node);
    return buf;
}

char *cluster_node_name(unsigned node, char *buf)
{
    snprintf(buf, CLUSTER_NAME_MAX, "node%u", node);
    return buf;
}

static char *address(const struct cluster_plan *p, unsigned host_part, char *buf)
{
    struct in_addr a = {.s_addr = htonl(SUBNET_BASE + (p->subnet << 8) + host_part)};

    return (char *)inet_ntop(AF_INET, &a, buf, CLUSTER_NAME_MAX);
}

char *cluster_host_address(const struct cluster_plan *p, char *buf)
{
    return address(p, HOST_PART, buf);
}

char *cluster_node_address(const struct cluster_plan *p, unsigned node, char *buf)
{
    return address(p, FIRST_NODE_PART - 1 + node, buf);
}

char *cluster_path(const struct cluster_plan *p, const char *fmt, ...)
{
    char tail[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(tail, sizeof(tail), fmt, ap);
    va_end(ap);
    return xasprintf("%s/%s", p->dir, tail);
}

void cluster_server_argv(const struct cluster_plan *p, const char *program, struct strv *argv)
{
    char host[CLUSTER_NAME_MAX];

    strv_push(argv, program);
    strv_push(argv, "server");
    strv_printf(argv, "--data-dir=%s/server", p->dir);
    strv_printf(argv, "--listen=%s:%d", cluster_host_address(p, host), CLUSTER_PORT);
    strv_printf(argv, "--kubeconfig=%s/kubeconfig", p->dir);
    if (p->certificate_lifetime)
        strv_printf(argv, "--certificate-lifetime=%s", p->certificate_lifetime);
    if (p->encrypted)
        strv_printf(argv, "--encryption-key-file=%s/" CLUSTER_KEYS, p->dir);
}

void cluster_agent_argv(const struct cluster_plan *p, const char *program, unsigned node, struct strv *argv)
{
    char name[CLUSTER_NAME_MAX], host[CLUSTER_NAME_MAX], own[CLUSTER_NAME_MAX];

    cluster_node_name(node, name);
    strv_push(argv, program);
    strv_push(argv, "agent");
    strv_printf(argv, "--server=https://%s:%d", cluster_host_address(p, host), CLUSTER_PORT);
    strv_printf(argv, "--ca-file=%s/server/ca.crt", p->dir);
    strv_printf(argv, "--token-file=%s/server/bootstrap-token", p->dir);
    strv_printf(argv, "--node=%s", name);
    strv_printf(argv, "--address=%s", cluster_node_address(p, node, own));
    strv_printf(argv, "--state-dir=%s/nodes/%s", p->dir, name);
    strv_printf(argv, "--images-dir=%s/images", p->dir);
    strv_printf(argv, "--shared-dir=%s/shared", p->dir);
    strv_printf(argv, "--local-dir=%s/local/%s", p->dir, name);
}

int cluster_rate_parse(const char *text, uint64_t *ret, struct gw_error *err)
{
    static const struct {
        const char *unit;
        uint64_t bits;
    } units[] = {{"bit", 1}, {"kbit", 1000}, {"mbit", 1000000}, {"gbit", 1000000000}};
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);

    for (size_t i = 0; end != text && *text != '-' && i < ARRAY_SIZE(units); i++) {
        if (!streq(end, units[i].unit) || number > UINT64_MAX / units[i].bits)
            continue;
        *ret = number * units[i].bits / 8;
        if (*ret > 0)
            return 0;
    }
    return gw_error_set(err, GW_INVALID,
                        "rate \"%s\": want a whole number and one of bit, kbit, mbit, gbit, such as 1gbit", text);
}

uint64_t cluster_rate_burst(uint64_t rate)
{
    return MAX(rate / 250, (uint64_t)65536);
}

#include "agent/node/registration.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/endpoint/endpoint.h"
#include "agent/launcher/identity.h"
#include "agent/node/authorities.h"
#include "agent/node/node_object.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/lease.h"

#define EVERY_MS 60000
#define RETRY_MS 1000
#define AWAIT_CIDR_MS 100

struct registration {
    struct agent *agent;
    registration_ready_fn ready;
    void *userdata;
    struct host_facts facts;
    char *machine_id, *system_uuid, *os_image, *authorities;
    char boot[40];
    struct utsname uname;
    struct heartbeat *heartbeat;
    struct api_call *call;
    struct env_timer *timer;
    bool again;         /* something has changed since the last round began */
    bool told, written; /* metadata and status were written in this life */
};

/* --- What the host is --- */

static char *read_line(const char *path)
{
    char *text = NULL;

    if (fs_read(path, 4096, &text, NULL, NULL) < 0)
        return xstrdup("");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static char *os_name(void)
{
    _cleanup_free_ char *text = NULL;
    char name[128] = "Linux";

    if (fs_read("/etc/os-release", 1 << 16, &text, NULL, NULL) == 0) {
        const char *at = strstr(text, "PRETTY_NAME=\"");
        if (at)
            (void)sscanf(at, "PRETTY_NAME=\"%127[^\"]", name);
    }
    return xstrdup(name);
}

static void look_at_host(struct registration *r)
{
    const struct agent_config *c = &r->agent->config;
    struct sysinfo info = {0};
    struct statvfs fs = {0};

    (void)sysinfo(&info);
    (void)statvfs(c->state_dir, &fs);
    (void)uname(&r->uname);
    r->machine_id = read_line("/etc/machine-id");
    r->system_uuid = read_line("/sys/class/dmi/id/product_uuid");
    r->os_image = os_name();
    r->facts = (struct host_facts){
        .node = c->node,
        .address = c->address,
        .cpus = (int)sysconf(_SC_NPROCESSORS_ONLN),
        .memory = (int64_t)info.totalram * info.mem_unit,
        .disk = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize,
        .machine_id = r->machine_id,
        .system_uuid = r->system_uuid,
        .boot_id = boot_id(r->boot),
        .kernel = r->uname.release,
        .os_image = r->os_image,
        .version = GODWIT_VERSION,
        .shared_dir = c->shared_dir,
        .local_dir = c->local_dir,
    };
}

/* --- The object --- */

static void step(void *userdata);

static void again_in(struct registration *r, int64_t ms)
{
    r->timer = env_timer(r->agent->env, ms, step, r);
}

static bool failed(struct registration *r, const char *what, const struct gw_error *err)
{
    if (!err)
        return false;
    if (err->reason != GW_CONFLICT)
        log_warn("%s of node %s: %s; trying again", what, r->agent->config.node, gw_error_message(err));
    again_in(r, err->reason == GW_CONFLICT ? 10 : RETRY_MS);
    return true;
}

/* Once the Node is complete: heartbeats, and whoever waits for the range of pod addresses. */
static void on_status(void *userdata, struct api_answer *answer)
{
    struct registration *r = userdata;

    r->call = NULL;
    if (failed(r, "status", answer->err))
        return;
    yyjson_val *node = yyjson_doc_get_root(answer->doc);
    const char *cidr = json_str(node, "/spec/podCIDR");
    r->written = true;
    if (!r->heartbeat)
        r->heartbeat = heartbeat_start(r->agent->env, r->agent->config.node, json_str(node, "/metadata/uid"));
    if (!r->told && cidr) {
        r->told = true;
        r->ready(r->userdata, cidr);
    }
    again_in(r, r->again ? 0 : r->told ? EVERY_MS : AWAIT_CIDR_MS);
    r->again = false;
}

static void on_metadata(void *userdata, struct api_answer *answer)
{
    struct registration *r = userdata;
    struct agent *a = r->agent;

    r->call = NULL;
    if (failed(r, "metadata", answer->err))
        return;
    r->facts.port = endpoint_port(a->endpoint);
    _cleanup_mut_doc_ yyjson_mut_doc *patch =
        node_status(&r->facts, a->qemu, yyjson_doc_get_root(answer->doc), env_wall_ms(a->env));
    r->call = api_patch(a->client, &API_NODES, NULL, a->config.node, "status", API_PATCH_MERGE, patch, on_status, r);
}

static void look_at_authorities(struct registration *r)
{
    free(r->authorities);
    r->facts.authorities = r->authorities = authorities_report(r->agent);
}

static void write_metadata(struct registration *r, yyjson_val *node)
{
    struct agent *a = r->agent;

    look_at_authorities(r);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = node_metadata(&r->facts, a->qemu, node, env_wall_ms(a->env));

    r->call = api_patch(a->client, &API_NODES, NULL, a->config.node, NULL, API_PATCH_MERGE, patch, on_metadata, r);
}

static void on_created(void *userdata, struct api_answer *answer)
{
    struct registration *r = userdata;

    r->call = NULL;
    if (answer->err && answer->err->reason != GW_ALREADY_EXISTS && failed(r, "creation", answer->err))
        return;
    again_in(r, 0);
}

static void create(struct registration *r)
{
    struct agent *a = r->agent;

    look_at_authorities(r);
    _cleanup_mut_doc_ yyjson_mut_doc *d = node_metadata(&r->facts, a->qemu, NULL, env_wall_ms(a->env));
    json_set_str(d, "/metadata/name", a->config.node);
    json_set(d, "/spec", yyjson_mut_obj(d));
    log_info("node %s: registering", a->config.node);
    r->call = api_create(a->client, &API_NODES, NULL, d, on_created, r);
}

static void on_node(void *userdata, struct api_answer *answer)
{
    struct registration *r = userdata;

    r->call = NULL;
    if (answer->err && answer->err->reason == GW_NOT_FOUND) {
        create(r);
        return;
    }
    if (failed(r, "reading", answer->err))
        return;
    /* Waiting for the range of addresses: everything else was said. */
    const char *cidr = json_str(yyjson_doc_get_root(answer->doc), "/spec/podCIDR");
    if (r->written && !r->told && !cidr) {
        again_in(r, AWAIT_CIDR_MS);
        return;
    }
    write_metadata(r, yyjson_doc_get_root(answer->doc));
}

static void step(void *userdata)
{
    struct registration *r = userdata;

    r->timer = NULL;
    r->call = api_get(r->agent->client, &API_NODES, NULL, r->agent->config.node, on_node, r);
}

struct registration *registration_start(struct agent *a, registration_ready_fn ready, void *userdata)
{
    struct registration *r = xnew(struct registration);

    r->agent = a;
    r->ready = ready;
    r->userdata = userdata;
    look_at_host(r);
    again_in(r, 0);
    return r;
}

/* What is under way may be too late for it, so a round follows that. */
void registration_refresh(struct registration *r)
{
    if (r->call)
        r->again = true;
    else if (r->timer) {
        env_timer_cancel(r->agent->env, &r->timer);
        again_in(r, 0);
    }
}

struct registration *registration_stop(struct registration *r)
{
    if (!r)
        return NULL;
    api_cancel(r->call);
    env_timer_cancel(r->agent->env, &r->timer);
    heartbeat_stop(r->heartbeat);
    free(r->machine_id);
    free(r->system_uuid);
    free(r->os_image);
    free(r->authorities);
    free(r);
    return NULL;
}

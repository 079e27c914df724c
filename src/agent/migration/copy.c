#include "agent/migration/copy.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "migration/downtime.h"

/* Unlimited, as QEMU counts it: bytes per second beyond any link. */
#define NO_LIMIT (1LL << 40)

char *copy_tls_id(int64_t epoch, char *buf)
{
    snprintf(buf, 32, "tls%lld", (long long)epoch);
    return buf;
}

char *copy_authz_id(int64_t epoch, char *buf)
{
    snprintf(buf, 32, "authz%lld", (long long)epoch);
    return buf;
}

void copy_add_credentials(struct script *s, const struct copy_names *n, bool source)
{
    char tls[32], authz[32];
    _cleanup_free_ char *peer = epoch_cert_name(n->migration_uid, "source");
    _cleanup_free_ char *identity = xasprintf("CN=%s", peer);
    yyjson_mut_doc *args = script_args("/qom-type", "tls-creds-x509", "/id", copy_tls_id(n->epoch, tls), "/dir",
                                       n->tls_dir, "/endpoint", source ? "client" : "server", NULL);

    json_set_bool(args, "/verify-peer", true);
    script_try(s, "object-del", script_args("/id", tls, NULL));
    if (!source) {
        script_try(s, "object-del", script_args("/id", copy_authz_id(n->epoch, authz), NULL));
        script_add(s, "object-add",
                   script_args("/qom-type", "authz-simple", "/id", authz, "/identity", identity, NULL));
    }
    script_add(s, "object-add", args); /* last: who finds it after a restart finds all (copy_has_credentials) */
}

bool copy_has_credentials(yyjson_val *objects, int64_t epoch)
{
    char id[32];
    yyjson_val *object;

    copy_tls_id(epoch, id);
    json_each(objects, object)
        if (streq(json_str_or(object, "/name", ""), id))
            return true;
    return false;
}

bool copy_is_left(yyjson_val *yank)
{
    yyjson_val *instance;

    json_each(yank, instance)
        if (streq(json_str_or(instance, "/type", ""), "migration"))
            return true;
    return false;
}

/* Every capability that we ever set is set each time, since they stick to the process. */
static void set_capabilities(struct script *s, bool hold, bool auto_converge, bool late_activate)
{
    const struct {
        const char *name;
        bool on;
    } wanted[] = {
        {"events", true},
        {"return-path", true},
        {"multifd", true},
        {"pause-before-switchover", hold},
        {"auto-converge", auto_converge},
        /* Disks of a target are taken at `cont`, so that a source can take the guest back while the target still is
           there. */
        {"late-block-activate", late_activate},
    };
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *list = yyjson_mut_arr(d);

    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        yyjson_mut_val *one = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_str(d, one, "capability", wanted[i].name);
        yyjson_mut_obj_add_bool(d, one, "state", wanted[i].on);
    }
    json_set(d, "/capabilities", list);
    script_add(s, "migrate-set-capabilities", d);
}

static yyjson_mut_doc *uri_args(const char *address, int port)
{
    _cleanup_free_ char *uri = xasprintf("tcp:%s:%d", address, port);

    return script_args("/uri", uri, NULL);
}

void copy_start(struct script *s, const struct copy_names *n, const struct migration_settings *settings, bool hold,
                const char *address, int port)
{
    char tls[32];
    _cleanup_free_ char *hostname = epoch_dns_name(n->migration_uid, "target");
    yyjson_mut_doc *p =
        script_args("/tls-creds", copy_tls_id(n->epoch, tls), "/tls-hostname", hostname, "/tls-authz", "", NULL);

    json_set_int(p, "/multifd-channels", COPY_CHANNELS);
    json_set_int(p, "/max-bandwidth", settings->bandwidth ? settings->bandwidth : NO_LIMIT);
    json_set_int(p, "/downtime-limit", downtime_limit_ms(0));
    set_capabilities(s, hold, settings->auto_converge, false);
    script_add(s, "migrate-set-parameters", p);
    script_add(s, "migrate", uri_args(address, port));
}

void copy_limit_downtime(struct qmp *q, int64_t ms)
{
    yyjson_mut_doc *args = json_object();

    json_set_int(args, "/downtime-limit", ms);
    qmp_command(q, "migrate-set-parameters", args, NULL, NULL);
}

void copy_listen(struct script *s, const struct copy_names *n, const char *address, int port)
{
    char tls[32], authz[32];
    yyjson_mut_doc *p =
        script_args("/tls-creds", copy_tls_id(n->epoch, tls), "/tls-authz", copy_authz_id(n->epoch, authz), NULL);

    json_set_int(p, "/multifd-channels", COPY_CHANNELS);
    set_capabilities(s, false, false, true);
    script_add(s, "migrate-set-parameters", p);
    script_add(s, "migrate-incoming", uri_args(address, port));
}

enum copy_state copy_state_from(const char *status)
{
    static const struct {
        const char *name;
        enum copy_state state;
    } table[] = {
        {"none", COPY_NONE},
        {"setup", COPY_ACTIVE},
        {"active", COPY_ACTIVE},
        {"device", COPY_ACTIVE},
        {"cancelling", COPY_ACTIVE},
        {"wait-unplug", COPY_ACTIVE},
        {"pre-switchover", COPY_PRE_SWITCHOVER},
        {"failed", COPY_FAILED},
        {"cancelled", COPY_FAILED},
        {"completed", COPY_COMPLETED},
    };

    for (size_t i = 0; status && i < ARRAY_SIZE(table); i++)
        if (streq(table[i].name, status))
            return table[i].state;
    return COPY_NONE;
}

void copy_read(yyjson_val *answer, struct copy_report *ret)
{
    int64_t page = json_int(answer, "/ram/page-size", 4096);

    *ret = (struct copy_report){
        .state = copy_state_from(json_str(answer, "/status")),
        .sample =
            {
                .ram_total = json_int(answer, "/ram/total", 0),
                .ram_transferred = json_int(answer, "/ram/transferred", 0),
                .ram_remaining = json_int(answer, "/ram/remaining", 0),
                .dirty_bytes_per_s = json_int(answer, "/ram/dirty-pages-rate", 0) * page,
                .iteration = json_int(answer, "/ram/dirty-sync-count", 0),
                .expected_downtime_ms = json_int(answer, "/expected-downtime", 0),
            },
        .total_ms = json_int(answer, "/total-time", -1),
        .downtime_ms = json_int(answer, "/downtime", -1),
        .error = json_str(answer, "/error-desc"),
    };
}

void copy_cut(struct script *s)
{
    yyjson_mut_doc *args = json_object();
    yyjson_mut_val *instances = yyjson_mut_arr(args);

    yyjson_mut_obj_add_str(args, yyjson_mut_arr_add_obj(args, instances), "type", "migration");
    json_set(args, "/instances", instances);
    script_try(s, "yank", args);
}

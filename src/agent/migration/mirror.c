#include "agent/migration/mirror.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "migration/epoch.h"

/* for each copied disk: its number in i, itself in d */
#define COPIED_EACH(disks, i, d) \
    for (size_t i = 0; i < (disks)->len; i++) \
        for (const struct disk *d = &(disks)->items[i]; d && disk_is_copied(d); d = NULL)

size_t mirror_count(const struct disk_vec *disks)
{
    size_t n = 0;

    COPIED_EACH(disks, i, d)
        n++;
    return n;
}

/* Job and NBD node share a name: "mirror7-0". */
static char *job_id(int64_t epoch, size_t i, char *buf)
{
    snprintf(buf, 32, "mirror%lld-%zu", (long long)epoch, i);
    return buf;
}

void mirror_export(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address,
                   int port)
{
    char tls[32], authz[32], node[DISK_NODE_MAX];
    _cleanup_free_ char *port_text = xasprintf("%d", port);

    script_add(s, "nbd-server-start",
               script_args("/addr/type", "inet", "/addr/data/host", address, "/addr/data/port", port_text, "/tls-creds",
                           copy_tls_id(n->epoch, tls), "/tls-authz", copy_authz_id(n->epoch, authz), NULL));
    COPIED_EACH(disks, i, d) {
        disk_node(d, i, node);
        yyjson_mut_doc *args = script_args("/type", "nbd", "/id", node, "/node-name", node, "/name", node, NULL);
        json_set_bool(args, "/writable", true);
        script_add(s, "block-export-add", args);
    }
}

void mirror_start(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address,
                  int port)
{
    char tls[32], id[32], node[DISK_NODE_MAX];
    _cleanup_free_ char *port_text = xasprintf("%d", port);
    _cleanup_free_ char *hostname = epoch_dns_name(n->migration_uid, "target");

    COPIED_EACH(disks, i, d) {
        job_id(n->epoch, i, id);
        disk_node(d, i, node);
        script_add(s, "blockdev-add",
                   script_args("/driver", "nbd", "/node-name", id, "/server/type", "inet", "/server/host", address,
                               "/server/port", port_text, "/export", node, "/tls-creds", copy_tls_id(n->epoch, tls),
                               "/tls-hostname", hostname, NULL));
        yyjson_mut_doc *job =
            script_args("/job-id", id, "/device", node, "/target", id, "/sync", d->backing ? "top" : "full", NULL);
        json_set_bool(job, "/auto-dismiss", false);
        script_add(s, "blockdev-mirror", job);
    }
}

/* What block_set_io_throttle takes for the device itself, or for a virtio device's inner one: only that has the disk.
 */
static yyjson_mut_doc *brake_args(const struct copy_names *n, const struct disk *d, size_t i, bool inner, int64_t limit)
{
    static const char *const unlimited[] = {"/bps", "/bps_rd", "/iops", "/iops_rd", "/iops_wr"};
    char node[DISK_NODE_MAX];
    _cleanup_free_ char *device =
        xasprintf("/machine/peripheral/%s-dev%s", disk_node(d, i, node), inner ? "/virtio-backend" : "");
    _cleanup_free_ char *group = xasprintf("mirror%lld", (long long)n->epoch);
    yyjson_mut_doc *args = script_args("/id", device, "/group", group, NULL);

    for (size_t k = 0; k < ARRAY_SIZE(unlimited); k++)
        json_set_int(args, unlimited[k], 0);
    json_set_int(args, "/bps_wr", limit);
    return args;
}

/* Of the two per disk QEMU refuses one. */
void mirror_brake(struct script *s, const struct copy_names *n, const struct disk_vec *disks, int64_t limit)
{
    COPIED_EACH(disks, i, d)
        for (int inner = 0; inner < 2; inner++)
            script_try(s, "block_set_io_throttle", brake_args(n, d, i, inner, limit));
}

void mirror_detach(struct script *s, const struct copy_names *n, const struct disk_vec *disks)
{
    char id[32];

    COPIED_EACH(disks, i, d)
        script_try(s, "block-job-cancel", script_args("/device", job_id(n->epoch, i, id), NULL));
}

/* A cancelled job waits for what it has sent, which never comes back if the target is gone without a word: the
 * connection is cut first (QEMU: qapi/yank.json), so that no job and no write of the guest hangs until TCP gives up. */
static void cut_connection(struct script *s, const char *id)
{
    yyjson_mut_doc *args = json_object();
    yyjson_mut_val *instances = yyjson_mut_arr(args), *one = yyjson_mut_arr_add_obj(args, instances);

    yyjson_mut_obj_add_str(args, one, "type", "block-node");
    yyjson_mut_obj_add_strcpy(args, one, "node-name", id);
    json_set(args, "/instances", instances);
    script_try(s, "yank", args);
}

void mirror_drop(struct script *s, const struct copy_names *n, const struct disk_vec *disks)
{
    char id[32];

    mirror_brake(s, n, disks, 0); /* first: while jobs are left, a restarted agent comes here again */
    COPIED_EACH(disks, i, d) {
        yyjson_mut_doc *cancel = script_args("/device", job_id(n->epoch, i, id), NULL);
        cut_connection(s, id);
        json_set_bool(cancel, "/force", true);
        script_try(s, "block-job-cancel", cancel);
        script_try(s, "job-dismiss", script_args("/id", id, NULL));
        script_try(s, "blockdev-del", script_args("/node-name", id, NULL));
    }
}

static yyjson_val *find_job(yyjson_val *jobs, const char *id)
{
    yyjson_val *job;

    json_each(jobs, job)
        if (streq(json_str_or(job, "/id", ""), id))
            return job;
    return NULL;
}

static enum disks_state job_state(yyjson_val *job)
{
    const char *status = json_str_or(job, "/status", "");

    if (!job)
        return DISKS_IDLE;
    if (streq(status, "concluded") || streq(status, "aborting"))
        return json_str(job, "/error") ? DISKS_FAILED : DISKS_DETACHED;
    return streq(status, "ready") ? DISKS_READY : DISKS_COPYING;
}

/* All together: one failure fails them; else the one that is furthest behind counts. */
static enum disks_state worse(enum disks_state a, enum disks_state b)
{
    static const int rank[] = {[DISKS_FAILED] = 0, [DISKS_IDLE] = 1,     [DISKS_COPYING] = 2,
                               [DISKS_READY] = 3,  [DISKS_DETACHED] = 4, [DISKS_NONE] = 5};

    return rank[a] <= rank[b] ? a : b;
}

enum disks_state mirror_read(yyjson_val *jobs, const struct copy_names *n, const struct disk_vec *disks,
                             int64_t *ret_total, int64_t *ret_done, const char **ret_error)
{
    enum disks_state all = DISKS_NONE;
    char id[32];

    *ret_total = *ret_done = 0;
    if (ret_error)
        *ret_error = NULL;
    COPIED_EACH(disks, i, d) {
        yyjson_val *job = find_job(jobs, job_id(n->epoch, i, id));
        all = worse(job_state(job), all);
        *ret_total += json_int(job, "/total-progress", 0);
        *ret_done += json_int(job, "/current-progress", 0);
        if (ret_error && json_str(job, "/error"))
            *ret_error = json_str(job, "/error");
    }
    return all;
}

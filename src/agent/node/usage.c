#include "agent/node/usage.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "agent/node/usage_read.h"
#include "agent/pod.h"
#include "base/alloc.h"
#include "base/fs.h"

#define FIRST_MS 1000
#define EVERY_MS 15000

/* CPU time at a moment (ns since boot, as process starts are counted). */
struct sample {
    uint64_t start, ticks;
    int64_t at_ns;
};

struct usage_meter {
    struct agent *agent;
    struct env_timer *timer;
    struct api_call *call;
    struct sample host;
    struct map *pods; /* uid -> struct sample, of the last round */
    long hz, page;
};

static int64_t since_boot_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Adds {cpuNano, memory, windowMs} at path, of the time since before. */
static void add(struct usage_meter *m, yyjson_mut_doc *d, const char *path, const struct sample *before,
                const struct sample *now, int64_t memory)
{
    const struct {
        const char *name;
        int64_t value;
    } members[] = {
        {"cpuNano", usage_rate(before->ticks, now->ticks, now->at_ns - before->at_ns, m->hz)},
        {"memory", memory},
        {"windowMs", (now->at_ns - before->at_ns) / 1000000},
    };

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        _cleanup_free_ char *at = json_path(path, members[i].name);

        json_set_int(d, at, members[i].value);
    }
}

static bool measure_host(struct usage_meter *m, yyjson_mut_doc *d)
{
    _cleanup_free_ char *stat = NULL, *meminfo = NULL;
    struct sample now = {.at_ns = since_boot_ns()}, before = m->host;
    int64_t memory;

    if (fs_read("/proc/stat", 0, &stat, NULL, NULL) < 0 || fs_read("/proc/meminfo", 0, &meminfo, NULL, NULL) < 0 ||
        !usage_host_cpu(stat, &now.ticks) || !usage_host_memory(meminfo, &memory))
        return false;
    m->host = now;
    if (before.at_ns == 0)
        return false;
    add(m, d, "/node", &before, &now, memory);
    return true;
}

/* A QEMU seen for the first time is measured since it began. */
static void measure_pod(struct usage_meter *m, yyjson_mut_doc *d, const struct pod *p, struct map *seen)
{
    _cleanup_free_ char *file = xasprintf("/proc/%d/stat", (int)p->qemu_pid), *text = NULL;
    _cleanup_free_ char *path = json_path("/pods", p->uid);
    const struct sample *last = map_get(m->pods, p->uid);
    struct process_usage u;

    if (p->qemu_pid <= 0 || fs_read(file, 8192, &text, NULL, NULL) < 0 || !usage_process(text, &u))
        return;
    struct sample *now = xnew(struct sample);
    *now = (struct sample){u.start, u.ticks, since_boot_ns()};
    struct sample before = {u.start, 0, (int64_t)((__int128)u.start * 1000000000 / m->hz)};
    if (last && last->start == u.start)
        before = *last;
    add(m, d, path, &before, now, (int64_t)u.pages * m->page);
    map_put(seen, p->uid, now);
}

static void measure_pods(struct usage_meter *m, yyjson_mut_doc *d)
{
    struct map *seen = map_new(free);
    const char *uid;
    void *pod;

    for (size_t c = 0; map_next(m->agent->pods, &c, &uid, &pod);)
        measure_pod(m, d, pod, seen);
    map_free(m->pods);
    m->pods = seen;
}

static void again(struct usage_meter *m, int64_t ms);

/* What did not arrive is overtaken by the next. */
static void on_told(void *userdata, struct api_answer *answer)
{
    ((struct usage_meter *)userdata)->call = NULL;
}

static void on_time(void *userdata)
{
    struct usage_meter *m = userdata;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    bool known = measure_host(m, d);

    m->timer = NULL;
    again(m, known ? EVERY_MS : FIRST_MS);
    if (!known)
        return;
    measure_pods(m, d);

    _cleanup_blob_ struct blob *body = json_encode(yyjson_mut_doc_get_root(d));
    _cleanup_free_ char *path = xasprintf("/apis/metrics.k8s.io/v1beta1/nodes/%s/status", m->agent->config.node);

    api_cancel(m->call);
    m->call = api_request(m->agent->client, "PUT", path, "application/json", body, EVERY_MS, on_told, m);
}

static void again(struct usage_meter *m, int64_t ms)
{
    m->timer = env_timer(m->agent->env, ms, on_time, m);
}

struct usage_meter *usage_start(struct agent *a)
{
    struct usage_meter *m = xnew(struct usage_meter);

    m->agent = a;
    m->pods = map_new(free);
    m->hz = sysconf(_SC_CLK_TCK);
    m->page = sysconf(_SC_PAGESIZE);
    again(m, 0);
    return m;
}

struct usage_meter *usage_stop(struct usage_meter *m)
{
    if (!m)
        return NULL;
    api_cancel(m->call);
    env_timer_cancel(m->agent->env, &m->timer);
    map_free(m->pods);
    free(m);
    return NULL;
}

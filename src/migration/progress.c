#include "migration/progress.h"

#include "base/alloc.h"
#include "base/cleanup.h"

/* Weight of the newest second in the smoothed rate: slow enough to be read, quick enough to follow a changed limit. */
#define RATE_WINDOW_MS 3000

static int64_t transferred(const struct copy_sample *s)
{
    return s->ram_transferred + s->disk_transferred;
}

static int64_t remaining(const struct copy_sample *s)
{
    return s->ram_remaining + MAX(s->disk_total - s->disk_transferred, (int64_t)0);
}

/* Two looks can lie milliseconds apart, and jobs count holes of a disk as sent at once: what is shorter than this, or
 * goes backwards because a job has just joined, is no measure of a rate. */
#define RATE_MEASURE_MS 250

static void update_rate(struct progress *p, const struct copy_sample *s)
{
    int64_t elapsed = s->now_ms - p->rate_since_ms;
    int64_t moved = transferred(s) - p->rate_from;
    bool begun = p->last.ram_total || p->last.disk_total;

    if (begun && elapsed >= RATE_MEASURE_MS && moved >= 0) {
        int64_t rate = moved * 1000 / elapsed;
        int64_t weight = MIN(elapsed, (int64_t)RATE_WINDOW_MS);
        p->bytes_per_s =
            p->bytes_per_s ? (p->bytes_per_s * (RATE_WINDOW_MS - weight) + rate * weight) / RATE_WINDOW_MS : rate;
    } else if (begun && moved >= 0) {
        return; /* goes on measuring from where it began */
    }
    p->rate_since_ms = s->now_ms;
    p->rate_from = transferred(s);
}

/* Whether what is left shrinks. Disks in step and a first round that is not over say nothing against it. */
static void judge(struct progress *p, const struct copy_sample *s)
{
    int64_t net = p->bytes_per_s - s->dirty_bytes_per_s;

    p->reason = "";
    p->converging = true;
    p->eta_s = -1;
    if (s->ram_total == 0 && s->disk_total == 0) {
        p->reason = "waiting for the first figures";
    } else if (transferred(s) == 0) {
        p->reason = "nothing was sent yet"; /* a start that hangs is the watchdog's to judge */
    } else if (p->bytes_per_s == 0) {
        p->converging = remaining(s) == 0;
        p->reason = "no data is moving";
    } else if (s->iteration > 1 && net <= 0) {
        p->converging = false;
        p->reason = "the guest writes memory faster than it is copied";
    } else {
        /* The guest dirties pages while the rest is sent: a geometric series of rounds. */
        p->eta_s = remaining(s) / MAX(net, (int64_t)1) + 1;
        if (s->disk_limit)
            p->reason = "the guest's disk writes are slowed down, since they were more than is copied";
    }
}

static int percent_of(const struct copy_sample *s)
{
    int64_t total = s->ram_total + s->disk_total;

    if (total <= 0)
        return 0;
    return (int)((total - MIN(remaining(s), total)) * 100 / total);
}

void progress_update(struct progress *p, const struct copy_sample *s)
{
    update_rate(p, s);
    judge(p, s);
    p->percent = MAX(p->percent, MIN(percent_of(s), 99));
    p->last = *s;
}

static void set(yyjson_mut_doc *d, const char *path, const char *key, yyjson_mut_val *value)
{
    _cleanup_free_ char *at = json_path(path, key);

    json_set(d, at, value);
}

static void set_int(yyjson_mut_doc *d, const char *path, const char *key, int64_t value)
{
    set(d, path, key, yyjson_mut_sint(d, value));
}

static void write_bytes(const struct progress *p, yyjson_mut_doc *d, const char *path, int64_t left)
{
    set_int(d, path, "bytesTotal", p->last.ram_total + p->last.disk_total);
    set_int(d, path, "bytesTransferred", transferred(&p->last));
    set_int(d, path, "bytesRemaining", left);
    set_int(d, path, "bytesPerSecond", p->bytes_per_s);
    set_int(d, path, "dirtyBytesPerSecond", p->last.dirty_bytes_per_s);
    set_int(d, path, "iteration", p->last.iteration);
}

void progress_write(const struct progress *p, yyjson_mut_doc *d, const char *path)
{
    set_int(d, path, "percent", p->percent);
    write_bytes(p, d, path, remaining(&p->last));
    set_int(d, path, "expectedDowntimeMs", p->last.expected_downtime_ms);
    set(d, path, "etaSeconds", p->eta_s < 0 ? yyjson_mut_null(d) : yyjson_mut_sint(d, p->eta_s));
    set(d, path, "converging", yyjson_mut_bool(d, p->converging));
    set(d, path, "reason", yyjson_mut_strcpy(d, p->reason ? p->reason : ""));
}

void progress_write_final(const struct progress *p, yyjson_mut_doc *d, const char *path, int64_t total_ms,
                          int64_t downtime_ms)
{
    set_int(d, path, "percent", 100);
    write_bytes(p, d, path, 0);
    set_int(d, path, "etaSeconds", 0);
    set(d, path, "converging", yyjson_mut_bool(d, true));
    set(d, path, "reason", yyjson_mut_str(d, ""));
    if (total_ms >= 0)
        set_int(d, path, "totalTimeMs", total_ms);
    if (downtime_ms >= 0)
        set_int(d, path, "downtimeMs", downtime_ms);
}

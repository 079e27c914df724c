#include "cli/watch/render.h"

#include <inttypes.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)
#define BAR_MAX 30
#define BAR_MIN 6
#define PHASE_WIDTH 15

static void duration(struct str *out, int64_t seconds)
{
    if (seconds >= 3600)
        str_printf(out, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        str_printf(out, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
    else
        str_printf(out, "%" PRId64 " s", seconds);
}

/* What stands right of the bar. */
static void figures(struct str *out, yyjson_val *p)
{
    int64_t eta = json_int(p, "/etaSeconds", -1);

    str_printf(out, "%3" PRId64 " %%  %.1f of %.1f MiB  %.1f MiB/s  dirty %.1f MiB/s  round %" PRId64 "  ",
               json_int(p, "/percent", 0), (double)json_int(p, "/bytesTransferred", 0) / MIB,
               (double)json_int(p, "/bytesTotal", 0) / MIB, (double)json_int(p, "/bytesPerSecond", 0) / MIB,
               (double)json_int(p, "/dirtyBytesPerSecond", 0) / MIB, json_int(p, "/iteration", 0));
    str_puts(out, "ETA ");
    if (eta < 0)
        str_puts(out, "unknown");
    else
        duration(out, eta);
    if (!json_bool(p, "/converging", true))
        str_printf(out, "  not converging: %s", json_str_or(p, "/reason", "no reason given"));
}

static void bar(struct str *out, int64_t percent, size_t width)
{
    size_t filled = (size_t)MAX(0, MIN(percent, 100)) * width / 100;

    str_putc(out, '[');
    for (size_t i = 0; i < width; i++)
        str_putc(out, i < filled ? '#' : '.');
    str_puts(out, "]");
}

void watch_line(struct str *out, const char *phase, yyjson_val *progress, size_t columns)
{
    _cleanup_str_ struct str right = {0}, line = {0};

    str_printf(&line, "%-*s ", PHASE_WIDTH, *phase ? phase : "Waiting");
    if (progress) {
        figures(&right, progress);
        size_t taken = line.len + right.len + 3; /* brackets and a blank */
        size_t room = columns > taken ? MIN(columns - taken, (size_t)BAR_MAX) : 0;
        if (room >= BAR_MIN) {
            bar(&line, json_int(progress, "/percent", 0), room);
            str_putc(&line, ' ');
        }
        str_puts(&line, str_text(&right));
    }
    str_add(out, str_text(&line), MIN(line.len, columns));
}

static void figures_at_end(struct str *out, yyjson_val *p)
{
    int64_t total = json_int(p, "/totalTimeMs", -1), downtime = json_int(p, "/downtimeMs", -1);

    if (total >= 0)
        str_printf(out, " in %.2f s", (double)total / 1000);
    str_printf(out, ", %.1f MiB in %" PRId64 " rounds", (double)json_int(p, "/bytesTransferred", 0) / MIB,
               json_int(p, "/iteration", 0));
    if (downtime >= 0)
        str_printf(out, ", downtime %" PRId64 " ms", downtime);
}

void watch_summary(struct str *out, const char *name, const char *phase, yyjson_val *state, yyjson_val *vmim_status)
{
    const char *own_reason = json_str(vmim_status, "/migrationState/failureReason");
    const char *source = json_str(state, "/sourceNode"), *target = json_str(state, "/targetNode");

    str_printf(out, "%s: %s", name, phase);
    if (source && target)
        str_printf(out, ", %s to %s", source, target);
    if (streq(phase, "Failed"))
        str_printf(out, ": %s", own_reason ? own_reason : json_str_or(state, "/failureReason", "no reason given"));
    else if (json_at(state, "/progress"))
        figures_at_end(out, json_at(state, "/progress"));
}

#include "agent/launcher/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/launcher/rotated.h"
#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/clock.h"

#define LOG_MAX (128 * 1024)
#define LINE_MAX_ 1024 /* longer ones are broken */

static struct {
    struct rotated file;
    char line[LINE_MAX_];
    size_t len;
} log_ = {.file = {.fd = -1}};

void launcher_log_open(const char *dir)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_LOG, dir);

    (void)rotated_open(&log_.file, path, LOG_MAX);
}

static void put_line(const char *prefix, const char *text, size_t len)
{
    char now[CLOCK_TEXT_MAX];
    _cleanup_free_ char *line =
        xasprintf("%s %s%.*s\n", clock_format_micro(clock_wall_us(), now), prefix, (int)len, text);

    rotated_write(&log_.file, line, strlen(line));
}

void launcher_log(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    put_line("launcher: ", text, strcspn(text, "\n"));
}

void launcher_log_flush(void)
{
    if (log_.len)
        put_line("", log_.line, log_.len);
    log_.len = 0;
}

void launcher_log_qemu(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n' || log_.len == sizeof(log_.line))
            launcher_log_flush();
        if (data[i] != '\n' && data[i] != '\r' && data[i] != '\0')
            log_.line[log_.len++] = data[i];
    }
}

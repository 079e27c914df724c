#include "base/log.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

static struct {
    char component[64];
    enum log_level level;
} self = {.component = "godwit", .level = LOG_INFO_};

static const char *const level_names[] = {
    [LOG_DEBUG_] = "debug",
    [LOG_INFO_] = "info",
    [LOG_WARN_] = "warning",
    [LOG_ERROR_] = "error",
};

void log_init(const char *component, enum log_level level)
{
    snprintf(self.component, sizeof(self.component), "%s", component);
    self.level = level;
}

/* One write per line, so that lines of several processes on one file never mix. */
static void emit(enum log_level level, const char *text)
{
    char when[CLOCK_TEXT_MAX];
    _cleanup_str_ struct str line = {0};
    int64_t now = clock_wall_ms();

    clock_format_micro(now * 1000, when);
    str_printf(&line, "%s %s %s: %s\n", when, level_names[level], self.component, text);
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return;
}

void log_at(enum log_level level, const char *fmt, ...)
{
    va_list ap;
    _cleanup_free_ char *text = NULL;

    if (level < self.level)
        return;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    emit(level, text ? text : fmt);
}

int log_failure(int number, struct gw_error *err, const char *fmt, ...)
{
    va_list ap;
    _cleanup_free_ char *what = NULL;

    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        what = NULL;
    va_end(ap);
    log_error("%s: %s", what ? what : fmt, gw_error_message(err));
    gw_error_done(err);
    return number;
}

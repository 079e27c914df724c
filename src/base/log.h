/* Logging: one line per message on stderr. Only daemons and commands log; libraries fill errors (base/error.h). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARN_, LOG_ERROR_ };

/* Lines below level are dropped; component names the program in each line ("agent node-a"). Copied. */
void log_init(const char *component, enum log_level level);

void log_at(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_debug(...) log_at(LOG_DEBUG_, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO_, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN_, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR_, __VA_ARGS__)

/* Logs "what: message of err" as an error, empties err, returns number. */
int log_failure(int number, struct gw_error *err, const char *fmt, ...) _printf_(3, 4);

/* A migration as one line of text. Pure. */
#pragma once

#include <stddef.h>

#include "base/json.h"
#include "base/str.h"

/* phase is the VMIM's ("" before the first); progress is status.migrationState.progress of the VMI, or NULL while there
 * is none. columns: width of the line; what does not fit is cut, the bar first. */
void watch_line(struct str *out, const char *phase, yyjson_val *progress, size_t columns);

/* The last line: outcome, source and target, time, bytes, rounds and downtime; or why it failed. state is
 * status.migrationState, vmim_status the VMIM's status; either may be NULL. */
void watch_summary(struct str *out, const char *name, const char *phase, yyjson_val *state, yyjson_val *vmim_status);

/* Time: the monotonic clock for intervals, the wall clock for what people read, both in milliseconds. Decisions never
 * call these; they get `now` from whoever runs them, so that tests run them in virtual time. */
#pragma once

#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void); /* since the epoch, UTC */
int64_t clock_wall_us(void); /* the same in microseconds */

#define CLOCK_TEXT_MAX 40

/* "2026-11-21T08:00:00Z", as metav1.Time; and with microseconds, as metav1.MicroTime. buf holds CLOCK_TEXT_MAX; returns
 * buf. */
char *clock_format(int64_t wall_ms, char *buf);
char *clock_format_micro(int64_t wall_us, char *buf);

/* Milliseconds since the epoch of an RFC 3339 time (fractions and offsets allowed), or -1 if it is none. */
int64_t clock_parse(const char *text);

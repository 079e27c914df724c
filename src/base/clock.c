#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_wall_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void format_seconds(int64_t s, char *buf)
{
    time_t t = (time_t)s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(buf, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
}

char *clock_format(int64_t wall_ms, char *buf)
{
    format_seconds(wall_ms / 1000, buf);
    strcat(buf, "Z");
    return buf;
}

char *clock_format_micro(int64_t wall_us, char *buf)
{
    format_seconds(wall_us / 1000000, buf);
    sprintf(buf + strlen(buf), ".%06dZ", (int)(wall_us % 1000000));
    return buf;
}

/* Reads ".123456" into milliseconds and moves *p behind it. */
static int fraction_ms(const char **p)
{
    int ms = 0, scale = 100;

    if (**p != '.')
        return 0;
    for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
        ms += (**p - '0') * scale;
    return ms;
}

int64_t clock_parse(const char *text)
{
    struct tm tm = {0};
    int hours, minutes;
    char sign;
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (!p)
        return -1;
    int64_t ms = fraction_ms(&p) + (int64_t)timegm(&tm) * 1000;
    if (streq(p, "Z") || streq(p, "z"))
        return ms;
    if (sscanf(p, "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-'))
        return -1;
    int64_t offset = (hours * 60 + minutes) * 60000LL;
    return sign == '+' ? ms - offset : ms + offset;
}

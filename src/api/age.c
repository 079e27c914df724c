#include <inttypes.h>
#include <stdio.h>

#include "api/columns.h"

/* Steps of k8s.io/apimachinery duration.HumanDuration: below `limit` seconds an age is written in `unit`, with the rest
 * in the next smaller unit where `rest` is set and the rest is not 0. */
static const struct {
    int64_t limit;
    int64_t unit;
    const char *name;
    int64_t rest;
    const char *rest_name;
} steps[] = {
    {120, 1, "s", 0, ""},
    {10 * 60, 60, "m", 1, "s"},
    {3 * 3600, 60, "m", 0, ""},
    {8 * 3600, 3600, "h", 60, "m"},
    {48 * 3600, 3600, "h", 0, ""},
    {8 * 86400, 86400, "d", 3600, "h"},
    {2 * 365 * 86400, 86400, "d", 0, ""},
    {8LL * 365 * 86400, 365 * 86400, "y", 86400, "d"},
    {INT64_MAX, 365 * 86400, "y", 0, ""},
};

char *age_format(int64_t seconds, char *buf)
{
    size_t i = 0;

    if (seconds < -1) {
        snprintf(buf, AGE_TEXT_MAX, "<invalid>");
        return buf;
    }
    seconds = seconds < 0 ? 0 : seconds;
    while (seconds >= steps[i].limit)
        i++;
    int64_t rest = steps[i].rest ? seconds % steps[i].unit / steps[i].rest : 0;
    if (rest)
        snprintf(buf, AGE_TEXT_MAX, "%" PRId64 "%s%" PRId64 "%s", seconds / steps[i].unit, steps[i].name, rest,
                 steps[i].rest_name);
    else
        snprintf(buf, AGE_TEXT_MAX, "%" PRId64 "%s", seconds / steps[i].unit, steps[i].name);
    return buf;
}

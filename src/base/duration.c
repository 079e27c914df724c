#include "base/duration.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define MAX_MS (100.0 * 366 * 86400 * 1000)

static const struct {
    const char *name;
    double ms;
} units[] = {
    {"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
};

/* Digits with at most one point among them; their length. */
static size_t number_len(const char *text)
{
    size_t whole = strspn(text, "0123456789"),
           rest = text[whole] == '.' ? 1 + strspn(text + whole + 1, "0123456789") : 0;

    return whole + rest > (rest > 0) ? whole + rest : 0;
}

/* "ms" before "m": the longest name that fits, whose length is returned; 0: none does. */
static size_t take_unit(const char *text, double *ret_ms)
{
    size_t best = 0;

    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (str_starts(text, units[i].name) && strlen(units[i].name) > best) {
            best = strlen(units[i].name);
            *ret_ms = units[i].ms;
        }
    return best;
}

int duration_parse(const char *text, int64_t *ret_ms, struct gw_error *err)
{
    bool negative = *text == '-';
    const char *at = text + (negative || *text == '+');
    double sum = 0, unit = 0;
    size_t n, u;

    if (streq(at, "0")) {
        *ret_ms = 0;
        return 0;
    }
    do {
        n = number_len(at);
        u = n ? take_unit(at + n, &unit) : 0;
        if (!u)
            return gw_error_set(err, GW_BAD_REQUEST, "\"%.40s\" is no duration, such as 5m0s", text);
        sum += strtod(at, NULL) * unit;
        at += n + u;
    } while (*at);
    sum = MIN(sum, MAX_MS);
    *ret_ms = (int64_t)(negative ? -sum : sum);
    return 0;
}

#include "api/format.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "api/quantity.h"
#include "base/clock.h"

static bool fits_time(const char *text)
{
    return clock_parse(text) >= 0;
}

static bool fits_base64(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t padding = strspn(text + n, "=");

    return text[n + padding] == '\0' && padding <= 2 && (n + padding) % 4 == 0;
}

/* Go's time.ParseDuration: a sign and numbers with units ("1h30m", "1.5s"), or "0". */
static bool fits_duration(const char *text)
{
    static const char *const units[] = {"ns", "us", "µs", "ms", "s", "m", "h"};

    text += *text == '-' || *text == '+';
    if (streq(text, "0"))
        return true;
    do {
        size_t digits = strspn(text, "0123456789."), unit;
        if (!digits || (digits == 1 && *text == '.') || memchr(text, '.', digits) != memrchr(text, '.', digits))
            return false;
        text += digits;
        for (unit = 0; unit < ARRAY_SIZE(units); unit++) {
            size_t len = strlen(units[unit]);
            if (strncmp(text, units[unit], len) == 0 && !isalpha((unsigned char)text[len])) {
                text += len;
                break;
            }
        }
        if (unit == ARRAY_SIZE(units))
            return false;
    } while (*text);
    return true;
}

static bool fits_ipv4(const char *text)
{
    struct in_addr a;

    return inet_pton(AF_INET, text, &a) == 1;
}

static bool fits_ipv6(const char *text)
{
    struct in6_addr a;

    return inet_pton(AF_INET6, text, &a) == 1;
}

static bool fits_ip(const char *text)
{
    return fits_ipv4(text) || fits_ipv6(text);
}

static bool fits_cidr(const char *text)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    long bits;
    char *end;

    if (!slash || (size_t)(slash - text) >= sizeof(address) || !isdigit((unsigned char)slash[1]))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    bits = strtol(slash + 1, &end, 10);
    return *end == '\0' && ((fits_ipv4(address) && bits <= 32) || (fits_ipv6(address) && bits <= 128));
}

/* Each 'x' of the mask stands for a hexadecimal digit. */
static bool fits_mask(const char *text, const char *mask)
{
    for (; *mask; mask++, text++)
        if (*mask == 'x' ? !isxdigit((unsigned char)*text) : *mask != *text)
            return false;
    return *text == '\0';
}

static bool fits_mac(const char *text)
{
    return fits_mask(text, "xx:xx:xx:xx:xx:xx") || fits_mask(text, "xx-xx-xx-xx-xx-xx");
}

static bool fits_uuid(const char *text)
{
    return fits_mask(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

static const struct {
    const char *name;
    bool (*fits)(const char *text);
} texts[] = {
    {"date-time", fits_time}, {"micro-time", fits_time}, {"byte", fits_base64},        {"duration", fits_duration},
    {"ip", fits_ip},          {"ipv4", fits_ipv4},       {"ipv6", fits_ipv6},          {"cidr", fits_cidr},
    {"mac", fits_mac},        {"uuid", fits_uuid},       {"quantity", quantity_valid},
};

static const struct {
    const char *name;
    int64_t min;
    int64_t max;
} integers[] = {
    {"int32", INT32_MIN, INT32_MAX},
    {"uint32", 0, UINT32_MAX},
    {"int64", INT64_MIN, INT64_MAX},
};

static bool integer_fits(const char *format, yyjson_val *value)
{
    bool huge = yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX;

    for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
        if (streq(integers[i].name, format))
            return !huge && yyjson_get_sint(value) >= integers[i].min && yyjson_get_sint(value) <= integers[i].max;
    return true;
}

bool format_fits(const char *format, yyjson_val *value)
{
    if (yyjson_is_int(value))
        return integer_fits(format, value);
    for (size_t i = 0; yyjson_is_str(value) && i < ARRAY_SIZE(texts); i++)
        if (streq(texts[i].name, format))
            return texts[i].fits(yyjson_get_str(value));
    return true;
}

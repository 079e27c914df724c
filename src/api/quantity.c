#include "api/quantity.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANO ((__int128)1000000000)
/* 2^63-1 units, the largest quantity. */
#define LIMIT ((__int128)INT64_MAX * NANO)

static const char syntax[] =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/* A suffix stands for base^exponent. */
static const struct suffix {
    const char *text;
    enum quantity_format format;
    int exponent; /* of ten, or of two for BINARY_SI */
} suffixes[] = {
    {"E", QUANTITY_DECIMAL_SI, 18}, {"P", QUANTITY_DECIMAL_SI, 15}, {"T", QUANTITY_DECIMAL_SI, 12},
    {"G", QUANTITY_DECIMAL_SI, 9},  {"M", QUANTITY_DECIMAL_SI, 6},  {"k", QUANTITY_DECIMAL_SI, 3},
    {"", QUANTITY_DECIMAL_SI, 0},   {"m", QUANTITY_DECIMAL_SI, -3}, {"u", QUANTITY_DECIMAL_SI, -6},
    {"n", QUANTITY_DECIMAL_SI, -9}, {"Ei", QUANTITY_BINARY_SI, 60}, {"Pi", QUANTITY_BINARY_SI, 50},
    {"Ti", QUANTITY_BINARY_SI, 40}, {"Gi", QUANTITY_BINARY_SI, 30}, {"Mi", QUANTITY_BINARY_SI, 20},
    {"Ki", QUANTITY_BINARY_SI, 10},
};

static __int128 cap(__int128 nano)
{
    return nano > LIMIT ? LIMIT : nano < -LIMIT ? -LIMIT : nano;
}

/* e and E with digits behind them are exponents; a lone E is the suffix. */
static bool parse_suffix(const char *text, enum quantity_format *ret_format, int *ret_exponent)
{
    char *end;
    long exponent;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
        if (strcmp(suffixes[i].text, text) == 0) {
            *ret_format = suffixes[i].format;
            *ret_exponent = suffixes[i].exponent;
            return true;
        }
    if (*text != 'e' && *text != 'E')
        return false;
    if (!isdigit((unsigned char)text[1 + (text[1] == '+' || text[1] == '-')]))
        return false;
    exponent = strtol(text + 1, &end, 10);
    if (*end)
        return false;
    *ret_format = QUANTITY_DECIMAL_EXPONENT;
    *ret_exponent = (int)(exponent > 1000 ? 1000 : exponent < -1000 ? -1000 : exponent);
    return true;
}

/* A number in the making: value * 10^scale, exact but for `rest`, which tells that something smaller was cut off. */
struct number {
    __int128 value;
    int scale;
    bool rest;
};

/* The largest quantity has 28 digits in billionths; digits behind these only matter for rounding. */
#define DIGITS_MAX 30

static void add_digit(struct number *n, int digit, bool fraction, int *count)
{
    if (*count >= DIGITS_MAX) {
        n->rest |= digit != 0;
        n->scale += !fraction;
        return;
    }
    if (*count || digit)
        ++*count;
    n->value = n->value * 10 + digit;
    n->scale -= fraction;
}

/* Reads digits with at most one dot; returns what follows, NULL when there is no digit. */
static const char *parse_digits(const char *p, struct number *n)
{
    bool fraction = false, any = false;
    int count = 0;

    for (; isdigit((unsigned char)*p) || (*p == '.' && !fraction); p++) {
        if (*p == '.') {
            fraction = true;
        } else {
            any = true;
            add_digit(n, *p - '0', fraction, &count);
        }
    }
    return any ? p : NULL;
}

/* Multiplies by a power of two up to 2^60, cutting off digits that would not fit beside it. */
static void scale_binary(struct number *n, int exponent)
{
    for (; n->value >> 66; n->scale++) {
        n->rest |= n->value % 10 != 0;
        n->value /= 10;
    }
    n->value <<= exponent;
}

/* n in billionths, rounded up. */
static __int128 to_nano(struct number n)
{
    int scale = n.scale + 9;

    for (; scale > 0 && n.value && n.value <= LIMIT; scale--)
        n.value *= 10;
    for (; scale < 0 && (n.value || n.rest); scale++) {
        n.rest |= n.value % 10 != 0;
        n.value /= 10;
        if (!n.value)
            break;
    }
    return cap(n.value + n.rest);
}

int quantity_parse(const char *text, struct quantity *ret, struct gw_error *err)
{
    const char *p = text + (*text == '-' || *text == '+'), *suffix;
    struct number n = {0};
    struct quantity q;
    int exponent;

    suffix = parse_digits(p, &n);
    if (!suffix || !parse_suffix(suffix, &q.format, &exponent))
        return gw_error_set(err, GW_BAD_REQUEST, "%s", syntax);
    if (q.format == QUANTITY_BINARY_SI)
        scale_binary(&n, exponent);
    else
        n.scale += exponent;
    q.nano = to_nano(n);
    if (*text == '-')
        q.nano = -q.nano;
    *ret = q;
    return 0;
}

bool quantity_valid(const char *text)
{
    struct quantity q;

    return quantity_parse(text, &q, NULL) == 0;
}

/* Decimal digits of a value that is not negative. */
static char *digits_of(unsigned __int128 value, char *end)
{
    *end = '\0';
    do
        *--end = (char)('0' + (int)(value % 10));
    while (value /= 10);
    return end;
}

static char *put(char *buf, bool negative, unsigned __int128 value, const char *suffix)
{
    char digits[QUANTITY_TEXT_MAX];

    snprintf(buf, QUANTITY_TEXT_MAX, "%s%s%s", negative ? "-" : "", digits_of(value, digits + sizeof(digits) - 1),
             suffix);
    return buf;
}

static unsigned __int128 decimal_unit(int exponent)
{
    unsigned __int128 unit = 1;

    for (int e = -9; e < exponent; e++)
        unit *= 10;
    return unit;
}

/* A binary format with a fraction, or of less than 1024, is written as a decimal one. */
static enum quantity_format effective_format(const struct quantity *q, unsigned __int128 magnitude)
{
    if (q->format == QUANTITY_BINARY_SI && (magnitude % NANO != 0 || magnitude < 1024 * NANO))
        return QUANTITY_DECIMAL_SI;
    return q->format;
}

char *quantity_format(const struct quantity *q, char *buf)
{
    bool negative = q->nano < 0;
    unsigned __int128 magnitude = negative ? -(unsigned __int128)q->nano : (unsigned __int128)q->nano;
    enum quantity_format format = effective_format(q, magnitude);
    bool exponent = format == QUANTITY_DECIMAL_EXPONENT;

    if (!magnitude)
        return put(buf, false, 0, "");
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        const struct suffix *s = &suffixes[i];
        bool binary = s->format == QUANTITY_BINARY_SI;
        if (binary != (format == QUANTITY_BINARY_SI))
            continue;
        unsigned __int128 unit = binary ? ((unsigned __int128)NANO << s->exponent) : decimal_unit(s->exponent);
        if (magnitude % unit != 0)
            continue;
        char power[16] = "";
        if (exponent && s->exponent)
            snprintf(power, sizeof(power), "e%d", s->exponent);
        return put(buf, negative, magnitude / unit, exponent ? power : s->text);
    }
    return put(buf, negative, magnitude / NANO, "");
}

static int64_t round_up(__int128 nano, __int128 unit)
{
    __int128 value = nano / unit;

    if (nano > 0 && nano % unit)
        value++;
    return value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

int64_t quantity_value(const struct quantity *q)
{
    return round_up(q->nano, NANO);
}

int64_t quantity_milli(const struct quantity *q)
{
    return round_up(q->nano, NANO / 1000);
}

int64_t quantity_text_value(const char *text, int64_t fallback)
{
    struct quantity q;

    return text && quantity_parse(text, &q, NULL) == 0 ? quantity_value(&q) : fallback;
}

int64_t quantity_text_milli(const char *text, int64_t fallback)
{
    struct quantity q;

    return text && quantity_parse(text, &q, NULL) == 0 ? quantity_milli(&q) : fallback;
}

struct quantity quantity_from(int64_t value, enum quantity_format format)
{
    return (struct quantity){.nano = cap(value * NANO), .format = format};
}

struct quantity quantity_from_milli(int64_t milli, enum quantity_format format)
{
    return (struct quantity){.nano = milli * (NANO / 1000), .format = format};
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
    return a->nano < b->nano ? -1 : a->nano > b->nano;
}

void quantity_add(struct quantity *a, const struct quantity *b)
{
    if (!a->nano)
        a->format = b->format;
    a->nano = cap(a->nano + b->nano);
}

void quantity_sub(struct quantity *a, const struct quantity *b)
{
    if (!a->nano)
        a->format = b->format;
    a->nano = cap(a->nano - b->nano);
}

#include "base/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len)
{
    const unsigned char *in = data;
    char *text = xmalloc((len + 2) / 3 * 4 + 1), *out = text;

    for (size_t i = 0; i < len; i += 3) {
        size_t n = MIN(len - i, (size_t)3);
        uint32_t bits = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (n > 2 ? in[i + 2] : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = n > 2 ? alphabet[bits & 63] : '=';
    }
    *out = '\0';
    return text;
}

/* Removes white space and padding; the number of digits left, or -1 if the padding is wrong. */
static ssize_t digits(const char *text, size_t len, char *out)
{
    size_t n = 0, padding = 0;

    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r\n", text[i]) && text[i])
            continue;
        if (text[i] == '=')
            padding++;
        else if (padding)
            return -1;
        else
            out[n++] = text[i];
    }
    return (n + padding) % 4 == 0 && padding <= 2 && n % 4 != 1 ? (ssize_t)n : -1;
}

int base64_decode(const char *text, size_t len, char **ret, size_t *ret_len)
{
    _cleanup_free_ char *in = xmalloc(len + 1);
    _cleanup_free_ char *out = xmalloc(len / 4 * 3 + 4);
    ssize_t n = digits(text, len, in);
    uint32_t bits = 0;
    size_t used = 0;

    if (n < 0)
        return -EINVAL;
    for (ssize_t i = 0; i < n; i++) {
        const char *digit = in[i] ? strchr(alphabet, in[i]) : NULL;
        if (!digit)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        if (i % 4)
            out[used++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    out[used] = '\0';
    *ret = TAKE_PTR(out);
    if (ret_len)
        *ret_len = used;
    return 0;
}

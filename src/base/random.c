#include "base/random.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static void (*replacement)(void *userdata, void *buf, size_t len);
static void *replacement_userdata;

void random_replace(void (*source)(void *userdata, void *buf, size_t len), void *userdata)
{
    replacement = source;
    replacement_userdata = userdata;
}

void random_bytes(void *buf, size_t len)
{
    unsigned char *p = buf;

    if (replacement) {
        replacement(replacement_userdata, buf, len);
        return;
    }
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0)
            continue; /* only EINTR can be met here */
        p += n;
        len -= (size_t)n;
    }
}

char *random_uuid(char *buf)
{
    uint8_t b[16];

    random_bytes(b, sizeof(b));
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(buf, UUID_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return buf;
}

char *random_suffix(char *buf, size_t len)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

    random_bytes(buf, len);
    for (size_t i = 0; i < len; i++)
        buf[i] = alphabet[(unsigned char)buf[i] % (sizeof(alphabet) - 1)];
    buf[len] = '\0';
    return buf;
}

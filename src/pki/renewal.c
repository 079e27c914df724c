#include <stdlib.h>
#include <string.h>

#include "pki/pki.h"

#define LOOK_MS (60 * 60 * 1000LL)
int64_t pki_renew_at_ms(const struct pki_info *info)
{
    int64_t life = info->not_after_ms - info->not_before_ms;
    char digits[5] = {0};

    memcpy(digits, info->fingerprint, 4);
    return info->not_before_ms + life * 2 / 3 - life / 10 * strtol(digits, NULL, 16) / 0xffff;
}

int64_t pki_renew_wait_ms(const char *cert_pem, int64_t wall_ms)
{
    _cleanup_pki_info_ struct pki_info info = {0};
    int64_t left;

    if (!cert_pem || pki_cert_read(cert_pem, &info, NULL) < 0)
        return 0;
    left = pki_renew_at_ms(&info) - wall_ms;
    return left <= 0 ? 0 : MIN(left, LOOK_MS);
}

/* Certificates and certificate requests of strangers: names, alternative names, purposes. The input is DER; requests
 * are read in PEM, so it is wrapped for them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "pki/authority.h"

/* A bundle of authorities, as text. Every block comes out, and no call goes back. */
static void look_at_bundle(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    char issuer[65], *block;

    for (const char *at = text, *before = text; (block = pki_next_pem(&at, "CERTIFICATE")); before = at, free(block))
        if (at <= before || strncmp(block, "-----BEGIN ", 11) != 0)
            abort();
    (void)pki_issuer_of(text, text, issuer, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *base64 = base64_encode(data, size);
    _cleanup_free_ char *pem =
        xasprintf("-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n", base64);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct pki_info info = {0};

    if (pki_cert_read_der(data, size, &info, &err) == 0 && strlen(info.fingerprint) != 64)
        abort();
    pki_info_done(&info);
    if (pki_csr_read(pem, &info, &err) == 0 && !info.cn)
        abort();
    pki_info_done(&info);
    look_at_bundle(data, size);
    return 0;
}

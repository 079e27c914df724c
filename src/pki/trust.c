#include <string.h>

#include "base/alloc.h"
#include "pki/pki_internal.h"

struct pki_trust {
    gnutls_x509_trust_list_t list;
};

int pki_trust_new(const char *ca_pem, struct pki_trust **ret, struct gw_error *err)
{
    struct pki_trust *t = xnew(struct pki_trust);
    gnutls_datum_t in = pki_datum(ca_pem);
    int r = gnutls_x509_trust_list_init(&t->list, 0);

    if (r >= 0)
        r = gnutls_x509_trust_list_add_trust_mem(t->list, &in, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    if (r <= 0) {
        pki_trust_free(t);
        return r < 0 ? pki_fail(err, GW_INVALID, r, "cannot read the authority's certificates")
                     : gw_error_set(err, GW_INVALID, "there is no certificate of an authority");
    }
    *ret = t;
    return 0;
}

struct pki_trust *pki_trust_free(struct pki_trust *t)
{
    if (t && t->list)
        gnutls_x509_trust_list_deinit(t->list, 1);
    free(t);
    return NULL;
}

struct chain {
    gnutls_x509_crt_t certs[PKI_MAX_CHAIN];
    unsigned n;
};

static void chain_done(struct chain *c)
{
    for (unsigned i = 0; i < c->n; i++)
        gnutls_x509_crt_deinit(c->certs[i]);
}

/* Times are checked here and not by GnuTLS, which only knows the clock of the machine. The authority's own times need
 * no check: it issues nothing that outlives it. */
static int check_times(const struct chain *c, int64_t wall_ms, struct gw_error *err)
{
    for (unsigned i = 0; i < c->n; i++) {
        if ((int64_t)gnutls_x509_crt_get_activation_time(c->certs[i]) * 1000 > wall_ms)
            return gw_error_set(err, GW_UNAUTHORIZED, "the certificate is not valid yet: compare the clocks");
        if ((int64_t)gnutls_x509_crt_get_expiration_time(c->certs[i]) * 1000 < wall_ms)
            return gw_error_set(err, GW_UNAUTHORIZED, "the certificate has expired");
    }
    return 0;
}

static const struct pki_purpose *find_purpose(unsigned usage)
{
    for (size_t i = 0; i < pki_n_purposes; i++)
        if (pki_purposes[i].usage == (enum pki_usage)usage)
            return &pki_purposes[i];
    return NULL;
}

static int refuse(unsigned status, struct gw_error *err)
{
    _cleanup_datum_ gnutls_datum_t text = {0};

    if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE))
        return gw_error_set(err, GW_UNAUTHORIZED, "the certificate is signed by an unknown authority");
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    return gw_error_set(err, GW_UNAUTHORIZED, "the certificate is refused: %s",
                        text.data ? (char *)text.data : "unknown reason");
}

static int verify(const struct pki_trust *t, struct chain *c, unsigned purpose, int64_t wall_ms, struct pki_info *ret,
                  struct gw_error *err)
{
    const struct pki_purpose *want = find_purpose(purpose);
    _cleanup_pki_info_ struct pki_info info = {0};
    unsigned status = 0;
    int r =
        gnutls_x509_trust_list_verify_crt(t->list, c->certs, c->n, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status, NULL);

    if (r < 0)
        return pki_fail(err, GW_UNAUTHORIZED, r, "cannot verify the certificate");
    if (status)
        return refuse(status, err);
    r = check_times(c, wall_ms, err);
    r = r < 0 ? r : pki_info_from_crt(c->certs[0], &info, err);
    if (r < 0)
        return r;
    if (want && !(info.usages & purpose))
        return gw_error_set(err, GW_UNAUTHORIZED, "the certificate is not one for a %s", want->text);
    if (ret) {
        *ret = info;
        info = (struct pki_info){0};
    }
    return 0;
}

int pki_trust_verify(const struct pki_trust *t, const struct pki_der *chain, size_t n, unsigned purpose,
                     int64_t wall_ms, struct pki_info *ret, struct gw_error *err)
{
    _cleanup_(chain_done) struct chain c = {.n = 0};

    if (n == 0 || n > PKI_MAX_CHAIN)
        return gw_error_set(err, GW_UNAUTHORIZED, "a chain of 1 to %d certificates is needed", PKI_MAX_CHAIN);
    for (size_t i = 0; i < n; i++) {
        gnutls_datum_t der = {(unsigned char *)chain[i].data, (unsigned)chain[i].len};
        int r = gnutls_x509_crt_init(&c.certs[i]);

        if (r >= 0) {
            c.n++;
            r = gnutls_x509_crt_import(c.certs[i], &der, GNUTLS_X509_FMT_DER);
        }
        if (r < 0)
            return pki_fail(err, GW_UNAUTHORIZED, r, "cannot read the certificate");
    }
    return verify(t, &c, purpose, wall_ms, ret, err);
}

int pki_trust_verify_pem(const struct pki_trust *t, const char *chain_pem, unsigned purpose, int64_t wall_ms,
                         struct pki_info *ret, struct gw_error *err)
{
    _cleanup_(chain_done) struct chain c = {.n = 0};
    gnutls_datum_t in = pki_datum(chain_pem);
    unsigned n = PKI_MAX_CHAIN;
    int r =
        gnutls_x509_crt_list_import(c.certs, &n, &in, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

    if (r < 0)
        return pki_fail(err, GW_UNAUTHORIZED, r, "cannot read the certificate");
    c.n = n;
    return verify(t, &c, purpose, wall_ms, ret, err);
}

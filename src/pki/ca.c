#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/str.h"
#include "pki/pki_internal.h"

#define BACKDATE_S 300 /* clocks of nodes may be this far apart; less where that would be most of a short life */

/* The first failure of a row of GnuTLS calls: `TRY(r, call)` does nothing once r is negative. */
#define TRY(r, call) \
    do { \
        if ((r) >= 0) \
            (r) = (call); \
    } while (0)

static int set_sans(gnutls_x509_crt_t crt, const char *const *sans)
{
    int r = 0;

    for (; sans && *sans; sans++) {
        unsigned char ip[16];
        size_t n = pki_ip_bytes(*sans, ip);

        TRY(r, gnutls_x509_crt_set_subject_alt_name(crt, n ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME,
                                                    n ? (void *)ip : (void *)*sans, (unsigned)(n ? n : strlen(*sans)),
                                                    GNUTLS_FSAN_APPEND));
    }
    return r;
}

static int set_subject(gnutls_x509_crt_t crt, const struct pki_subject *subject)
{
    int r =
        gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, subject->cn, (unsigned)strlen(subject->cn));

    for (const char *const *o = subject->o; o && *o; o++)
        TRY(r, gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, *o, (unsigned)strlen(*o)));
    TRY(r, set_sans(crt, subject->sans));
    return r;
}

static int set_usages(gnutls_x509_crt_t crt, unsigned usages)
{
    bool ca = usages & PKI_CA;
    int r = gnutls_x509_crt_set_basic_constraints(crt, ca, ca ? 0 : -1);

    /* QEMU insists on key encipherment, though no ECDSA key is ever used so (crypto/tlscredsx509.c, "usage does not
     * permit"). */
    TRY(r, gnutls_x509_crt_set_key_usage(crt, ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                                                 : GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT));
    for (size_t i = 0; i < pki_n_purposes; i++)
        if (usages & pki_purposes[i].usage)
            TRY(r, gnutls_x509_crt_set_key_purpose_oid(crt, pki_purposes[i].oid, 0));
    return r;
}

static int set_times(gnutls_x509_crt_t crt, int64_t lifetime_s, time_t earliest, time_t latest)
{
    time_t now = (time_t)(clock_wall_ms() / 1000), end = now + (time_t)lifetime_s;
    time_t backdate = MIN(BACKDATE_S, (time_t)lifetime_s / 4);
    int r = gnutls_x509_crt_set_activation_time(crt, MAX(now - backdate, earliest));

    TRY(r, gnutls_x509_crt_set_expiration_time(crt, latest && end > latest ? latest : end));
    return r;
}

static int set_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
    unsigned char serial[16], id[32];
    size_t n = sizeof(id);
    int r;

    random_bytes(serial, sizeof(serial));
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and no leading zero octet (RFC 5280, section 4.1.2.2) */
    r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
    TRY(r, gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &n));
    TRY(r, gnutls_x509_crt_set_subject_key_id(crt, id, n));
    n = sizeof(id);
    if (issuer != crt) {
        TRY(r, gnutls_x509_crt_get_subject_key_id(issuer, id, &n, NULL));
        TRY(r, gnutls_x509_crt_set_authority_key_id(crt, id, n));
    }
    return r;
}

/* Fills and signs crt, which holds its public key already. issuer == crt: self-signed; earliest: see pki_ca_new_after.
 */
static int finish(gnutls_x509_crt_t crt, const struct pki_subject *subject, unsigned usages, int64_t lifetime_s,
                  time_t earliest, gnutls_x509_crt_t issuer, gnutls_x509_privkey_t key)
{
    int r = gnutls_x509_crt_set_version(crt, 3);

    TRY(r, set_subject(crt, subject));
    TRY(r, set_usages(crt, usages));
    TRY(r, set_times(crt, lifetime_s, earliest, issuer == crt ? 0 : gnutls_x509_crt_get_expiration_time(issuer)));
    TRY(r, set_ids(crt, issuer));
    TRY(r, gnutls_x509_crt_sign2(crt, issuer, key, GNUTLS_DIG_SHA256, 0));
    return r;
}

int pki_ca_new(const char *cn, int64_t lifetime_s, struct pki_ca **ret, struct gw_error *err)
{
    return pki_ca_new_after(cn, lifetime_s, 0, ret, err);
}

int pki_ca_new_after(const char *cn, int64_t lifetime_s, time_t earliest, struct pki_ca **ret, struct gw_error *err)
{
    _cleanup_key_ char *key_pem = NULL;
    _cleanup_free_ char *cert_pem = NULL;
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    const struct pki_subject subject = {.cn = cn};
    int r = pki_key_new(&key_pem, err);

    r = r < 0 ? r : pki_load_key(key_pem, &key, err);
    if (r < 0)
        return r;
    r = gnutls_x509_crt_init(&crt);
    TRY(r, gnutls_x509_crt_set_key(crt, key));
    TRY(r, finish(crt, &subject, PKI_CA, lifetime_s, earliest, crt, key));
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot make a certificate authority");
    r = pki_export_cert(crt, &cert_pem, err);
    return r < 0 ? r : pki_ca_from_pem(cert_pem, key_pem, ret, err);
}

int pki_ca_from_pem(const char *cert_pem, const char *key_pem, struct pki_ca **ret, struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    struct pki_ca *ca;
    int r = pki_load_cert(cert_pem, &crt, err);

    r = r < 0 ? r : pki_load_key(key_pem, &key, err);
    if (r < 0)
        return r;
    if (gnutls_x509_crt_get_ca_status(crt, NULL) <= 0)
        return gw_error_set(err, GW_INVALID, "the certificate is not one of an authority");
    if (!pki_cert_matches_key(cert_pem, key_pem))
        return gw_error_set(err, GW_INVALID, "the key does not belong to the authority's certificate");
    ca = xnew(struct pki_ca);
    *ca = (struct pki_ca){TAKE_PTR(crt), TAKE_PTR(key), xstrdup(cert_pem), xstrdup(key_pem)};
    *ret = ca;
    return 0;
}

struct pki_ca *pki_ca_free(struct pki_ca *ca)
{
    if (!ca)
        return NULL;
    gnutls_x509_crt_deinit(ca->crt);
    gnutls_x509_privkey_deinit(ca->key);
    free(ca->cert_pem);
    pki_free_key(ca->key_pem);
    free(ca);
    return NULL;
}

const char *pki_ca_cert_pem(const struct pki_ca *ca)
{
    return ca->cert_pem;
}

const char *pki_ca_key_pem(const struct pki_ca *ca)
{
    return ca->key_pem;
}

int pki_issue(const struct pki_ca *ca, const char *csr_pem, const struct pki_subject *subject, unsigned usages,
              int64_t lifetime_s, char **ret_cert_pem, struct gw_error *err)
{
    _cleanup_crq_ gnutls_x509_crq_t crq = NULL;
    _cleanup_pubkey_ gnutls_pubkey_t pubkey = NULL;
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    int r = pki_load_csr(csr_pem, &crq, err);

    if (r < 0)
        return r;
    r = gnutls_pubkey_init(&pubkey);
    TRY(r, gnutls_pubkey_import_x509_crq(pubkey, crq, 0));
    TRY(r, gnutls_x509_crt_init(&crt));
    TRY(r, gnutls_x509_crt_set_pubkey(crt, pubkey));
    TRY(r, finish(crt, subject, usages, lifetime_s, 0, ca->crt, ca->key));
    return r < 0 ? pki_fail(err, GW_INTERNAL_ERROR, r, "cannot issue a certificate")
                 : pki_export_cert(crt, ret_cert_pem, err);
}

int pki_issue_with_key(const struct pki_ca *ca, const struct pki_subject *subject, unsigned usages, int64_t lifetime_s,
                       char **ret_cert_pem, char **ret_key_pem, struct gw_error *err)
{
    _cleanup_key_ char *key_pem = NULL;
    _cleanup_free_ char *csr_pem = NULL;
    int r = pki_key_new(&key_pem, err);

    r = r < 0 ? r : pki_csr_new(key_pem, subject, usages, &csr_pem, err);
    r = r < 0 ? r : pki_issue(ca, csr_pem, subject, usages, lifetime_s, ret_cert_pem, err);
    if (r < 0)
        return r;
    *ret_key_pem = TAKE_PTR(key_pem);
    return 0;
}

static int csr_names(gnutls_x509_crq_t crq, const struct pki_subject *subject)
{
    int r =
        gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, subject->cn, (unsigned)strlen(subject->cn));

    for (const char *const *o = subject->o; o && *o; o++)
        TRY(r, gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, *o, (unsigned)strlen(*o)));
    for (const char *const *san = subject->sans; san && *san; san++) {
        unsigned char ip[16];
        size_t n = pki_ip_bytes(*san, ip);

        TRY(r, gnutls_x509_crq_set_subject_alt_name(crq, n ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME,
                                                    n ? (void *)ip : (void *)*san, (unsigned)(n ? n : strlen(*san)),
                                                    GNUTLS_FSAN_APPEND));
    }
    return r;
}

/* GnuTLS writes the label of before RFC 7468, which Go (kubectl describe csr) does not read. */
static char *csr_text(const gnutls_datum_t *pem)
{
    static const char old[] = "NEW CERTIFICATE REQUEST", now[] = "CERTIFICATE REQUEST";
    _cleanup_free_ char *text = xstrndup((const char *)pem->data, pem->size);
    struct str out = {0};

    for (const char *p = text, *at; p; p = at ? at + strlen(old) : NULL) {
        at = strstr(p, old);
        str_add(&out, p, at ? (size_t)(at - p) : strlen(p));
        if (at)
            str_puts(&out, now);
    }
    return str_take(&out);
}

int pki_csr_new(const char *key_pem, const struct pki_subject *subject, unsigned usages, char **ret_csr_pem,
                struct gw_error *err)
{
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    _cleanup_crq_ gnutls_x509_crq_t crq = NULL;
    _cleanup_datum_ gnutls_datum_t out = {0};
    int r = pki_load_key(key_pem, &key, err);

    if (r < 0)
        return r;
    r = gnutls_x509_crq_init(&crq);
    TRY(r, gnutls_x509_crq_set_version(crq, 1));
    TRY(r, gnutls_x509_crq_set_key(crq, key));
    TRY(r, csr_names(crq, subject));
    for (size_t i = 0; i < pki_n_purposes; i++)
        if (usages & pki_purposes[i].usage)
            TRY(r, gnutls_x509_crq_set_key_purpose_oid(crq, pki_purposes[i].oid, 0));
    TRY(r, gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0));
    TRY(r, gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &out));
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot make a certificate request");
    *ret_csr_pem = csr_text(&out);
    return 0;
}

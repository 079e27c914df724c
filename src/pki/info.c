/* What certificates and requests say. Names come from strangers: those with NUL bytes in them, and too many of them,
 * are refused, because "admin\0.evil" must never be read as "admin". */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "pki/pki_internal.h"

/* GnuTLS has each reader twice, for certificates and for requests; these tables let one code walk both. */
struct reader {
    const void *object;
    int (*dn)(const void *object, const char *oid, unsigned index, void *buf, size_t *size);
    int (*san)(const void *object, unsigned index, void *buf, size_t *size, unsigned *type);
    int (*purpose)(const void *object, unsigned index, void *buf, size_t *size);
};

static int crt_dn(const void *o, const char *oid, unsigned i, void *buf, size_t *size)
{
    return gnutls_x509_crt_get_dn_by_oid((gnutls_x509_crt_t)o, oid, i, 0, buf, size);
}

static int crt_san(const void *o, unsigned i, void *buf, size_t *size, unsigned *type)
{
    return gnutls_x509_crt_get_subject_alt_name2((gnutls_x509_crt_t)o, i, buf, size, type, NULL);
}

static int crt_purpose(const void *o, unsigned i, void *buf, size_t *size)
{
    return gnutls_x509_crt_get_key_purpose_oid((gnutls_x509_crt_t)o, i, buf, size, NULL);
}

static int crq_dn(const void *o, const char *oid, unsigned i, void *buf, size_t *size)
{
    return gnutls_x509_crq_get_dn_by_oid((gnutls_x509_crq_t)o, oid, i, 0, buf, size);
}

static int crq_san(const void *o, unsigned i, void *buf, size_t *size, unsigned *type)
{
    return gnutls_x509_crq_get_subject_alt_name((gnutls_x509_crq_t)o, i, buf, size, type, NULL);
}

static int crq_purpose(const void *o, unsigned i, void *buf, size_t *size)
{
    return gnutls_x509_crq_get_key_purpose_oid((gnutls_x509_crq_t)o, i, buf, size, NULL);
}

static int bad(struct gw_error *err, const char *what)
{
    return gw_error_set(err, GW_BAD_REQUEST, "the certificate or request has %s", what);
}

static int add_name(char ***names, size_t *n, const char *text, size_t len, struct gw_error *err)
{
    if (memchr(text, '\0', len) || len == 0)
        return bad(err, "a name that is empty or holds a NUL byte");
    if (*n == PKI_MAX_NAMES)
        return bad(err, "too many names");
    *names = xrealloc(*names, (*n + 1) * sizeof(**names));
    (*names)[(*n)++] = xstrndup(text, len);
    return 0;
}

static int read_groups(const struct reader *in, struct pki_info *ret, struct gw_error *err)
{
    for (unsigned i = 0;; i++) {
        char buf[512];
        size_t size = sizeof(buf);
        int r = in->dn(in->object, GNUTLS_OID_X520_ORGANIZATION_NAME, i, buf, &size);

        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return 0;
        if (r < 0)
            return bad(err, "an organization that is too long or malformed");
        r = add_name(&ret->o, &ret->n_o, buf, size, err);
        if (r < 0)
            return r;
    }
}

static int read_cn(const struct reader *in, struct pki_info *ret, struct gw_error *err)
{
    char buf[512];
    size_t size = sizeof(buf);
    int r = in->dn(in->object, GNUTLS_OID_X520_COMMON_NAME, 0, buf, &size);

    if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        size = 0;
    else if (r < 0 || memchr(buf, '\0', size))
        return bad(err, "a common name that is too long or malformed");
    ret->cn = xstrndup(buf, size);
    return 0;
}

static int add_san(struct pki_info *ret, unsigned type, const char *buf, size_t size, struct gw_error *err)
{
    char text[INET6_ADDRSTRLEN];

    if (type == GNUTLS_SAN_DNSNAME)
        return add_name(&ret->sans, &ret->n_sans, buf, size, err);
    if (type != GNUTLS_SAN_IPADDRESS) {
        ret->n_other_sans++;
        return 0;
    }
    if (size != 4 && size != 16)
        return bad(err, "an IP address of a wrong size");
    inet_ntop(size == 4 ? AF_INET : AF_INET6, buf, text, sizeof(text));
    return add_name(&ret->sans, &ret->n_sans, text, strlen(text), err);
}

static int read_sans(const struct reader *in, struct pki_info *ret, struct gw_error *err)
{
    for (unsigned i = 0;; i++) {
        char buf[512];
        size_t size = sizeof(buf);
        unsigned type = 0;
        int r = in->san(in->object, i, buf, &size, &type);

        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return 0;
        if (r < 0 || i > 2 * PKI_MAX_NAMES)
            return bad(err, "an alternative name that is too long or malformed");
        r = add_san(ret, type, buf, size, err);
        if (r < 0)
            return r;
    }
}

static int read_purposes(const struct reader *in, struct pki_info *ret, struct gw_error *err)
{
    for (unsigned i = 0; i < PKI_MAX_NAMES; i++) {
        char buf[128];
        size_t size = sizeof(buf);
        int r = in->purpose(in->object, i, buf, &size);

        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return 0;
        if (r < 0)
            return bad(err, "a malformed key purpose");
        for (size_t k = 0; k < pki_n_purposes; k++)
            if (streq(buf, pki_purposes[k].oid))
                ret->usages |= pki_purposes[k].usage;
    }
    return bad(err, "too many key purposes");
}

static int read_all(const struct reader *in, struct pki_info *ret, struct gw_error *err)
{
    int (*const steps[])(const struct reader *, struct pki_info *, struct gw_error *) = {read_cn, read_groups,
                                                                                         read_sans, read_purposes};
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(steps) && r >= 0; i++)
        r = steps[i](in, ret, err);
    return r;
}

static void to_hex(const unsigned char *bytes, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}

int pki_info_from_crt(gnutls_x509_crt_t crt, struct pki_info *ret, struct gw_error *err)
{
    const struct reader in = {crt, crt_dn, crt_san, crt_purpose};
    _cleanup_pki_info_ struct pki_info info = {0};
    unsigned char hash[32];
    size_t size = sizeof(hash);
    int r = read_all(&in, &info, err);

    if (r < 0)
        return r;
    r = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, hash, &size);
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot hash a certificate");
    to_hex(hash, size, info.fingerprint);
    info.not_before_ms = (int64_t)gnutls_x509_crt_get_activation_time(crt) * 1000;
    info.not_after_ms = (int64_t)gnutls_x509_crt_get_expiration_time(crt) * 1000;
    if (gnutls_x509_crt_get_ca_status(crt, NULL) > 0)
        info.usages |= PKI_CA;
    *ret = info;
    info = (struct pki_info){0};
    return 0;
}

int pki_cert_read(const char *cert_pem, struct pki_info *ret, struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    int r = pki_load_cert(cert_pem, &crt, err);

    return r < 0 ? r : pki_info_from_crt(crt, ret, err);
}

int pki_cert_read_der(const void *der, size_t len, struct pki_info *ret, struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t in = {(unsigned char *)der, (unsigned)len};
    int r = gnutls_x509_crt_init(&crt);

    if (r >= 0)
        r = gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_DER);
    return r < 0 ? pki_fail(err, GW_BAD_REQUEST, r, "cannot read the certificate") : pki_info_from_crt(crt, ret, err);
}

int pki_load_csr(const char *pem, gnutls_x509_crq_t *ret, struct gw_error *err)
{
    _cleanup_crq_ gnutls_x509_crq_t crq = NULL;
    gnutls_datum_t in = pki_datum(pem);
    unsigned bits = 0;
    int r = gnutls_x509_crq_init(&crq);

    if (r >= 0)
        r = gnutls_x509_crq_import(crq, &in, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return pki_fail(err, GW_BAD_REQUEST, r, "cannot read the certificate request");
    r = gnutls_x509_crq_verify(crq, 0);
    if (r < 0)
        return pki_fail(err, GW_BAD_REQUEST, r, "the certificate request is not signed by its own key");
    r = gnutls_x509_crq_get_pk_algorithm(crq, &bits);
    if (r < 0 || gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)r, bits) < GNUTLS_SEC_PARAM_MEDIUM)
        return gw_error_set(err, GW_BAD_REQUEST,
                            "the key of the certificate request is too weak: use ECDSA P-256 or RSA 2048");
    *ret = TAKE_PTR(crq);
    return 0;
}

int pki_csr_read(const char *csr_pem, struct pki_info *ret, struct gw_error *err)
{
    _cleanup_crq_ gnutls_x509_crq_t crq = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};
    unsigned char hash[32];
    size_t size = sizeof(hash);
    int r = pki_load_csr(csr_pem, &crq, err);

    if (r < 0)
        return r;
    r = read_all(&(struct reader){crq, crq_dn, crq_san, crq_purpose}, &info, err);
    if (r < 0)
        return r;
    r = gnutls_x509_crq_get_key_id(crq, GNUTLS_KEYID_USE_SHA256, hash, &size);
    if (r < 0)
        return pki_fail(err, GW_BAD_REQUEST, r, "cannot hash the public key");
    to_hex(hash, size, info.fingerprint);
    *ret = info;
    info = (struct pki_info){0};
    return 0;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

void pki_info_done(struct pki_info *i)
{
    free(i->cn);
    free_names(i->o, i->n_o);
    free_names(i->sans, i->n_sans);
    *i = (struct pki_info){0};
}

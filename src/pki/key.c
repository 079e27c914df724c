#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "pki/pki_internal.h"

const struct pki_purpose pki_purposes[] = {
    {PKI_CLIENT, GNUTLS_KP_TLS_WWW_CLIENT, "client"},
    {PKI_SERVER, GNUTLS_KP_TLS_WWW_SERVER, "server"},
};
const size_t pki_n_purposes = ARRAY_SIZE(pki_purposes);

gnutls_datum_t pki_datum(const char *text)
{
    return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

int pki_fail(struct gw_error *err, enum gw_reason reason, int code, const char *what)
{
    return gw_error_set(err, reason, "%s: %s", what, gnutls_strerror(code));
}

size_t pki_ip_bytes(const char *text, unsigned char buf[16])
{
    if (inet_pton(AF_INET, text, buf) == 1)
        return 4;
    return inet_pton(AF_INET6, text, buf) == 1 ? 16 : 0;
}

int pki_load_key(const char *pem, gnutls_x509_privkey_t *ret, struct gw_error *err)
{
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t in = pki_datum(pem);
    int r = gnutls_x509_privkey_init(&key);

    if (r >= 0)
        r = gnutls_x509_privkey_import2(key, &in, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r < 0)
        return pki_fail(err, GW_INVALID, r, "cannot read the private key");
    *ret = TAKE_PTR(key);
    return 0;
}

int pki_load_cert(const char *pem, gnutls_x509_crt_t *ret, struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t in = pki_datum(pem);
    int r = gnutls_x509_crt_init(&crt);

    if (r >= 0)
        r = gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return pki_fail(err, GW_INVALID, r, "cannot read the certificate");
    *ret = TAKE_PTR(crt);
    return 0;
}

static char *take_datum(gnutls_datum_t *d)
{
    return xstrndup((const char *)d->data, d->size);
}

int pki_export_key(gnutls_x509_privkey_t key, char **ret_pem, struct gw_error *err)
{
    _cleanup_datum_ gnutls_datum_t out = {0};
    int r = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &out);

    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot encode a private key");
    *ret_pem = take_datum(&out);
    gnutls_memset(out.data, 0, out.size);
    return 0;
}

int pki_export_cert(gnutls_x509_crt_t crt, char **ret_pem, struct gw_error *err)
{
    _cleanup_datum_ gnutls_datum_t out = {0};
    int r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out);

    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot encode a certificate");
    *ret_pem = take_datum(&out);
    return 0;
}

int pki_key_new(char **ret_key_pem, struct gw_error *err)
{
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    int r = gnutls_x509_privkey_init(&key);

    if (r >= 0)
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot make a private key");
    return pki_export_key(key, ret_key_pem, err);
}

char *pki_free_key(char *key_pem)
{
    if (key_pem)
        gnutls_memset(key_pem, 0, strlen(key_pem));
    free(key_pem);
    return NULL;
}

bool pki_cert_matches_key(const char *cert_pem, const char *key_pem)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    unsigned char of_crt[64], of_key[64];
    size_t n_crt = sizeof(of_crt), n_key = sizeof(of_key);

    if (pki_load_cert(cert_pem, &crt, NULL) < 0 || pki_load_key(key_pem, &key, NULL) < 0)
        return false;
    return gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, of_crt, &n_crt) >= 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &n_key) >= 0 && n_crt == n_key &&
           memcmp(of_crt, of_key, n_crt) == 0;
}

int pki_sign(const char *key_pem, const void *data, size_t len, char **ret_signature, struct gw_error *err)
{
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    _cleanup_signer_ gnutls_privkey_t signer = NULL;
    _cleanup_datum_ gnutls_datum_t signature = {0}, text = {0};
    gnutls_datum_t in = {(unsigned char *)data, (unsigned)len};
    int r = pki_load_key(key_pem, &key, err);

    if (r < 0)
        return r;
    r = gnutls_privkey_init(&signer);
    if (r >= 0)
        r = gnutls_privkey_import_x509(signer, key, 0);
    if (r >= 0)
        r = gnutls_privkey_sign_data(signer, GNUTLS_DIG_SHA256, 0, &in, &signature);
    if (r >= 0)
        r = gnutls_base64_encode2(&signature, &text);
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot sign");
    *ret_signature = take_datum(&text);
    return 0;
}

int pki_check_signature(const char *cert_pem, const void *data, size_t len, const char *signature, struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    _cleanup_pubkey_ gnutls_pubkey_t pubkey = NULL;
    _cleanup_datum_ gnutls_datum_t raw = {0};
    gnutls_datum_t in = {(unsigned char *)data, (unsigned)len}, text = pki_datum(signature);
    int r = pki_load_cert(cert_pem, &crt, err);

    if (r < 0)
        return r;
    r = gnutls_pubkey_init(&pubkey);
    if (r >= 0)
        r = gnutls_pubkey_import_x509(pubkey, crt, 0);
    if (r < 0)
        return pki_fail(err, GW_INVALID, r, "cannot use the certificate's key");
    r = gnutls_base64_decode2(&text, &raw);
    if (r >= 0)
        r = gnutls_pubkey_verify_data2(
            pubkey, gnutls_pk_to_sign(gnutls_pubkey_get_pk_algorithm(pubkey, NULL), GNUTLS_DIG_SHA256), 0, &in, &raw);
    return r < 0 ? pki_fail(err, GW_UNAUTHORIZED, r, "the signature is not one of this certificate's key") : 0;
}

int pki_store(const char *cert_path, const char *cert_pem, const char *key_path, const char *key_pem,
              struct gw_error *err)
{
    int r = fs_write(key_path, key_pem, strlen(key_pem), 0600, err);

    return r < 0 ? r : fs_write(cert_path, cert_pem, strlen(cert_pem), 0644, err);
}

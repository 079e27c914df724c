/* Shared by the files of this folder: GnuTLS' objects with scope-bound cleanup, PEM to object, errors. */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "pki/pki.h"

#define PKI_MAX_CHAIN 8
#define PKI_MAX_NAMES 64

DEFINE_CLEANUP(gnutls_x509_privkey_t, gnutls_x509_privkey_deinit)
DEFINE_CLEANUP(gnutls_x509_crt_t, gnutls_x509_crt_deinit)
DEFINE_CLEANUP(gnutls_x509_crq_t, gnutls_x509_crq_deinit)
DEFINE_CLEANUP(gnutls_privkey_t, gnutls_privkey_deinit)
DEFINE_CLEANUP(gnutls_pubkey_t, gnutls_pubkey_deinit)
static inline void datum_done(gnutls_datum_t *d)
{
    gnutls_free(d->data);
}
#define _cleanup_privkey_ _cleanup_(gnutls_x509_privkey_deinitp)
#define _cleanup_crt_ _cleanup_(gnutls_x509_crt_deinitp)
#define _cleanup_crq_ _cleanup_(gnutls_x509_crq_deinitp)
#define _cleanup_signer_ _cleanup_(gnutls_privkey_deinitp)
#define _cleanup_pubkey_ _cleanup_(gnutls_pubkey_deinitp)
#define _cleanup_datum_ _cleanup_(datum_done)

struct pki_ca {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    char *cert_pem;
    char *key_pem;
};

/* An authority whose validity does not begin before earliest. */
int pki_ca_new_after(const char *cn, int64_t lifetime_s, time_t earliest, struct pki_ca **ret, struct gw_error *err);

/* A borrowed view of a text. */
gnutls_datum_t pki_datum(const char *text);

/* Fills err with what failed and GnuTLS' text for code. */
int pki_fail(struct gw_error *err, enum gw_reason reason, int code, const char *what);

int pki_load_key(const char *pem, gnutls_x509_privkey_t *ret, struct gw_error *err);
int pki_load_cert(const char *pem, gnutls_x509_crt_t *ret, struct gw_error *err);
int pki_load_csr(const char *pem, gnutls_x509_crq_t *ret, struct gw_error *err);
int pki_export_key(gnutls_x509_privkey_t key, char **ret_pem, struct gw_error *err);
int pki_export_cert(gnutls_x509_crt_t crt, char **ret_pem, struct gw_error *err);

int pki_info_from_crt(gnutls_x509_crt_t crt, struct pki_info *ret, struct gw_error *err);

/* A text is an IPv4 or IPv6 address: its bytes (4 or 16 of them) into buf, their number returned; else 0. */
size_t pki_ip_bytes(const char *text, unsigned char buf[16]);

/* The usages that GnuTLS names by key purpose OIDs. */
struct pki_purpose {
    enum pki_usage usage;
    const char *oid;
    const char *text;
};
extern const struct pki_purpose pki_purposes[];
extern const size_t pki_n_purposes;

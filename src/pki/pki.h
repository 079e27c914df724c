/* Keys and certificates (ECDSA P-256, X.509) over GnuTLS. Everything passes as PEM text, because that is how it is
 * stored, sent in objects, and handed to libcurl, QEMU and kubeconfigs; only what is used for each request is a loaded
 * object.
 *
 * Returned strings are freed by the caller; keys by pki_free_key, which wipes them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum pki_usage {
    PKI_CLIENT = 1 << 0, /* extended key usage clientAuth */
    PKI_SERVER = 1 << 1, /* serverAuth */
    PKI_CA = 1 << 2,
};

/* Who a certificate is for. Lists end with NULL and may be NULL. */
struct pki_subject {
    const char *cn;
    const char *const *o;    /* groups */
    const char *const *sans; /* DNS names and IP addresses, mixed */
};

/* What a certificate, or a request for one, says. */
struct pki_info {
    char *cn; /* "" when absent */
    char **o;
    size_t n_o;
    char **sans; /* DNS names, and IP addresses in their usual text form */
    size_t n_sans;
    size_t n_other_sans;   /* e-mail addresses, URIs and the like, which nothing here issues */
    unsigned usages;       /* enum pki_usage */
    int64_t not_before_ms; /* wall clock; 0 in a request */
    int64_t not_after_ms;
    char fingerprint[65]; /* SHA-256 of the DER, lower-case hex; of the public key in a request */
};
void pki_info_done(struct pki_info *i);
#define _cleanup_pki_info_ __attribute__((cleanup(pki_info_done)))

/* --- Keys and requests --- */

int pki_key_new(char **ret_key_pem, struct gw_error *err);
char *pki_free_key(char *key_pem);
static inline void pki_free_keyp(char **p)
{
    pki_free_key(*p);
}
#define _cleanup_key_ __attribute__((cleanup(pki_free_keyp)))

/* A PKCS #10 request for subject and usages, signed with the key. */
int pki_csr_new(const char *key_pem, const struct pki_subject *subject, unsigned usages, char **ret_csr_pem,
                struct gw_error *err);

/* Reads a request and checks that its sender holds the key. BadRequest when it is malformed or its signature is wrong.
 */
int pki_csr_read(const char *csr_pem, struct pki_info *ret, struct gw_error *err);

/* The first certificate in the text. */
int pki_cert_read(const char *cert_pem, struct pki_info *ret, struct gw_error *err);
int pki_cert_read_der(const void *der, size_t len, struct pki_info *ret, struct gw_error *err);

/* When a certificate should be replaced: about two thirds into its life. Which certificate it is decides on up to a
 * tenth less, so that those that were issued together are not renewed together, and every look gives the same answer.
 */
int64_t pki_renew_at_ms(const struct pki_info *info);
/* How long to wait, at wall_ms, before looking at that again: never very long, because clocks are set. 0: it is to be
 * renewed now, or can't be read. */
int64_t pki_renew_wait_ms(const char *cert_pem, int64_t wall_ms);

/* True if key and (first) certificate belong together. */
bool pki_cert_matches_key(const char *cert_pem, const char *key_pem);

/* How long a certificate lives whose kind has normal_s, where none may live longer than longest_s (0: no limit). */
static inline int64_t pki_life(int64_t longest_s, int64_t normal_s)
{
    return longest_s && longest_s < normal_s ? longest_s : normal_s;
}

/* --- An authority --- */

struct pki_ca;

/* A new self-signed authority; and one from its PEM texts (Invalid if key and certificate don't belong together). */
int pki_ca_new(const char *cn, int64_t lifetime_s, struct pki_ca **ret, struct gw_error *err);
int pki_ca_from_pem(const char *cert_pem, const char *key_pem, struct pki_ca **ret, struct gw_error *err);
struct pki_ca *pki_ca_free(struct pki_ca *ca);

const char *pki_ca_cert_pem(const struct pki_ca *ca);
const char *pki_ca_key_pem(const struct pki_ca *ca);

/* Issues a certificate for the public key in csr_pem. Names and usages are those given here, nothing is taken over from
 * the request. Valid from five minutes or a quarter of lifetime_s ago (clocks differ) for lifetime_s, never longer than
 * the authority itself. Safe on any thread. */
int pki_issue(const struct pki_ca *ca, const char *csr_pem, const struct pki_subject *subject, unsigned usages,
              int64_t lifetime_s, char **ret_cert_pem, struct gw_error *err);

/* The same with a new key made here. */
int pki_issue_with_key(const struct pki_ca *ca, const struct pki_subject *subject, unsigned usages, int64_t lifetime_s,
                       char **ret_cert_pem, char **ret_key_pem, struct gw_error *err);

/* --- Whom to trust. Loaded once, then safe on any thread. --- */

struct pki_trust;

int pki_trust_new(const char *ca_pem, struct pki_trust **ret, struct gw_error *err); /* one or more CA certificates */
struct pki_trust *pki_trust_free(struct pki_trust *t);

struct pki_der {
    const void *data;
    size_t len;
};

/* Verifies a chain, leaf first, for one purpose (PKI_CLIENT or PKI_SERVER) at wall_ms (clock_wall_ms()); ret (optional)
 * gets what the leaf says. Unauthorized with the reason: expired, not yet valid, unknown authority, wrong purpose. */
int pki_trust_verify(const struct pki_trust *t, const struct pki_der *chain, size_t n, unsigned purpose,
                     int64_t wall_ms, struct pki_info *ret, struct gw_error *err);
int pki_trust_verify_pem(const struct pki_trust *t, const char *chain_pem, unsigned purpose, int64_t wall_ms,
                         struct pki_info *ret, struct gw_error *err);

/* --- Small signed messages: the grant of a migration --- */

/* ECDSA with SHA-256 over data; base64 text. */
int pki_sign(const char *key_pem, const void *data, size_t len, char **ret_signature, struct gw_error *err);
/* 0 if signature is one over data by the key of cert_pem, else Unauthorized. Says nothing about who cert_pem is: verify
 * it. */
int pki_check_signature(const char *cert_pem, const void *data, size_t len, const char *signature,
                        struct gw_error *err);

/* --- Files --- */

/* Writes key (0600) and certificate (0644) durably, key first, so that a certificate on disk always has its key. */
int pki_store(const char *cert_path, const char *cert_pem, const char *key_path, const char *key_pem,
              struct gw_error *err);

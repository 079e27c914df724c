/* An authority over time: the one that signs, and during a roll-over a second one that is trusted as well.
 *
 *   stable     [one]           signs and is trusted
 *   spreading  [one, next]     next is trusted, so that everybody learns of it; one still signs
 *   renewing   [next, one]     next signs; one is trusted until everybody shows a certificate of next
 *   stable     [next]
 *
 * NAME.crt holds the certificates in this order and is the truth: each step is one rename of it. NAME.key holds their
 * keys; it is written before a certificate is added and after one is taken out, so every certificate in NAME.crt has
 * its key, wherever a crash hits. Which of two is the newer one is told by their beginnings of validity. Certificates
 * without a key in NAME.key (a root above an authority of one's own) are trusted and otherwise left alone.
 *
 * One thread at a time changes an authority; any thread looks at it. What it was stays valid for those who still use
 * it until the authority is freed. */
#pragma once

#include "pki/pki.h"

enum pki_phase { PKI_STABLE, PKI_SPREADING, PKI_RENEWING };
const char *pki_phase_text(enum pki_phase phase); /* "Stable", "Spreading", "Renewing" */

struct pki_authority_state {
    enum pki_phase phase;
    const struct pki_ca *issuer; /* signs */
    const struct pki_ca *other;  /* the next or the previous one; NULL while stable */
    const struct pki_ca *oldest; /* of those two: the one that nobody can have missed */
    const struct pki_ca *newest;
    char *bundle; /* PEM of all that are trusted, the issuer first */
    struct pki_trust *trust;
    struct pki_trust *of_issuer; /* the issuer alone, to tell old certificates; NULL unless renewing */
    int64_t since_ms;            /* wall clock: when this state began */
    unsigned number;             /* another one for each state of a process */
    struct pki_authority_state *earlier;
};

struct pki_authority;

/* Opens DIR/NAME.crt and .key, and makes them if there is no certificate; what a crash left over is put right. dir
 * NULL: a new one in memory only, for tests. */
int pki_authority_open(const char *dir, const char *name, const char *cn, int64_t lifetime_s,
                       struct pki_authority **ret, struct gw_error *err);
/* The same without making or changing anything; NotFound if it is not there. */
int pki_authority_read(const char *dir, const char *name, struct pki_authority **ret, struct gw_error *err);
struct pki_authority *pki_authority_free(struct pki_authority *a);
DEFINE_CLEANUP(struct pki_authority *, pki_authority_free)
#define _cleanup_authority_ _cleanup_(pki_authority_freep)

const struct pki_authority_state *pki_authority_now(const struct pki_authority *a);

/* The steps; Conflict in a phase in which they make no sense. */
int pki_authority_begin(struct pki_authority *a, struct gw_error *err);   /* stable -> spreading */
int pki_authority_advance(struct pki_authority *a, struct gw_error *err); /* spreading -> renewing */
int pki_authority_drop(struct pki_authority *a, struct gw_error *err); /* renewing -> stable; spreading: gives it up */

/* Which certificate of the bundle has signed cert: its fingerprint (pki_info); Unauthorized if none has. Times are not
 * looked at. */
int pki_issuer_of(const char *bundle_pem, const char *cert_pem, char ret[65], struct gw_error *err);
/* The first certificate of the bundle has signed cert. */
bool pki_is_of_first(const char *bundle_pem, const char *cert_pem);

/* Whether two bundles have a certificate in common: they are of the same cluster. */
bool pki_bundles_meet(const char *a, const char *b);

/* Takes the next PEM block whose label ends with `label` ("CERTIFICATE", "PRIVATE KEY") off *cursor; NULL: there is no
 * more. Freed by the caller. */
char *pki_next_pem(const char **cursor, const char *label);

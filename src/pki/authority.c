#include "pki/authority.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/vec.h"
#include "pki/pki_internal.h"

VEC_DEFINE(ca_vec, struct pki_ca *);

struct pki_authority {
    char *cert_path, *key_path; /* NULL: in memory only */
    char *cn;
    int64_t lifetime_s;
    char *besides;     /* certificates without keys */
    struct ca_vec cas; /* all that ever were; states point to them */
    struct pki_authority_state *now;
};

const char *pki_phase_text(enum pki_phase phase)
{
    static const char *const texts[] = {"Stable", "Spreading", "Renewing"};

    static_assert(ARRAY_SIZE(texts) == PKI_RENEWING + 1, "one text each");
    return texts[phase];
}

/* --- PEM --- */

char *pki_next_pem(const char **cursor, const char *label)
{
    const char *begin = *cursor, *end, *line;

    while ((begin = strstr(begin, "-----BEGIN "))) {
        line = strstr(begin + strlen("-----BEGIN "), "-----");
        end = line ? strstr(line, "-----END ") : NULL;
        end = end ? strstr(end + strlen("-----END "), "-----") : NULL;
        if (!end)
            break;
        end += strlen("-----");
        *cursor = end;
        if ((size_t)(line - begin) >= strlen(label) && memcmp(line - strlen(label), label, strlen(label)) == 0)
            return xasprintf("%.*s\n", (int)(end - begin), begin);
        begin = end;
    }
    *cursor += strlen(*cursor);
    return NULL;
}

int pki_issuer_of(const char *bundle_pem, const char *cert_pem, char ret[65], struct gw_error *err)
{
    _cleanup_crt_ gnutls_x509_crt_t crt = NULL;
    int r = pki_load_cert(cert_pem, &crt, err);

    if (r < 0)
        return r;
    for (const char *at = bundle_pem;;) {
        _cleanup_free_ char *pem = pki_next_pem(&at, "CERTIFICATE");
        _cleanup_crt_ gnutls_x509_crt_t ca = NULL;
        _cleanup_pki_info_ struct pki_info info = {0};
        unsigned status = 0;

        if (!pem)
            return gw_error_set(err, GW_UNAUTHORIZED, "the certificate is signed by an unknown authority");
        if (pki_load_cert(pem, &ca, NULL) < 0 ||
            gnutls_x509_crt_verify(crt, &ca, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) < 0 || status)
            continue;
        r = pki_info_from_crt(ca, &info, err);
        if (r == 0)
            memcpy(ret, info.fingerprint, sizeof(info.fingerprint));
        return r;
    }
}

bool pki_is_of_first(const char *bundle_pem, const char *cert_pem)
{
    const char *at = bundle_pem;
    _cleanup_free_ char *first = pki_next_pem(&at, "CERTIFICATE");
    char fingerprint[65];

    return first && pki_issuer_of(first, cert_pem, fingerprint, NULL) == 0;
}

bool pki_bundles_meet(const char *a, const char *b)
{
    char *pem;

    for (const char *at = a; (pem = pki_next_pem(&at, "CERTIFICATE")); free(pem))
        if (strstr(b, pem)) {
            free(pem);
            return true;
        }
    return false;
}

/* --- States --- */

const struct pki_authority_state *pki_authority_now(const struct pki_authority *a)
{
    return __atomic_load_n(&a->now, __ATOMIC_ACQUIRE);
}

static int64_t beginning(const struct pki_ca *ca)
{
    return (int64_t)gnutls_x509_crt_get_activation_time(ca->crt);
}

static char *bundle_of(const struct pki_authority *a, const struct pki_ca *issuer, const struct pki_ca *other)
{
    return xasprintf("%s%s%s", issuer->cert_pem, other ? other->cert_pem : "", a->besides ? a->besides : "");
}

static void free_states(struct pki_authority_state *s)
{
    while (s) {
        struct pki_authority_state *earlier = s->earlier;

        pki_trust_free(s->trust);
        pki_trust_free(s->of_issuer);
        free(s->bundle);
        free(s);
        s = earlier;
    }
}

static int enter(struct pki_authority *a, const struct pki_ca *issuer, const struct pki_ca *other, int64_t since_ms,
                 struct gw_error *err)
{
    struct pki_authority_state *s = xnew(struct pki_authority_state);
    bool newer = other && beginning(issuer) > beginning(other);
    int r;

    *s = (struct pki_authority_state){
        .phase = !other  ? PKI_STABLE
                 : newer ? PKI_RENEWING
                         : PKI_SPREADING,
        .issuer = issuer,
        .other = other,
        .oldest = newer ? other : issuer,
        .newest = newer || !other ? issuer : other,
        .bundle = bundle_of(a, issuer, other),
        .since_ms = since_ms,
        .number = a->now ? a->now->number + 1 : 1,
        .earlier = a->now,
    };
    r = pki_trust_new(s->bundle, &s->trust, err);
    if (r == 0 && s->phase == PKI_RENEWING)
        r = pki_trust_new(issuer->cert_pem, &s->of_issuer, err);
    if (r < 0) {
        s->earlier = NULL;
        free_states(s);
        return r;
    }
    __atomic_store_n(&a->now, s, __ATOMIC_RELEASE);
    return 0;
}

/* --- Files --- */

static int store_certs(const struct pki_authority *a, const struct pki_ca *issuer, const struct pki_ca *other,
                       struct gw_error *err)
{
    _cleanup_free_ char *text = bundle_of(a, issuer, other);

    return a->cert_path ? fs_write(a->cert_path, text, strlen(text), 0644, err) : 0;
}

static int store_keys(const struct pki_authority *a, const struct pki_ca *issuer, const struct pki_ca *other,
                      struct gw_error *err)
{
    _cleanup_key_ char *text = xasprintf("%s%s", issuer->key_pem, other ? other->key_pem : "");

    return a->key_path ? fs_write(a->key_path, text, strlen(text), 0600, err) : 0;
}

static int64_t written_ms(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 : clock_wall_ms();
}

/* The key among keys that belongs to cert. */
static char *find_key(const char *keys, const char *cert)
{
    char *key;

    for (const char *at = keys; (key = pki_next_pem(&at, "PRIVATE KEY")); key = pki_free_key(key))
        if (pki_cert_matches_key(cert, key))
            return key;
    return NULL;
}

static int take_cert(struct pki_authority *a, const char *cert, const char *keys, struct gw_error *err)
{
    _cleanup_key_ char *key = find_key(keys, cert);
    struct pki_ca *ca = NULL;
    int r;

    if (!key && a->cas.len > 0) {
        char *besides = xasprintf("%s%s", a->besides ? a->besides : "", cert);

        free(a->besides);
        a->besides = besides;
        return 0;
    }
    if (a->cas.len == 2)
        return gw_error_set(err, GW_INVALID, "there are keys of more than two authorities");
    if (!key)
        return gw_error_set(err, GW_INVALID, "the key does not belong to the authority's certificate");
    r = pki_ca_from_pem(cert, key, &ca, err);
    if (r == 0)
        ca_vec_push(&a->cas, ca);
    return r;
}

static size_t count_keys(const char *keys)
{
    size_t n = 0;
    char *key;

    for (const char *at = keys; (key = pki_next_pem(&at, "PRIVATE KEY")); pki_free_key(key))
        n++;
    return n;
}

/* A key more than there are certificates: a step was cut short, before its certificate or after it. */
static int read_files(struct pki_authority *a, bool repair, struct gw_error *err)
{
    _cleanup_free_ char *certs = NULL;
    _cleanup_key_ char *keys = NULL;
    int r = fs_read(a->cert_path, 0, &certs, NULL, err);
    char *cert;

    r = r < 0 ? r : fs_read_secret(a->key_path, 0, &keys, NULL, err);
    for (const char *at = certs; r >= 0 && (cert = pki_next_pem(&at, "CERTIFICATE")); free(cert))
        r = take_cert(a, cert, keys, err);
    if (r >= 0 && a->cas.len == 0)
        r = gw_error_set(err, GW_INVALID, "there is no certificate");
    if (r < 0)
        return gw_error_wrap(err, r, "%s", a->cert_path);
    struct pki_ca *other = a->cas.len > 1 ? a->cas.items[1] : NULL;
    if (repair && count_keys(keys) > a->cas.len)
        r = store_keys(a, a->cas.items[0], other, err);
    return r < 0 ? r : enter(a, a->cas.items[0], other, written_ms(a->cert_path), err);
}

static int make(struct pki_authority *a, const char *cn, int64_t earliest_s, struct pki_ca **ret, struct gw_error *err)
{
    int r = pki_ca_new_after(cn, a->lifetime_s, (time_t)earliest_s, ret, err);

    if (r == 0)
        ca_vec_push(&a->cas, *ret);
    return r;
}

static int make_first(struct pki_authority *a, struct gw_error *err)
{
    struct pki_ca *ca;
    int r = make(a, a->cn, 0, &ca, err);

    r = r < 0 ? r : store_keys(a, ca, NULL, err);
    r = r < 0 ? r : store_certs(a, ca, NULL, err);
    return r < 0 ? r : enter(a, ca, NULL, clock_wall_ms(), err);
}

static int open_authority(const char *dir, const char *name, const char *cn, int64_t lifetime_s, bool may_write,
                          struct pki_authority **ret, struct gw_error *err)
{
    _cleanup_authority_ struct pki_authority *a = xnew(struct pki_authority);
    int r;

    a->cn = xstrdup(cn);
    a->lifetime_s = lifetime_s;
    if (dir) {
        a->cert_path = xasprintf("%s/%s.crt", dir, name);
        a->key_path = xasprintf("%s/%s.key", dir, name);
    }
    /* Without a certificate, whatever key lies there was never used. */
    r = dir && (!may_write || fs_exists(a->cert_path)) ? read_files(a, may_write, err) : make_first(a, err);
    if (r == 0)
        *ret = TAKE_PTR(a);
    return r;
}

int pki_authority_open(const char *dir, const char *name, const char *cn, int64_t lifetime_s,
                       struct pki_authority **ret, struct gw_error *err)
{
    return open_authority(dir, name, cn, lifetime_s, true, ret, err);
}

int pki_authority_read(const char *dir, const char *name, struct pki_authority **ret, struct gw_error *err)
{
    return open_authority(dir, name, NULL, 0, false, ret, err);
}

struct pki_authority *pki_authority_free(struct pki_authority *a)
{
    if (!a)
        return NULL;
    free_states(a->now);
    VEC_EACH(&a->cas, ca)
        pki_ca_free(*ca);
    ca_vec_done(&a->cas);
    free(a->besides);
    free(a->cert_path);
    free(a->key_path);
    free(a->cn);
    free(a);
    return NULL;
}

/* --- Steps --- */

/* Another name than the first one's, because some programs tell authorities apart by their names alone; and a later
 * beginning, by which we do. */
int pki_authority_begin(struct pki_authority *a, struct gw_error *err)
{
    const struct pki_authority_state *s = pki_authority_now(a);
    _cleanup_free_ char *cn = xasprintf("%s@%lld", a->cn, (long long)(clock_wall_ms() / 1000));
    const int64_t earliest = beginning(s->issuer) + 1;
    struct pki_ca *next;
    int r;

    if (s->phase != PKI_STABLE)
        return gw_error_set(err, GW_CONFLICT, "a roll-over is under way: finish it, or abort it while it is Spreading");
    if (earliest > clock_wall_ms() / 1000)
        return gw_error_set(err, GW_CONFLICT,
                            "by this machine's clock the present authority is not valid yet: set the clock");
    r = make(a, cn, earliest, &next, err);
    r = r < 0 ? r : store_keys(a, s->issuer, next, err);
    r = r < 0 ? r : store_certs(a, s->issuer, next, err);
    return r < 0 ? r : enter(a, s->issuer, next, clock_wall_ms(), err);
}

int pki_authority_advance(struct pki_authority *a, struct gw_error *err)
{
    const struct pki_authority_state *s = pki_authority_now(a);
    int r;

    if (s->phase != PKI_SPREADING)
        return gw_error_set(err, GW_CONFLICT, "no new authority waits to sign");
    r = store_certs(a, s->other, s->issuer, err);
    return r < 0 ? r : enter(a, s->other, s->issuer, clock_wall_ms(), err);
}

int pki_authority_drop(struct pki_authority *a, struct gw_error *err)
{
    const struct pki_authority_state *s = pki_authority_now(a);
    int r;

    if (s->phase == PKI_STABLE)
        return gw_error_set(err, GW_CONFLICT, "no roll-over is under way");
    r = store_certs(a, s->issuer, NULL, err);
    r = r < 0 ? r : enter(a, s->issuer, NULL, clock_wall_ms(), err);
    if (r == 0)
        (void)store_keys(a, s->issuer, NULL, NULL); /* if it fails, the next start does it */
    return r;
}

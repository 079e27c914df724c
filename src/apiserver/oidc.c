#include "apiserver/oidc.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define LEEWAY_S 300 /* a token counts this long before its time: clocks differ (as go-oidc has it) */
#define SYSTEM "system:"

struct oidc {
    struct oidc_config config;
    char *user_prefix; /* "": none */
    pthread_rwlock_t lock;
    struct jwks *keys; /* NULL: they have not come yet */
    void (*missing)(void *userdata);
    void *userdata;
};

/* --- Configuration --- */

static int check_algs(const char *const *algs, struct gw_error *err)
{
    for (; algs && *algs; algs++)
        if (!jwks_knows(*algs))
            return gw_error_set(err, GW_INVALID,
                                "--oidc-signing-algs: \"%s\": want RS256, RS384, RS512, ES256, ES384, ES512, PS256, "
                                "PS384 or PS512",
                                *algs);
    return 0;
}

static int check_config(const struct oidc_config *c, struct gw_error *err)
{
    if (!str_starts(c->issuer_url, "https://"))
        return gw_error_set(err, GW_INVALID, "--oidc-issuer-url: \"%s\": want one that begins with https://",
                            c->issuer_url);
    if (!c->client_id || !*c->client_id)
        return gw_error_set(err, GW_INVALID, "--oidc-client-id is needed with --oidc-issuer-url");
    for (const char *const *r = c->required_claims; r && *r; r++)
        if (!strchr(*r, '=') || **r == '=')
            return gw_error_set(err, GW_INVALID, "--oidc-required-claim: \"%s\": want KEY=VALUE", *r);
    return check_algs(c->signing_algs, err);
}

static char *user_prefix_of(const struct oidc_config *c)
{
    if (c->username_prefix)
        return xstrdup(streq(c->username_prefix, "-") ? "" : c->username_prefix);
    return streq(c->username_claim, "email") ? xstrdup("") : xasprintf("%s#", c->issuer_url);
}

int oidc_new(const struct oidc_config *config, struct oidc **ret, struct gw_error *err)
{
    int r = check_config(config, err);
    struct oidc *o;

    if (r < 0)
        return r;
    o = xnew(struct oidc);
    o->config = *config;
    if (!o->config.username_claim)
        o->config.username_claim = "sub";
    o->user_prefix = user_prefix_of(&o->config);
    pthread_rwlock_init(&o->lock, NULL);
    *ret = o;
    return 0;
}

struct oidc *oidc_free(struct oidc *o)
{
    if (!o)
        return NULL;
    jwks_free(o->keys);
    pthread_rwlock_destroy(&o->lock);
    free(o->user_prefix);
    free(o);
    return NULL;
}

void oidc_set_keys(struct oidc *o, struct jwks *keys)
{
    pthread_rwlock_wrlock(&o->lock);
    jwks_free(o->keys);
    o->keys = keys;
    pthread_rwlock_unlock(&o->lock);
}

void oidc_on_missing_key(struct oidc *o, void (*fn)(void *userdata), void *userdata)
{
    o->missing = fn;
    o->userdata = userdata;
}

/* --- The token as such --- */

bool oidc_is_issuer(const struct oidc *o, const char *token)
{
    _cleanup_jwt_parts_ struct jwt_parts parts = {0};

    return jwt_split(token, &parts, NULL) == 0 &&
           streq(json_str_or(yyjson_doc_get_root(parts.claims), "/iss", ""), o->config.issuer_url);
}

static int check_alg(const struct oidc *o, const struct jwt_parts *parts, struct gw_error *err)
{
    static const char *const by_default[] = {"RS256", NULL};
    const char *alg = json_str_or(yyjson_doc_get_root(parts->head), "/alg", "");

    for (const char *const *a = o->config.signing_algs ? o->config.signing_algs : by_default; *a; a++)
        if (streq(*a, alg))
            return 0;
    return gw_error_set(err, GW_UNAUTHORIZED, "it is not signed in a way that --oidc-signing-algs names");
}

static int check_signature(struct oidc *o, const char *token, const struct jwt_parts *parts, struct gw_error *err)
{
    int r;

    pthread_rwlock_rdlock(&o->lock);
    if (o->keys) {
        r = jwks_verify(o->keys, token, parts, err);
    } else {
        (void)gw_error_set(err, GW_UNAUTHORIZED, "the issuer's keys have not been read yet");
        r = -ENOKEY;
    }
    pthread_rwlock_unlock(&o->lock);
    if (r == -ENOKEY && o->missing)
        o->missing(o->userdata);
    return r;
}

/* "aud" is a text or a list of them. */
static bool has_text(yyjson_val *v, const char *want)
{
    return yyjson_equals_str(v, want) || json_find(v, "", want) != NULL;
}

static int64_t seconds(yyjson_val *claims, const char *path, int64_t otherwise)
{
    yyjson_val *v = json_at(claims, path);

    if (!yyjson_is_num(v))
        return otherwise;
    double d = yyjson_get_num(v);
    return d > -1e15 && d < 1e15 ? (int64_t)d : otherwise;
}

static int check_standing(const struct oidc *o, yyjson_val *claims, int64_t now_s, struct gw_error *err)
{
    if (!streq(json_str_or(claims, "/iss", ""), o->config.issuer_url))
        return gw_error_set(err, GW_UNAUTHORIZED, "it is of another issuer");
    if (!has_text(json_at(claims, "/aud"), o->config.client_id))
        return gw_error_set(err, GW_UNAUTHORIZED, "its audience (aud) is not %s", o->config.client_id);
    if (now_s >= seconds(claims, "/exp", 0))
        return gw_error_set(err, GW_UNAUTHORIZED, "it has expired (exp)");
    if (now_s < seconds(claims, "/nbf", 0) - LEEWAY_S)
        return gw_error_set(err, GW_UNAUTHORIZED, "it is not good yet (nbf)");
    return 0;
}

/* --- Who --- */

static yyjson_val *claim(yyjson_val *claims, const char *name)
{
    return yyjson_obj_get(claims, name);
}

static int check_required(const struct oidc *o, yyjson_val *claims, struct gw_error *err)
{
    for (const char *const *r = o->config.required_claims; r && *r; r++) {
        const char *equals = strchr(*r, '=');
        _cleanup_free_ char *key = xstrndup(*r, (size_t)(equals - *r));

        if (!yyjson_equals_str(claim(claims, key), equals + 1))
            return gw_error_set(err, GW_UNAUTHORIZED, "it lacks the claim %s", *r);
    }
    return 0;
}

static int find_user(const struct oidc *o, yyjson_val *claims, char **ret, struct gw_error *err)
{
    const char *name = o->config.username_claim;
    yyjson_val *v = claim(claims, name), *verified = claim(claims, "email_verified");
    _cleanup_free_ char *user = NULL;

    if (!yyjson_is_str(v) || yyjson_get_len(v) == 0 || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
        return gw_error_set(err, GW_UNAUTHORIZED, "its claim %s is no name", name);
    if (streq(name, "email") && verified && !yyjson_is_true(verified))
        return gw_error_set(err, GW_UNAUTHORIZED, "its e-mail address is not verified (email_verified)");
    user = xasprintf("%s%s", o->user_prefix, yyjson_get_str(v));
    if (str_starts(user, SYSTEM))
        return gw_error_set(err, GW_UNAUTHORIZED, "no issuer may name a user of the system (" SYSTEM "...)");
    *ret = TAKE_PTR(user);
    return 0;
}

static void add_group(const struct oidc *o, struct identity *who, yyjson_val *v)
{
    _cleanup_free_ char *group = NULL;

    if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
        return;
    group = xasprintf("%s%s", o->config.groups_prefix ? o->config.groups_prefix : "", yyjson_get_str(v));
    if (!str_starts(group, SYSTEM))
        identity_add_group(who, group);
}

/* A text or a list of them. */
static void add_groups(const struct oidc *o, struct identity *who, yyjson_val *claims)
{
    yyjson_val *v = o->config.groups_claim ? claim(claims, o->config.groups_claim) : NULL, *item;

    add_group(o, who, v);
    if (yyjson_is_arr(v))
        json_each(v, item)
            add_group(o, who, item);
}

int oidc_check(struct oidc *o, const char *token, int64_t wall_ms, struct identity **ret, struct gw_error *err)
{
    _cleanup_jwt_parts_ struct jwt_parts parts = {0};
    _cleanup_free_ char *user = NULL;
    int r = jwt_split(token, &parts, err);
    yyjson_val *claims = yyjson_doc_get_root(parts.claims);

    r = r < 0 ? r : check_alg(o, &parts, err);
    r = r < 0 ? r : check_signature(o, token, &parts, err);
    r = r < 0 ? r : check_standing(o, claims, wall_ms / 1000, err);
    r = r < 0 ? r : check_required(o, claims, err);
    r = r < 0 ? r : find_user(o, claims, &user, err);
    if (r < 0)
        return r;
    *ret = identity_new(user, NULL);
    add_groups(o, *ret, claims);
    identity_add_group(*ret, GROUP_AUTHENTICATED);
    return 0;
}

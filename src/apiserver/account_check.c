/* Whether a service account's token is believed. Account and bound object are looked up each time: with them go their
 * tokens, also if another one takes their name. */
#include <gnutls/gnutls.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/account_internal.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/str.h"
#include "pki/jwt.h"
#include "pki/pki.h"

#define CLOCK_SKEW_S 60 /* a token counts this long before its time: clocks differ */
/* A pod may use its token while it ends (Kubernetes: serviceaccount/claims.go, "allow time for graceful deletion"). */
#define ENDING_LEEWAY_MS 60000

const struct account_bound account_bounds[] = {{"Pod", "pod"}, {"Secret", "secret"}, {"Node", "node"}, {0}};

const struct account_bound *account_bound_find(const char *kind)
{
    for (const struct account_bound *b = account_bounds; b->kind; b++)
        if (streq(b->kind, kind))
            return b;
    return NULL;
}

char *account_subject(yyjson_val *account)
{
    return xasprintf(ACCOUNT_PREFIX "%s:%s", meta_namespace(account), meta_name(account));
}

bool account_token_is_one(const char *token)
{
    const char *dot = strchr(token, '.');

    return dot && strchr(dot + 1, '.');
}

struct check {
    struct rest_server *s;
    const char *token;
    yyjson_val *claims;
    struct identity *who; /* gets what is found out */
};

/* --- For whom --- */

static void match_audience(struct check *c, const char *asked)
{
    if (json_find(json_at(c->claims, "/aud"), "", asked) && !strv_has(&c->who->audiences, asked))
        strv_push(&c->who->audiences, asked);
}

static int check_audiences(struct check *c, const struct authn_audiences *asked, struct gw_error *err)
{
    static const char *const us[] = {TOKEN_AUDIENCE};
    static const struct authn_audiences ours = {us, 1};

    if (!asked)
        asked = &ours;
    for (size_t i = 0; i < asked->n; i++)
        match_audience(c, asked->items[i]);
    return c->who->audiences.len ? 0 : gw_error_set(err, GW_UNAUTHORIZED, "the token is for somebody else");
}

/* --- Until when --- */

static int check_times(struct check *c, struct gw_error *err)
{
    int64_t now_s = c->s->now(c->s->data) / 1000;

    /* Only what lies in a Secret has no end (check_secret). */
    if (now_s >= json_int(c->claims, "/exp", json_at(c->claims, "/kubernetes.io/secret") ? INT64_MAX : 0))
        return gw_error_set(err, GW_UNAUTHORIZED, "the token has expired");
    if (now_s < json_int(c->claims, "/nbf", INT64_MAX - CLOCK_SKEW_S) - CLOCK_SKEW_S)
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is not good yet");
    if (!streq(json_str_or(c->claims, "/iss", ""), TOKEN_AUDIENCE))
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is of another issuer");
    return 0;
}

/* --- While what is there --- */

static bool is_ending(struct check *c, yyjson_val *object)
{
    const char *at = json_str(object, "/metadata/deletionTimestamp");

    return at && clock_parse(at) + ENDING_LEEWAY_MS < c->s->now(c->s->data);
}

static int read_ref(struct check *c, const char *kind_name, const char *claim, yyjson_doc **ret, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(c->s->kinds, "", NULL, kind_name);
    _cleanup_free_ char *path = xasprintf("/kubernetes.io/%s", claim);
    yyjson_val *ref = json_at(c->claims, path);
    const char *namespace = json_str_or(c->claims, "/kubernetes.io/namespace", "");
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (!kind ||
        rest_read(c->s, kind, kind->namespaced ? namespace : NULL, json_str_or(ref, "/name", ""), &doc, NULL) < 0 ||
        !streq(meta_uid(yyjson_doc_get_root(doc)), json_str_or(ref, "/uid", "-")) ||
        is_ending(c, yyjson_doc_get_root(doc)))
        return gw_error_set(err, GW_UNAUTHORIZED, "the %s of the token is gone", kind_name);
    *ret = TAKE_PTR(doc);
    return 0;
}

/* A token without end is good only while it lies in its Secret: taking it out ends it. */
static int check_secret(struct check *c, yyjson_val *secret, struct gw_error *err)
{
    const char *text = json_key_str(secret, "/data", "token");
    _cleanup_key_ char *kept = NULL;
    size_t len = strlen(c->token);

    if (json_at(c->claims, "/exp"))
        return 0;
    if (!streq(json_str_or(secret, "/type", ""), ACCOUNT_SECRET_TYPE) || !text ||
        base64_decode(text, strlen(text), &kept, NULL) < 0 || strlen(kept) != len ||
        gnutls_memcmp(kept, c->token, len) != 0)
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is not in its Secret any more");
    return 0;
}

static void tell(struct check *c, const char *claim, yyjson_val *object)
{
    _cleanup_free_ char *name = xasprintf("authentication.kubernetes.io/%s-name", claim),
                        *uid = xasprintf("authentication.kubernetes.io/%s-uid", claim);

    if (streq(claim, "secret"))
        return; /* Kubernetes tells of pods and nodes only */
    identity_add_extra(c->who, name, meta_name(object));
    identity_add_extra(c->who, uid, meta_uid(object));
}

static int check_bound(struct check *c, struct gw_error *err)
{
    int r = 0;

    for (const struct account_bound *b = account_bounds; b->kind && r >= 0; b++) {
        _cleanup_free_ char *path = xasprintf("/kubernetes.io/%s", b->claim);
        _cleanup_doc_ yyjson_doc *doc = NULL;

        if (!json_at(c->claims, path))
            continue;
        r = read_ref(c, b->kind, b->claim, &doc, err);
        if (r == 0 && streq(b->claim, "secret"))
            r = check_secret(c, yyjson_doc_get_root(doc), err);
        if (r == 0)
            tell(c, b->claim, yyjson_doc_get_root(doc));
    }
    return r;
}

static int check_account(struct check *c, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_free_ char *credential = xasprintf("JTI=%s", json_str_or(c->claims, "/jti", ""));
    int r = read_ref(c, "ServiceAccount", "serviceaccount", &doc, err);
    yyjson_val *account = yyjson_doc_get_root(doc);

    if (r < 0)
        return r;
    if (meta_deleting(account))
        return gw_error_set(err, GW_UNAUTHORIZED, "the ServiceAccount of the token is being deleted");
    c->who->name = account_subject(account);
    c->who->uid = xstrdup(meta_uid(account));
    identity_add_account_groups(c->who);
    identity_add_group(c->who, GROUP_AUTHENTICATED);
    identity_add_extra(c->who, "authentication.kubernetes.io/credential-id", credential);
    return 0;
}

int account_token_check(struct rest_server *s, const char *token, const struct authn_audiences *asked,
                        struct identity **ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_identity_ struct identity *who = xnew(struct identity);
    int r = jwt_verify(s->token_key, token, &doc, err);
    struct check c = {s, token, yyjson_doc_get_root(doc), who};

    r = r < 0 ? r : check_times(&c, err);
    r = r < 0 ? r : check_audiences(&c, asked, err);
    r = r < 0 ? r : check_account(&c, err);
    r = r < 0 ? r : check_bound(&c, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(who);
    return 0;
}

#include "apiserver/account_token.h"

#include <string.h>

#include "api/meta.h"
#include "apiserver/impersonation.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/str.h"
#include "pki/jwt.h"

#define CLOCK_SKEW_S 60 /* a token counts this long before its time: clocks differ */

/* --- Issuing --- */

static char *subject_of(yyjson_val *account)
{
    return xasprintf(ACCOUNT_PREFIX "%s:%s", meta_namespace(account), meta_name(account));
}

static char *claims_of(yyjson_val *account, yyjson_mut_val *audiences, yyjson_mut_doc *d, int64_t now_s,
                       int64_t expires_s)
{
    _cleanup_free_ char *subject = subject_of(account);
    char id[UUID_TEXT];

    json_set(d, "/aud", audiences);
    json_set_int(d, "/exp", expires_s);
    json_set_int(d, "/iat", now_s);
    json_set_int(d, "/nbf", now_s);
    json_set_str(d, "/iss", TOKEN_AUDIENCE);
    json_set_str(d, "/jti", random_uuid(id));
    json_set_str(d, "/sub", subject);
    json_set_str(d, "/kubernetes.io/namespace", meta_namespace(account));
    json_set_str(d, "/kubernetes.io/serviceaccount/name", meta_name(account));
    json_set_str(d, "/kubernetes.io/serviceaccount/uid", meta_uid(account));
    return json_text(d->root);
}

static yyjson_mut_val *audiences_in(yyjson_mut_doc *d, yyjson_val *request)
{
    yyjson_val *asked = json_at(request, "/spec/audiences");
    yyjson_mut_val *list;

    if (yyjson_arr_size(asked))
        return yyjson_val_mut_copy(d, asked);
    list = yyjson_mut_arr(d);
    yyjson_mut_arr_add_str(d, list, TOKEN_AUDIENCE);
    return list;
}

static int issue(struct rest_server *s, yyjson_val *account, yyjson_val *request, yyjson_mut_doc *answer,
                 struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *claims = json_object();
    _cleanup_free_ char *text = NULL, *token = NULL;
    int64_t now_s = s->now(s->data) / 1000, expires_s = now_s + json_int(request, "/spec/expirationSeconds", 3600);
    char time[CLOCK_TEXT_MAX];
    int r;

    text = claims_of(account, audiences_in(claims, request), claims, now_s, expires_s);
    r = jwt_sign(s->token_key, text, &token, err);
    if (r < 0)
        return r;
    json_set(answer, "/spec/audiences", audiences_in(answer, request));
    json_set_str(answer, "/status/token", token);
    json_set_str(answer, "/status/expirationTimestamp", clock_format(expires_s * 1000, time));
    return 0;
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(s->kinds, "authentication.k8s.io", NULL, "TokenRequest");
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *account = NULL, *request = NULL;
    int r;

    if (!streq(t->verb, "create"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (!s->token_key || !kind)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "this server has no key for tokens");
    r = rest_decode(s, q, kind, &d, err);
    r = r < 0 ? r : rest_read(s, t->kind, t->namespace, t->name, &account, err);
    if (r < 0)
        return r;
    request = yyjson_mut_doc_imut_copy(d, NULL);
    if (json_at(yyjson_doc_get_root(request), "/spec/boundObjectRef"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "spec.boundObjectRef: tokens are bound to their service account only; leave it out");
    json_set_str(d, "/metadata/name", t->name);
    json_set_str(d, "/metadata/namespace", t->namespace);
    r = issue(s, yyjson_doc_get_root(account), yyjson_doc_get_root(request), d, err);
    if (r == 0)
        api_response_json(response, 201, json_encode(yyjson_mut_doc_get_root(d)));
    return r;
}

const struct rest_extra account_token_extras[] = {
    {.group = "",
     .resource = "serviceaccounts",
     .subresource = "token",
     .kind = "TokenRequest",
     .verbs = "create",
     .handle = handle},
    {0},
};

/* --- Checking --- */

bool account_token_is_one(const char *token)
{
    const char *dot = strchr(token, '.');

    return dot && strchr(dot + 1, '.');
}

static int check_claims(yyjson_val *claims, int64_t now_s, struct gw_error *err)
{
    if (now_s >= json_int(claims, "/exp", 0))
        return gw_error_set(err, GW_UNAUTHORIZED, "the token has expired");
    if (now_s < json_int(claims, "/nbf", INT64_MAX - CLOCK_SKEW_S) - CLOCK_SKEW_S)
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is not good yet");
    if (!streq(json_str_or(claims, "/iss", ""), TOKEN_AUDIENCE) ||
        !json_find(json_at(claims, "/aud"), "", TOKEN_AUDIENCE))
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is for somebody else");
    return 0;
}

/* The account is asked for each time: with it go its tokens, also if another one takes its name. */
static int check_account(struct rest_server *s, yyjson_val *claims, yyjson_doc **ret, struct gw_error *err)
{
    const struct kind *kind = kinds_find(s->kinds, "", NULL, "serviceaccounts");
    const char *namespace = json_str_or(claims, "/kubernetes.io/namespace", ""),
               *name = json_str_or(claims, "/kubernetes.io/serviceaccount/name", "");
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (!kind || rest_read(s, kind, namespace, name, &doc, NULL) < 0 || meta_deleting(yyjson_doc_get_root(doc)) ||
        !streq(meta_uid(yyjson_doc_get_root(doc)), json_str_or(claims, "/kubernetes.io/serviceaccount/uid", "-")))
        return gw_error_set(err, GW_UNAUTHORIZED, "the service account of the token is gone");
    *ret = TAKE_PTR(doc);
    return 0;
}

int account_token_check(struct rest_server *s, const char *token, struct identity **ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL, *account = NULL;
    _cleanup_free_ char *user = NULL, *credential = NULL;
    int r = jwt_verify(s->token_key, token, &doc, err);
    yyjson_val *claims = yyjson_doc_get_root(doc);
    struct identity *who;

    r = r < 0 ? r : check_claims(claims, s->now(s->data) / 1000, err);
    r = r < 0 ? r : check_account(s, claims, &account, err);
    if (r < 0)
        return r;
    user = subject_of(yyjson_doc_get_root(account));
    credential = xasprintf("JTI=%s", json_str_or(claims, "/jti", ""));
    who = identity_new(user, NULL);
    who->uid = xstrdup(meta_uid(yyjson_doc_get_root(account)));
    identity_add_account_groups(who);
    identity_add_group(who, GROUP_AUTHENTICATED);
    identity_add_extra(who, "authentication.kubernetes.io/credential-id", credential);
    *ret = who;
    return 0;
}

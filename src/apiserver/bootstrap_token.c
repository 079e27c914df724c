#include "apiserver/bootstrap_token.h"

#include <gnutls/gnutls.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/str.h"
#include "pki/pki.h"

#define ID_LEN 6
#define SECRET_LEN 16
#define TOKEN_ALPHABET "abcdefghijklmnopqrstuvwxyz0123456789"
#define GROUP "system:bootstrappers"
#define EXTRA_PREFIX GROUP ":"
#define TYPE "bootstrap.kubernetes.io/token"

char *bootstrap_token_new(void)
{
    char token[ID_LEN + 1 + SECRET_LEN + 1];
    unsigned char random[ID_LEN + SECRET_LEN];

    random_bytes(random, sizeof(random));
    for (size_t i = 0, k = 0; i < sizeof(token) - 1; i++)
        token[i] = i == ID_LEN ? '.' : TOKEN_ALPHABET[random[k++] % (sizeof(TOKEN_ALPHABET) - 1)];
    token[sizeof(token) - 1] = '\0';
    return xstrdup(token);
}

bool bootstrap_token_is_one(const char *text)
{
    return strspn(text, TOKEN_ALPHABET) == ID_LEN && text[ID_LEN] == '.' &&
           strspn(text + ID_LEN + 1, TOKEN_ALPHABET) == SECRET_LEN && text[ID_LEN + 1 + SECRET_LEN] == '\0';
}

struct identity *bootstrap_identity(const char *token)
{
    _cleanup_free_ char *name = xasprintf("system:bootstrap:%.*s", ID_LEN, token);
    struct identity *who = identity_new(name, GROUP);

    identity_add_group(who, GROUP_AUTHENTICATED);
    return who;
}

/* --- Secrets --- */

/* A value of the Secret, decoded; NULL if it is absent. Freed by the caller. */
static char *value(yyjson_val *secret, const char *key)
{
    const char *text = json_key_str(secret, "/data", key);
    char *plain = NULL;

    return text && base64_decode(text, strlen(text), &plain, NULL) == 0 ? plain : NULL;
}

static bool value_is(yyjson_val *secret, const char *key, const char *want, size_t len)
{
    _cleanup_key_ char *have = value(secret, key);

    return have && strlen(have) == len && gnutls_memcmp(have, want, len) == 0;
}

/* Text that is no time counts as past: who wrote it wanted an end. */
static bool has_ended(yyjson_val *secret, int64_t wall_ms)
{
    _cleanup_free_ char *text = value(secret, "expiration");

    return text && *text && clock_parse(text) <= wall_ms;
}

bool bootstrap_secret_is_stale(yyjson_val *secret, int64_t wall_ms)
{
    return streq(json_str_or(secret, "/type", ""), TYPE) && streq(meta_namespace(secret), "kube-system") &&
           has_ended(secret, wall_ms);
}

/* Only below system:bootstrappers:, as Kubernetes has it. */
static void add_groups(struct identity *who, yyjson_val *secret)
{
    _cleanup_free_ char *list = value(secret, "auth-extra-groups");

    for (char *rest = list, *group; (group = strsep(&rest, ","));)
        if (str_starts(group, EXTRA_PREFIX) && strlen(group) > strlen(EXTRA_PREFIX) &&
            strspn(group, TOKEN_ALPHABET ":-") == strlen(group) && !strchr(":-", group[strlen(group) - 1]))
            identity_add_group(who, group);
}

int bootstrap_token_check(struct rest_server *s, const char *token, struct identity **ret, struct gw_error *err)
{
    const struct kind *kind = kinds_find(s->kinds, "", NULL, "secrets");
    _cleanup_free_ char *name = xasprintf("bootstrap-token-%.*s", ID_LEN, token);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *secret;

    *ret = NULL;
    if (!kind || rest_read(s, kind, "kube-system", name, &doc, NULL) < 0)
        return 0;
    secret = yyjson_doc_get_root(doc);
    if (!streq(json_str_or(secret, "/type", ""), TYPE) || meta_deleting(secret) ||
        !value_is(secret, "token-id", token, ID_LEN) ||
        !value_is(secret, "token-secret", token + ID_LEN + 1, SECRET_LEN))
        return 0;
    if (has_ended(secret, s->now(s->data)))
        return gw_error_set(err, GW_UNAUTHORIZED, "the bootstrap token has expired");
    if (!value_is(secret, "usage-bootstrap-authentication", "true", strlen("true")))
        return gw_error_set(err, GW_UNAUTHORIZED,
                            "the bootstrap token is not one for authentication (usage-bootstrap-authentication)");
    *ret = bootstrap_identity(token);
    add_groups(*ret, secret);
    return 0;
}

#include "apiserver/authn.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "apiserver/account_token.h"
#include "apiserver/bootstrap_token.h"
#include "apiserver/oidc.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

struct token {
    char *text;
    struct identity *who;
};
VEC_DEFINE(token_vec, struct token);

struct authn {
    const struct pki_authority *clients;
    struct token_vec tokens;
    struct rest_server *rest;
    struct oidc *oidc;
};

/* --- Tokens --- */

/* Takes one CSV field off *cursor; quotes are removed. */
static char *take_field(char **cursor)
{
    char *field = *cursor, *end;

    if (!field)
        return NULL;
    end = *field == '"' ? strchr(field + 1, '"') : field + strcspn(field, ",");
    if (*field == '"')
        field++;
    if (!end) {
        *cursor = NULL;
        return field;
    }
    *cursor = strchr(end, ',');
    if (*cursor)
        (*cursor)++;
    *end = '\0';
    return field;
}

static int read_static(struct authn *a, char *line)
{
    char *cursor = line, *token = take_field(&cursor), *user = take_field(&cursor), *uid = take_field(&cursor);
    char *groups = take_field(&cursor);
    struct identity *who;

    if (!token || !*token || !user || !*user || !uid)
        return -EINVAL;
    who = identity_new(user, NULL);
    who->uid = *uid ? xstrdup(uid) : NULL;
    for (char *g; (g = strsep(&groups, ","));)
        if (*g)
            identity_add_group(who, g);
    identity_add_group(who, GROUP_AUTHENTICATED);
    token_vec_push(&a->tokens, (struct token){xstrdup(token), who});
    return 0;
}

static int read_bootstrap(struct authn *a, char *line)
{
    if (!bootstrap_token_is_one(line))
        return -EINVAL;
    token_vec_push(&a->tokens, (struct token){xstrdup(line), bootstrap_identity(line)});
    return 0;
}

static int read_lines(struct authn *a, const char *text, const char *what, int (*read)(struct authn *, char *),
                      struct gw_error *err)
{
    _cleanup_free_ char *copy = xstrdup(text);
    unsigned number = 0;

    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (*line == '\0' || *line == '#')
            continue;
        if (read(a, line) < 0)
            return gw_error_set(err, GW_INVALID, "line %u of the %s is malformed", number, what);
    }
    return 0;
}

static const struct token *find_token(const struct authn *a, const char *text)
{
    const struct token *found = NULL;
    size_t len = strlen(text);

    VEC_EACH((struct token_vec *)&a->tokens, t)
        if (strlen(t->text) == len && gnutls_memcmp(t->text, text, len) == 0)
            found = t;
    return found;
}

/* Those that say nothing of whom they are for are for this server. */
static bool is_for_us(const struct authn_audiences *asked)
{
    for (size_t i = 0; asked && i < asked->n; i++)
        if (streq(asked->items[i], TOKEN_AUDIENCE))
            return true;
    return !asked;
}

int authn_token(const struct authn *a, const char *token, const struct authn_audiences *asked, struct identity **ret,
                struct gw_error *err)
{
    const struct token *known = find_token(a, token);
    struct identity *who = known ? identity_copy(known->who) : NULL;
    int r;

    if (!who && a->oidc && account_token_is_one(token) && oidc_is_issuer(a->oidc, token)) {
        r = oidc_check(a->oidc, token, clock_wall_ms(), &who, err);
        if (r < 0)
            return gw_error_wrap(err, r, "oidc");
    }
    if (!who && a->rest && a->rest->token_key && account_token_is_one(token))
        return account_token_check(a->rest, token, asked, ret, err);
    if (!who && a->rest && bootstrap_token_is_one(token) && (r = bootstrap_token_check(a->rest, token, &who, err)) < 0)
        return r;
    if (who && !is_for_us(asked))
        who = identity_free(who);
    if (!who)
        return gw_error_set(err, GW_UNAUTHORIZED, "the bearer token is not known");
    strv_push(&who->audiences, TOKEN_AUDIENCE);
    *ret = who;
    return 0;
}

/* --- Certificates --- */

int authn_chain(const struct authn *a, const struct pki_der *chain, size_t n, int64_t wall_ms, struct identity **ret,
                struct gw_error *err)
{
    _cleanup_pki_info_ struct pki_info info = {0};
    const struct pki_authority_state *clients = pki_authority_now(a->clients);
    struct identity *who;
    int r = pki_trust_verify(clients->trust, chain, n, PKI_CLIENT, wall_ms, &info, err);

    if (r < 0)
        return r;
    if (!*info.cn)
        return gw_error_set(err, GW_UNAUTHORIZED, "the client certificate has no common name");
    who = identity_new(info.cn, NULL);
    for (size_t i = 0; i < info.n_o; i++)
        identity_add_group(who, info.o[i]);
    identity_add_group(who, GROUP_AUTHENTICATED);
    who->expires_ms = info.not_after_ms;
    who->trusted = clients->number;
    who->of_old =
        clients->of_issuer && pki_trust_verify(clients->of_issuer, chain, n, PKI_CLIENT, wall_ms, NULL, NULL) < 0;
    *ret = who;
    return 0;
}

bool authn_is_current(const struct authn *a, const struct identity *who, int64_t wall_ms)
{
    return wall_ms <= who->expires_ms && who->trusted == pki_authority_now(a->clients)->number;
}

/* --- Life --- */

int authn_new(const struct authn_config *config, struct authn **ret, struct gw_error *err)
{
    struct authn *a = xnew(struct authn);
    int r = 0;

    a->clients = config->clients;
    a->rest = config->rest;
    a->oidc = config->oidc;
    if (config->static_tokens)
        r = read_lines(a, config->static_tokens, "token file", read_static, err);
    if (r == 0 && config->bootstrap_tokens)
        r = read_lines(a, config->bootstrap_tokens, "bootstrap tokens", read_bootstrap, err);
    if (r < 0)
        authn_free(a);
    else
        *ret = a;
    return r;
}

struct authn *authn_free(struct authn *a)
{
    if (!a)
        return NULL;
    VEC_EACH(&a->tokens, t) {
        pki_free_key(t->text);
        identity_free(t->who);
    }
    token_vec_done(&a->tokens);
    free(a);
    return NULL;
}

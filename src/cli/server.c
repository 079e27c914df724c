#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "server/server.h"

VEC_DEFINE(text_list, const char *);

struct options {
    struct server_config config;
    char *address;
    struct text_list names;
    struct strv oidc_claims, oidc_algs;
    enum log_level level;
};

static int set_data_dir(struct options *o, const char *value)
{
    o->config.data_dir = value;
    return 0;
}

/* ADDR:PORT, [ADDR]:PORT or :PORT. */
static int set_listen(struct options *o, const char *value)
{
    const char *colon = strrchr(value, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    size_t len = colon ? (size_t)(colon - value) : 0;

    if (!colon || end == colon + 1 || *end || port > 65535)
        return -EINVAL;
    if (len >= 2 && value[0] == '[' && value[len - 1] == ']')
        value++, len -= 2;
    free(o->address);
    o->address = len ? xstrndup(value, len) : xstrdup("::");
    o->config.address = o->address;
    o->config.port = (uint16_t)port;
    return 0;
}

static int set_advertise(struct options *o, const char *value)
{
    o->config.advertise = value;
    return 0;
}

static int add_name(struct options *o, const char *value)
{
    text_list_push(&o->names, value);
    return 0;
}

static int set_kubeconfig(struct options *o, const char *value)
{
    o->config.kubeconfig = value;
    return 0;
}

static int set_token_file(struct options *o, const char *value)
{
    o->config.static_tokens = value;
    return 0;
}

static int set_audit_log(struct options *o, const char *value)
{
    o->config.audit_log = value;
    return 0;
}

static int set_certificate_lifetime(struct options *o, const char *value)
{
    int64_t ms;

    if (duration_parse(value, &ms, NULL) < 0 || ms < 60000)
        return -EINVAL;
    o->config.certificate_life_s = ms / 1000;
    return 0;
}

static int set_encryption_keys(struct options *o, const char *value)
{
    o->config.encryption_keys = value;
    return 0;
}

/* --- OpenID Connect, as kube-apiserver has it --- */

#define OIDC_TEXT(field) \
    static int set_oidc_##field(struct options *o, const char *value) \
    { \
        o->config.oidc.field = value; \
        return *value ? 0 : -EINVAL; \
    }
OIDC_TEXT(issuer_url)
OIDC_TEXT(client_id)
OIDC_TEXT(username_claim)
OIDC_TEXT(username_prefix)
OIDC_TEXT(groups_claim)
OIDC_TEXT(groups_prefix)
OIDC_TEXT(ca_file)

/* Lists may be given with commas and by repetition. */
static int add_parts(struct strv *list, const char *value)
{
    for (size_t len; *value; value += len + (value[len] == ',')) {
        len = strcspn(value, ",");
        if (len)
            strv_take(list, xstrndup(value, len));
    }
    return list->len ? 0 : -EINVAL;
}

static int add_oidc_claims(struct options *o, const char *value)
{
    return add_parts(&o->oidc_claims, value);
}

static int add_oidc_algs(struct options *o, const char *value)
{
    return add_parts(&o->oidc_algs, value);
}

static int set_debug(struct options *o, const char *value)
{
    o->level = LOG_DEBUG_;
    return 0;
}

static const struct {
    const char *name, *value;
    int (*set)(struct options *o, const char *value);
    const char *help;
} table[] = {
    {"data-dir", "DIR", set_data_dir, "where everything is kept [/var/lib/godwit/server]"},
    {"listen", "ADDR:PORT", set_listen, "where to serve [0.0.0.0:6443]"},
    {"advertise", "ADDR", set_advertise, "the address that kubeconfigs name [that of --listen]"},
    {"name", "NAME", add_name, "a further name or address of this server, for its certificate; may be repeated"},
    {"kubeconfig", "FILE", set_kubeconfig, "where to write the administrator's kubeconfig [DIR/admin.kubeconfig]"},
    {"token-file", "FILE", set_token_file, "static bearer tokens: lines TOKEN,USER,UID[,\"GROUP,GROUP\"]"},
    {"audit-log", "FILE", set_audit_log, "record every write: who, what, when; one line of JSON each"},
    {"certificate-lifetime", "DURATION", set_certificate_lifetime,
     "no certificate that it issues lives longer than this, such as 24h; at least 1m [a year]"},
    {"encryption-key-file", "FILE", set_encryption_keys,
     "encrypt Secrets on disk: lines of 32 random bytes in base64; the first encrypts"},
    {"oidc-issuer-url", "URL", set_oidc_issuer_url, "believe ID tokens of this OpenID Connect issuer: https://..."},
    {"oidc-client-id", "ID", set_oidc_client_id, "which they must be for (aud)"},
    {"oidc-username-claim", "CLAIM", set_oidc_username_claim, "the claim that is the user's name [sub]"},
    {"oidc-username-prefix", "TEXT", set_oidc_username_prefix,
     "put before the name [URL and #; nothing before an email]; - is nothing"},
    {"oidc-groups-claim", "CLAIM", set_oidc_groups_claim, "the claim that lists the user's groups"},
    {"oidc-groups-prefix", "TEXT", set_oidc_groups_prefix, "put before each of them"},
    {"oidc-required-claim", "KEY=VALUE", add_oidc_claims, "a claim that tokens must have; may be repeated"},
    {"oidc-signing-algs", "ALG,...", add_oidc_algs, "how they may be signed [RS256]"},
    {"oidc-ca-file", "FILE", set_oidc_ca_file, "authorities for the issuer's certificate [the system's]"},
    {"debug", NULL, set_debug, "log more"},
};

void usage_server(FILE *out)
{
    fputs("usage: godwit server [OPTIONS]\n\nThe API server and the controllers, over an embedded store.\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        _cleanup_free_ char *left =
            xasprintf("--%s%s%s", table[i].name, table[i].value ? " " : "", table[i].value ? table[i].value : "");

        fprintf(out, "  %-31s %s\n", left, table[i].help);
    }
}

/* Returns -1 to go on, else an exit code. */
static int parse(struct options *o, int argc, char **argv)
{
    struct option longs[ARRAY_SIZE(table) + 1] = {0};
    int c, index = 0;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        longs[i] = (struct option){table[i].name, table[i].value ? required_argument : no_argument, NULL, 0};
    while ((c = getopt_long(argc, argv, "", longs, &index)) >= 0) {
        if (c != 0)
            return EXIT_USAGE;
        if (table[index].set(o, optarg) < 0) {
            fprintf(stderr, "godwit server: --%s \"%s\": want %s\n", table[index].name, optarg, table[index].value);
            return 1;
        }
    }
    return optind < argc ? EXIT_USAGE : -1;
}

int cmd_server(int argc, char **argv)
{
    struct options o = {
        .config = {.data_dir = "/var/lib/godwit/server", .address = "0.0.0.0", .port = 6443},
        .level = LOG_INFO_,
    };
    struct gw_error err = GW_ERROR_INIT;
    int r = parse(&o, argc, argv);

    if (r < 0) {
        text_list_push(&o.names, NULL);
        o.config.names = o.names.items;
        o.config.oidc.required_claims = (const char *const *)o.oidc_claims.items;
        o.config.oidc.signing_algs = (const char *const *)o.oidc_algs.items;
        log_init("server", o.level);
        r = server_run(&o.config, &err);
        r = r < 0 ? (log_failure(r, &err, "cannot serve"), 1) : 0;
    }
    text_list_done(&o.names);
    strv_done(&o.oidc_claims);
    strv_done(&o.oidc_algs);
    free(o.address);
    return r;
}

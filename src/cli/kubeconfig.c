/* `godwit kubeconfig`: a kubeconfig for a person, with a certificate that names user and groups. What they may do is
 * the matter of roles. Where the server's data directory is, the authority's key signs it at once; elsewhere the server
 * is asked, by the rights of the kubeconfig in use. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/kubeconfig_request.h"
#include "client/kubeconfig.h"
#include "pki/authority.h"

#define DATA_DIR "/var/lib/godwit/server"
#define DAY_S 86400LL
#define DAYS_MAX 3650

VEC_DEFINE(group_list, const char *);

struct options {
    const char *data_dir, *user, *server;
    struct group_list groups;
    int64_t days;
};

static int set_data_dir(struct options *o, const char *value)
{
    o->data_dir = value;
    return 0;
}

static int set_user(struct options *o, const char *value)
{
    o->user = value;
    return *value ? 0 : -EINVAL;
}

static int add_group(struct options *o, const char *value)
{
    group_list_push(&o->groups, value);
    return *value ? 0 : -EINVAL;
}

static int set_server(struct options *o, const char *value)
{
    o->server = value;
    return str_starts(value, "https://") ? 0 : -EINVAL;
}

static int set_days(struct options *o, const char *value)
{
    char *end;

    o->days = strtoll(value, &end, 10);
    return *value && !*end && o->days > 0 && o->days <= DAYS_MAX ? 0 : -EINVAL;
}

static const struct {
    const char *name, *value;
    int (*set)(struct options *o, const char *value);
    const char *help;
} table[] = {
    {"user", "NAME", set_user, "who it is for"},
    {"group", "GROUP", add_group, "a group of the user; may be repeated"},
    {"data-dir", "DIR", set_data_dir,
     "the server's data directory [" DATA_DIR " if it is there, else the server is asked]"},
    {"server", "URL", set_server, "https://HOST:PORT [as DIR/admin.kubeconfig or the kubeconfig in use says]"},
    {"days", "N", set_days, "how long the certificate is good [365]"},
};

void usage_kubeconfig(FILE *out)
{
    fputs("usage: godwit kubeconfig --user NAME [--group GROUP]... [OPTIONS]\n\nWrites a kubeconfig for a person to "
          "standard "
          "output. It holds a key: keep it from others.\nWhat the user may do is said by roles: kubectl create "
          "rolebinding "
          "--help\n\n",
          out);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        _cleanup_free_ char *left = xasprintf("--%s %s", table[i].name, table[i].value);

        fprintf(out, "  %-18s %s\n", left, table[i].help);
    }
}

/* Returns -1 to go on, else an exit code. */
static int parse(struct options *o, int argc, char **argv)
{
    struct option longs[ARRAY_SIZE(table) + 1] = {0};
    int c, index = 0;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        longs[i] = (struct option){table[i].name, required_argument, NULL, 0};
    while ((c = getopt_long(argc, argv, "", longs, &index)) >= 0) {
        if (c != 0)
            return EXIT_USAGE;
        if (table[index].set(o, optarg) < 0) {
            fprintf(stderr, "godwit kubeconfig: --%s \"%s\": want %s\n", table[index].name, optarg, table[index].value);
            return 1;
        }
    }
    return optind < argc || !o->user ? EXIT_USAGE : -1;
}

static struct pki_subject subject_of(const struct options *o)
{
    return (struct pki_subject){.cn = o->user, .o = o->groups.items};
}

/* What the administrator's kubeconfig says: the one beside the data, or the one in use if it is of the same cluster. */
static int find_server(const struct options *o, const struct pki_authority_state *now, char **ret, struct gw_error *err)
{
    _cleanup_free_ char *beside = xasprintf("%s/admin.kubeconfig", o->data_dir);
    _cleanup_free_ char *path = fs_exists(beside) ? xstrdup(beside) : cli_default_kubeconfig();
    _cleanup_client_config_ struct client_config admin = {0};
    int r = o->server ? 0 : kubeconfig_load_list(path, NULL, &admin, err);

    if (r == 0 && !o->server && !(admin.ca && pki_bundles_meet(admin.ca, now->bundle)))
        r = gw_error_set(err, GW_NOT_FOUND, "%s is of another cluster", path);
    if (r < 0)
        return gw_error_wrap(err, r, "where the server is (say it by --server)");
    *ret = xstrdup(o->server ? o->server : admin.server);
    return 0;
}

static int sign(const struct options *o, const struct pki_authority_state *now, struct client_config *ret,
                struct gw_error *err)
{
    const struct pki_subject subject = subject_of(o);
    int r = find_server(o, now, &ret->server, err);

    r = r < 0 ? r : pki_issue_with_key(now->issuer, &subject, PKI_CLIENT, o->days * DAY_S, &ret->cert, &ret->key, err);
    ret->ca = xstrdup(now->bundle);
    return r;
}

static int issue_here(const struct options *o, struct client_config *ret, struct gw_error *err)
{
    _cleanup_authority_ struct pki_authority *authority = NULL;
    int r = pki_authority_read(o->data_dir, "ca", &authority, err);

    return r < 0 ? r : sign(o, pki_authority_now(authority), ret, err);
}

static int issue_there(const struct options *o, struct client_config *ret, struct gw_error *err)
{
    const struct pki_subject subject = subject_of(o);
    int r = kubeconfig_request(&subject, o->days * DAY_S, ret, err);

    if (r == 0 && o->server) {
        free(ret->server);
        ret->server = xstrdup(o->server);
    }
    return r;
}

static int write_kubeconfig(const struct options *o, struct gw_error *err)
{
    _cleanup_client_config_ struct client_config config = {0};
    _cleanup_key_ char *text = NULL;
    int r = o->data_dir ? issue_here(o, &config, err) : issue_there(o, &config, err);

    if (r < 0)
        return r;
    text = kubeconfig_write(&config, "godwit", o->user);
    fputs(text, stdout);
    return fflush(stdout) == 0 ? 0 : gw_error_errno(err, errno, "cannot write");
}

int cmd_kubeconfig(int argc, char **argv)
{
    struct options o = {.data_dir = fs_exists(DATA_DIR) ? DATA_DIR : NULL, .days = 365};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int code = parse(&o, argc, argv);

    if (code < 0) {
        group_list_push(&o.groups, NULL);
        code = write_kubeconfig(&o, &err) < 0;
        if (code)
            fprintf(stderr, "godwit kubeconfig: %s\n", gw_error_message(&err));
    }
    group_list_done(&o.groups);
    return code;
}

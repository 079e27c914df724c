/* ssh and scp: this host's own programs, with `port-forward --stdio` of this one as their ProxyCommand (as virtctl 1.8
 * does, pkg/virtctl/ssh and scp). The host's name that they see is KIND.NAME.NAMESPACE. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/virtctl/target.h"
#include "cli/virtctl/virtctl.h"

extern char **environ;

struct remote {
    struct target target;
    const char *user; /* NULL: ssh's own default */
};

/* --- Arguments --- */

static const char *default_user(void)
{
    static const char *const names[] = {"USER", "USERNAME", "LOGNAME"};
    const char *user = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(names) && !(user && *user); i++)
        user = getenv(names[i]);
    return user && *user ? user : NULL;
}

/* "[USER@]KIND/NAME[/NAMESPACE]". Cuts text. */
static int read_remote(struct virtctl *v, char *text, struct remote *ret, struct gw_error *err)
{
    char *user = strchr(text, '@') ? strsep(&text, "@") : NULL, *target = strsep(&text, "@");
    const char *named = flag_text(&v->line, "username");
    int r;

    if (user && !*user)
        return gw_error_set(err, GW_BAD_REQUEST, "expected username before '@'");
    if (!*target)
        return gw_error_set(err, GW_BAD_REQUEST, "expected target after '@'");
    r = target_read(target, &ret->target, err);
    if (r < 0)
        return r;
    if (!ret->target.ns)
        ret->target.ns = v->ns;
    ret->user = user ? user : named ? named : default_user();
    return 0;
}

/* --- The command --- */

/* One word for the user's shell, which runs a ProxyCommand, and for ssh, which replaces what follows a '%' before. */
static void add_quoted(struct str *s, const char *word)
{
    str_puts(s, "'");
    for (; *word; word++)
        str_puts(s, *word == '\'' ? "'\\''" : *word == '%' ? "%%" : (char[]){*word, '\0'});
    str_putc(s, '\'');
}

static void add_option(struct str *s, const struct virtctl *v, const char *name)
{
    const char *value = flag_text(&v->line, name);

    if (!value)
        return;
    str_printf(s, "--%s=", name);
    add_quoted(s, value);
    str_putc(s, ' ');
}

/* This very program, which may be called by any name, at the same server. */
static int make_proxy_command(const struct virtctl *v, const struct target *t, char **ret, struct gw_error *err)
{
    _cleanup_free_ char *to = xasprintf("%s/%s/%s", t->kind, t->name, t->ns);
    _cleanup_str_ struct str s = {0};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return gw_error_errno(err, errno, "cannot find this program's file");
    self[n] = '\0';
    str_puts(&s, "ProxyCommand=");
    add_quoted(&s, self);
    str_puts(&s, " virtctl port-forward --stdio=true ");
    add_option(&s, v, "kubeconfig");
    add_option(&s, v, "context");
    add_quoted(&s, to);
    str_printf(&s, " %lld", flag_int(&v->line, "port"));
    *ret = str_take(&s);
    return 0;
}

static int run_program(const struct strv *words, struct gw_error *err)
{
    int status = 0, r;
    pid_t pid;

    (void)fflush(stdout);
    r = posix_spawnp(&pid, words->items[0], NULL, NULL, words->items, environ);
    if (r == ENOENT)
        return gw_error_set(err, GW_NOT_FOUND, "\"%s\": executable file not found in $PATH", words->items[0]);
    if (r != 0)
        return gw_error_errno(err, r, "cannot start %s", words->items[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        return gw_error_set(err, GW_INTERNAL_ERROR, "signal: %s", strsignal(WTERMSIG(status)));
    return WEXITSTATUS(status) ? gw_error_set(err, GW_INTERNAL_ERROR, "exit status %d", WEXITSTATUS(status)) : 0;
}

/* program with what both have in common in front of its arguments. */
static int run_client(struct virtctl *v, const char *program, const struct target *t, const struct strv *arguments,
                      struct gw_error *err)
{
    const char *hosts = flag_text(&v->line, "known-hosts"), *identity = flag_text(&v->line, "identity-file"), *more;
    _cleanup_strv_ struct strv words = {0};
    char *proxy = NULL;
    int r = make_proxy_command(v, t, &proxy, err);

    if (r < 0)
        return r;
    strv_push(&words, program);
    strv_push(&words, "-o");
    strv_take(&words, proxy);
    for (size_t at = 0; (more = flag_next(&v->line, "local-ssh-opts", &at));)
        strv_push(&words, more);
    if (hosts)
        strv_printf(&words, "-oUserKnownHostsFile=%s", hosts);
    if (identity) {
        strv_push(&words, "-i");
        strv_push(&words, identity);
    }
    for (size_t i = 0; i < arguments->len; i++)
        strv_push(&words, arguments->items[i]);
    return run_program(&words, err);
}

/* "USER@KIND.NAME.NAMESPACE", and what is behind it. Caller frees. */
static char *host_of(const struct remote *remote, const char *behind)
{
    const struct target *t = &remote->target;

    return xasprintf("%s%s%s.%s.%s%s", remote->user ? remote->user : "", remote->user ? "@" : "", t->kind, t->name,
                     t->ns, behind);
}

/* --- The verbs --- */

static int run_ssh(struct virtctl *v, struct gw_error *err)
{
    const char *command = flag_text(&v->line, "command");
    _cleanup_strv_ struct strv words = {0};
    struct remote remote;
    int r = read_remote(v, v->args[0], &remote, err);

    if (r < 0)
        return r;
    strv_take(&words, host_of(&remote, ""));
    if (command && *command)
        strv_push(&words, command);
    return run_client(v, "ssh", &remote.target, &words, err);
}

static int run_scp(struct virtctl *v, struct gw_error *err)
{
    bool from = strchr(v->args[0], ':'), to = strchr(v->args[1], ':');
    _cleanup_free_ char *text = xstrdup(v->args[to ? 1 : 0]), *host = NULL;
    char *path = text, *name = strsep(&path, ":");
    _cleanup_strv_ struct strv words = {0};
    struct remote remote;
    int r;

    if (from == to)
        return gw_error_set(err, GW_BAD_REQUEST, "%s: \"%s\" to \"%s\"",
                            to ? "copying from a remote location to another remote location is not supported"
                               : "none of the two provided locations seems to be a remote location",
                            v->args[0], v->args[1]);
    r = read_remote(v, name, &remote, err);
    if (r < 0)
        return r;
    if (flag_bool(&v->line, "recursive"))
        strv_push(&words, "-r");
    if (flag_bool(&v->line, "preserve"))
        strv_push(&words, "-p");
    host = host_of(&remote, ":");
    strv_printf(&words, "%s%s", to ? v->args[0] : host, to ? "" : path);
    strv_printf(&words, "%s%s", to ? host : v->args[1], to ? path : "");
    return run_client(v, "scp", &remote.target, &words, err);
}

/* --- the table --- */

#define IDENTITY \
    { \
        .name = "identity-file", .letter = 'i', .help = "file with the private key; ssh's own choice if not given" \
    }
#define KNOWN_HOSTS \
    { \
        .name = "known-hosts", .help = "file with the keys of hosts; ssh's own if not given" \
    }
#define OPTIONS \
    { \
        .name = "local-ssh-opts", .letter = 't', .kind = FLAG_LIST, .help = "further option for the program, as it is" \
    }
#define PORT \
    { \
        .name = "port", .letter = 'p', .kind = FLAG_INT, .fallback = "22", .help = "port of the guest's ssh server" \
    }
#define USERNAME \
    { \
        .name = "username", .letter = 'l', .help = "who to log in as, if the target does not say; $USER if not given" \
    }

static const struct flag ssh_flags[] = {
    {.name = "command", .letter = 'c', .help = "command to run in the guest in place of a shell"},
    IDENTITY,
    KNOWN_HOSTS,
    OPTIONS,
    PORT,
    USERNAME,
    {0},
};

static const struct flag scp_flags[] = {
    IDENTITY,
    KNOWN_HOSTS,
    OPTIONS,
    PORT,
    {.name = "preserve", .kind = FLAG_BOOL, .help = "keep times and modes"},
    {.name = "recursive", .letter = 'r', .kind = FLAG_BOOL, .help = "copy folders with all that is in them"},
    USERNAME,
    {0},
};

const struct verb ssh_verbs[] = {
    {.name = "ssh",
     .args = "(VM|VMI)",
     .n_args = 1,
     .help = "Log in to a guest by this host's ssh, through the API server.",
     .examples = "  # Log in to the VMI 'myvmi' as jdoe:\n"
                 "  virtctl ssh jdoe@vmi/myvmi\n\n"
                 "  # To the VM 'myvm' in the namespace 'web', with a key:\n"
                 "  virtctl ssh jdoe@vm/myvm/web --identity-file=key\n\n"
                 "  # Run a command, and do not ask whether the host is known:\n"
                 "  virtctl ssh vm/myvm -l jdoe -t '-o StrictHostKeyChecking=no' -c uptime\n",
     .flags = ssh_flags,
     .run = run_ssh},
    {.name = "scp",
     .args = "(VM|VMI)",
     .n_args = 2,
     .help = "Copy files to or from a guest by this host's scp, through the API server.",
     .examples = "  # Into the home of jdoe:\n"
                 "  virtctl scp notes.txt jdoe@vmi/myvmi:\n\n"
                 "  # A folder out of the VM 'myvm' in the namespace 'web':\n"
                 "  virtctl scp --recursive jdoe@vm/myvm/web:/var/log .\n",
     .flags = scp_flags,
     .run = run_scp},
    {0},
};

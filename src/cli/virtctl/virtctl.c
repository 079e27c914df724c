#include "cli/virtctl/virtctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"

static const struct verb {
    const char *name;
    size_t n_args;
    unsigned flags;
    virtctl_fn *run;
    const char *args, *help;
} verbs[] = {
    {"start", 1, FLAG_DRY_RUN | FLAG_PAUSED, virtctl_start, "VM", "start a virtual machine"},
    {"stop", 1, FLAG_DRY_RUN | FLAG_FORCE | FLAG_GRACE, virtctl_stop, "VM", "stop a virtual machine"},
    {"restart", 1, FLAG_DRY_RUN | FLAG_FORCE | FLAG_GRACE, virtctl_restart, "VM", "restart a virtual machine"},
    {"migrate", 1, FLAG_DRY_RUN | FLAG_SELECTOR, virtctl_migrate, "VM",
     "move a running virtual machine to another node"},
    {"migrate-cancel", 1, FLAG_DRY_RUN, virtctl_migrate_cancel, "VM", "cancel its migration"},
    {"evacuate-cancel", 2, FLAG_DRY_RUN, virtctl_evacuate_cancel, "vm|vmi NAME", "cancel its evacuation from a node"},
    {"pause", 2, FLAG_DRY_RUN, virtctl_pause, "vm|vmi NAME", "let the guest stand still"},
    {"unpause", 2, FLAG_DRY_RUN, virtctl_unpause, "vm|vmi NAME", "let it run again"},
    {"soft-reboot", 1, 0, virtctl_soft_reboot, "VMI", "ask the guest to reboot"},
    {"reset", 1, 0, virtctl_reset, "VMI", "reset the machine at once"},
    {"guestosinfo", 1, 0, virtctl_guest_info, "VMI", "the guest's operating system, as its agent tells"},
    {"userlist", 1, 0, virtctl_guest_info, "VMI", "who is logged in"},
    {"fslist", 1, 0, virtctl_guest_info, "VMI", "mounted file systems"},
    {"console", 1, FLAG_TIMEOUT, virtctl_console, "VMI", "the guest's serial console; Ctrl+] leaves it"},
    {"port-forward", 2, FLAG_ADDRESS | FLAG_STDIO | FLAG_MORE, virtctl_port_forward, "[vm/|vmi/]NAME [LOCAL:]PORT...",
     "ports of the guest as ports of this host"},
    {"vnc", 1, FLAG_ADDRESS | FLAG_PORT | FLAG_PROXY_ONLY, virtctl_vnc, "VMI", "the guest's screen, in a viewer"},
    {"addvolume", 1, FLAG_DRY_RUN | FLAG_VOLUME | FLAG_SERIAL | FLAG_CACHE | FLAG_PERSIST | FLAG_DISK_TYPE | FLAG_BUS,
     virtctl_add_volume, "VM --volume-name NAME", "plug a claim into a running virtual machine"},
    {"removevolume", 1, FLAG_DRY_RUN | FLAG_VOLUME | FLAG_PERSIST, virtctl_remove_volume, "VM --volume-name NAME",
     "take it out again"},
    {"expand", 0, FLAG_VM | FLAG_FILE | FLAG_OUTPUT, virtctl_expand, "--vm VM | --file FILE",
     "a virtual machine with its whole spec"},
    {"version", 0, FLAG_CLIENT, virtctl_version, "", "versions of this program and of the server"},
};

/* Options by their letter, or a number above all letters. */
enum {
    KUBECONFIG = 256,
    CONTEXT,
    DRY_RUN,
    PAUSED,
    FORCE,
    GRACE,
    SELECTOR,
    VM,
    TIMEOUT,
    ADDRESS,
    STDIO,
    VOLUME,
    SERIAL,
    CACHE,
    PERSIST,
    DISK_TYPE,
    BUS,
    PROXY_ONLY,
    PORT
};

static const struct option options[] = {
    {"namespace", required_argument, NULL, 'n'},
    {"kubeconfig", required_argument, NULL, KUBECONFIG},
    {"context", required_argument, NULL, CONTEXT},
    {"dry-run", optional_argument, NULL, DRY_RUN},
    {"paused", optional_argument, NULL, PAUSED},
    {"force", optional_argument, NULL, FORCE},
    {"grace-period", required_argument, NULL, GRACE},
    {"addedNodeSelector", required_argument, NULL, SELECTOR},
    {"client", no_argument, NULL, 'c'},
    {"vm", required_argument, NULL, VM},
    {"file", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"address", required_argument, NULL, ADDRESS},
    {"stdio", optional_argument, NULL, STDIO},
    {"volume-name", required_argument, NULL, VOLUME},
    {"serial", required_argument, NULL, SERIAL},
    {"cache", required_argument, NULL, CACHE},
    {"persist", optional_argument, NULL, PERSIST},
    {"disk-type", required_argument, NULL, DISK_TYPE},
    {"bus", required_argument, NULL, BUS},
    {"proxy-only", optional_argument, NULL, PROXY_ONLY},
    {"port", required_argument, NULL, PORT},
    {0},
};

void usage_virtctl(FILE *out)
{
    fputs("usage: virtctl VERB [ARGS] [-n NAMESPACE] [--kubeconfig FILE] [--context NAME]\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        _cleanup_free_ char *what = xasprintf("%s %s", verbs[i].name, verbs[i].args);
        fprintf(out, "  %-28s %s\n", what, verbs[i].help);
    }
    fputs("\nstart [--paused], stop and restart [--force --grace-period=0], migrate [--addedNodeSelector "
          "KEY=VALUE,...],\n"
          "vnc [--proxy-only --address ADDRESS --port PORT], expand [-o yaml|json], version [--client];\n"
          "what changes something takes --dry-run.\n",
          out);
}

/* --- for the verbs --- */

int virtctl_fail(struct gw_error *err, int r, const char *fmt, ...)
{
    _cleanup_free_ char *was = xstrdup(gw_error_message(err));
    enum gw_reason reason = err->reason;
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    gw_error_set(err, reason, "%s%s", text, was);
    return r;
}

int virtctl_sub(struct virtctl *v, const char *method, const char *resource, const char *name, const char *sub,
                yyjson_mut_doc *body, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *path =
        xasprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/%s/%s/%s", v->ns, resource, name, sub);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = cli_api_call(&v->api, method, path, body, &doc, err);

    if (r == 0 && ret)
        *ret = TAKE_PTR(doc);
    return r;
}

yyjson_mut_doc *virtctl_options(const struct virtctl *v)
{
    yyjson_mut_doc *d = json_object();

    if (v->dry_run) {
        printf("Dry Run execution\n");
        json_set(d, "/dryRun", yyjson_mut_arr(d));
        yyjson_mut_arr_add_str(d, json_mut_at(d, "/dryRun"), "All");
    }
    return d;
}

int virtctl_kind(const char *word, struct gw_error *err)
{
    static const char *const words[][4] = {{"vm", "vms", "virtualmachine", "virtualmachines"},
                                           {"vmi", "vmis", "virtualmachineinstance", "virtualmachineinstances"}};

    for (int kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < ARRAY_SIZE(words[kind]); i++)
            if (strcasecmp(words[kind][i], word) == 0)
                return kind;
    return gw_error_set(err, GW_BAD_REQUEST, "unsupported resource type \"%s\"", word);
}

/* --- the command line --- */

struct line {
    const char *kubeconfig, *context;
    unsigned given; /* enum virtctl_flag */
};

/* "--force" and "--force=true". */
static int take_bool(bool *ret, const char *name, struct gw_error *err)
{
    if (!optarg || streq(optarg, "true"))
        *ret = true;
    else if (!streq(optarg, "false"))
        return gw_error_set(err, GW_BAD_REQUEST, "invalid argument \"%s\" for \"--%s\" flag: want true or false",
                            optarg, name);
    return 0;
}

static int take(struct virtctl *v, struct line *line, int c, struct gw_error *err)
{
    const struct {
        int option;
        unsigned flag;
        const char **text;
        bool *yes;
        const char *name;
    } rows[] = {
        {'n', 0, &v->ns, NULL, "namespace"},
        {KUBECONFIG, 0, &line->kubeconfig, NULL, "kubeconfig"},
        {CONTEXT, 0, &line->context, NULL, "context"},
        {DRY_RUN, FLAG_DRY_RUN, NULL, &v->dry_run, "dry-run"},
        {PAUSED, FLAG_PAUSED, NULL, &v->paused, "paused"},
        {FORCE, FLAG_FORCE, NULL, &v->force, "force"},
        {GRACE, FLAG_GRACE, &v->grace_period, NULL, "grace-period"},
        {SELECTOR, FLAG_SELECTOR, &v->selector, NULL, "addedNodeSelector"},
        {'c', FLAG_CLIENT, NULL, &v->client_only, "client"},
        {VM, FLAG_VM, &v->vm, NULL, "vm"},
        {'f', FLAG_FILE, &v->file, NULL, "file"},
        {'o', FLAG_OUTPUT, &v->output, NULL, "output"},
        {TIMEOUT, FLAG_TIMEOUT, &v->timeout, NULL, "timeout"},
        {ADDRESS, FLAG_ADDRESS, &v->address, NULL, "address"},
        {STDIO, FLAG_STDIO, NULL, &v->stdio, "stdio"},
        {PROXY_ONLY, FLAG_PROXY_ONLY, NULL, &v->proxy_only, "proxy-only"},
        {PORT, FLAG_PORT, &v->port, NULL, "port"},
        {VOLUME, FLAG_VOLUME, &v->volume, NULL, "volume-name"},
        {SERIAL, FLAG_SERIAL, &v->serial, NULL, "serial"},
        {CACHE, FLAG_CACHE, &v->cache, NULL, "cache"},
        {PERSIST, FLAG_PERSIST, NULL, &v->persist, "persist"},
        {DISK_TYPE, FLAG_DISK_TYPE, &v->disk_type, NULL, "disk-type"},
        {BUS, FLAG_BUS, &v->bus, NULL, "bus"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].option != c)
            continue;
        line->given |= rows[i].flag;
        if (rows[i].yes)
            return take_bool(rows[i].yes, rows[i].name, err);
        *rows[i].text = optarg;
        return 0;
    }
    return -EINVAL;
}

static const char *name_of_flag(unsigned flags)
{
    static const char *const names[] = {
        "--dry-run", "--paused",    "--force",       "--grace-period", "--addedNodeSelector",
        "--client",  "--vm",        "--file",        "--output",       "--timeout",
        "--address", "--stdio",     "--volume-name", "--serial",       "--cache",
        "--persist", "--disk-type", "--bus",         "--proxy-only",   "--port"};
    size_t i = 0;

    while (!(flags & (1u << i)))
        i++;
    return names[i];
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (streq(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static int check(const struct verb *verb, const struct line *line, size_t n_args, struct gw_error *err)
{
    unsigned foreign = line->given & ~verb->flags;

    if (foreign)
        return gw_error_set(err, GW_BAD_REQUEST, "unknown flag: %s", name_of_flag(foreign));
    if (n_args < verb->n_args || (n_args > verb->n_args && !(verb->flags & FLAG_MORE)))
        return gw_error_set(err, GW_BAD_REQUEST, "accepts %zu arg(s), received %zu", verb->n_args, n_args);
    return 0;
}

static int parse(struct virtctl *v, struct line *line, int argc, char **argv, const struct verb **ret,
                 struct gw_error *err)
{
    int c, r = 0;

    opterr = 0;
    while (r == 0 && (c = getopt_long(argc, argv, "n:cf:o:", options, NULL)) != -1)
        r = c == '?'
                ? gw_error_set(err, GW_BAD_REQUEST, "unknown flag, or one without its argument: %s", argv[optind - 1])
                : take(v, line, c, err);
    if (r < 0)
        return r;
    if (optind == argc)
        return gw_error_set(err, GW_BAD_REQUEST, "which verb? virtctl --help lists them");
    v->verb = argv[optind];
    v->args = argv + optind + 1;
    v->n_args = (size_t)(argc - optind - 1);
    *ret = find_verb(v->verb);
    if (!*ret)
        return gw_error_set(err, GW_BAD_REQUEST, "unknown command \"%s\" for \"virtctl\"", v->verb);
    return check(*ret, line, (size_t)(argc - optind - 1), err);
}

static int run(struct virtctl *v, const struct line *line, const struct verb *verb, struct gw_error *err)
{
    int r = v->client_only ? 0 : cli_api_open_context(&v->api, line->kubeconfig, line->context, err);

    if (r < 0)
        return r;
    if (!v->ns)
        v->ns = v->api.namespace_ ? v->api.namespace_ : "default";
    return verb->run(v, err);
}

static void virtctl_done(struct virtctl *v)
{
    cli_api_done(&v->api);
}

int cmd_virtctl(int argc, char **argv)
{
    __attribute__((cleanup(virtctl_done))) struct virtctl v = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct line line = {0};
    const struct verb *verb = NULL;
    int r;

    if (argc < 2) { /* as virtctl does */
        usage_virtctl(stdout);
        return 0;
    }
    r = parse(&v, &line, argc, argv, &verb, &err);
    if (r == 0)
        r = run(&v, &line, verb, &err);
    if (r < 0 && err.message)
        fprintf(stderr, "%s\n", gw_error_message(&err));
    return r < 0 ? 1 : 0;
}

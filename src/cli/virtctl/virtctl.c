/* From the command line to a verb. Words and options may be mixed: as cobra does, the verb is looked for first, and
 * then all options are read by its table. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/virtctl/verbs.h"

const struct flag virtctl_common[] = {
    {.name = "context", .help = "which context of the kubeconfig counts"},
    {.name = "help", .letter = 'h', .kind = FLAG_BOOL, .help = "what there is to know of this verb"},
    {.name = "kubeconfig", .help = "file that says where the server is, and who you are"},
    {.name = "namespace", .letter = 'n', .help = "namespace, in place of the context's"},
    {.name = "v", .letter = 'v', .kind = FLAG_INT, .help = "taken, and of no effect: there is one level of messages"},
    {0},
};

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

int virtctl_open(struct virtctl *v, struct gw_error *err)
{
    int r = cli_api_open_context(&v->api, flag_text(&v->line, "kubeconfig"), flag_text(&v->line, "context"), err);

    v->ns = flag_text(&v->line, "namespace");
    if (!v->ns)
        v->ns = v->api.namespace_ ? v->api.namespace_ : "default";
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

    if (flag_bool(&v->line, "dry-run")) {
        printf("Dry Run execution\n");
        json_set(d, "/dryRun", yyjson_mut_arr(d));
        yyjson_mut_arr_add_str(d, json_mut_at(d, "/dryRun"), "All");
    }
    return d;
}

int virtctl_kind(const char *word)
{
    static const char *const words[][4] = {{"vm", "vms", "virtualmachine", "virtualmachines"},
                                           {"vmi", "vmis", "virtualmachineinstance", "virtualmachineinstances"}};

    for (int kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < ARRAY_SIZE(words[kind]); i++)
            if (strcasecmp(words[kind][i], word) == 0)
                return kind;
    return -1;
}

/* --- the command line --- */

/* Takes the word at index `at` out of argv. */
static void drop(int *argc, char **argv, int at)
{
    memmove(argv + at, argv + at + 1, (size_t)(*argc - at - 1) * sizeof(*argv));
    --*argc;
}

/* Looks for the verb, and takes its words out of argv. Stays NULL when there is none. */
static int find_verb(struct virtctl *v, int *argc, char **argv, struct gw_error *err)
{
    for (int at; (at = command_line_next(&v->line, *argc, argv, 0)) < *argc;) {
        _cleanup_free_ char *name = v->verb ? xasprintf("%s %s", v->verb->name, argv[at]) : xstrdup(argv[at]);
        const struct verb *found = verb_find(name);

        if (!found && !v->verb) {
            _cleanup_free_ char *alike = verbs_alike(argv[at]);
            return gw_error_set(err, GW_BAD_REQUEST, "unknown command \"%s\" for \"%s\"%s", argv[at], virtctl_program,
                                alike);
        }
        if (!found)
            return 0;
        v->verb = found;
        v->line.own = found->flags;
        drop(argc, argv, at);
    }
    return 0;
}

static int check_arguments(const struct virtctl *v, struct gw_error *err)
{
    const struct verb *verb = v->verb;

    if (verb->any_args || !verb->run || v->n_args == verb->n_args || (verb->at_least && v->n_args > verb->n_args))
        return 0;
    if (!verb->n_args)
        return gw_error_set(err, GW_BAD_REQUEST, "unknown command \"%s\" for \"%s %s\"", v->args[0], virtctl_program,
                            verb->name);
    return gw_error_set(err, GW_BAD_REQUEST, "%s %zu arg(s), %s %zu", verb->at_least ? "requires at least" : "accepts",
                        verb->n_args, verb->at_least ? "only received" : "received", v->n_args);
}

static int check(struct virtctl *v, struct gw_error *err)
{
    int r = check_arguments(v, err);

    r = r < 0 ? r : command_line_complete(&v->line, err);
    for (const char *const *names = v->verb->exclusive; r == 0 && names && *names; names++)
        r = command_line_exclusive(&v->line, *names, err);
    return r;
}

static int call(struct virtctl *v, struct gw_error *err)
{
    int r = check(v, err);

    if (r < 0)
        return r;
    if (!v->verb->run)
        return virtctl_print_usage(v->verb), 0;
    r = v->verb->local ? 0 : virtctl_open(v, err);
    return r < 0 ? r : v->verb->run(v, err);
}

/* Of a verb that Godwit has nothing for, whatever options it has elsewhere. */
static int refuse(const struct verb *verb, int argc, char **argv, struct gw_error *err)
{
    for (int i = 0; i < argc && !streq(argv[i], "--"); i++)
        if (streq(argv[i], "--help") || streq(argv[i], "-h"))
            return virtctl_print_help(verb), 0;
    return gw_error_set(err, GW_BAD_REQUEST, "%s", verb->refused);
}

static int run(struct virtctl *v, int argc, char **argv, struct gw_error *err)
{
    int r = find_verb(v, &argc, argv, err);

    if (r < 0)
        return r;
    if (v->verb && v->verb->refused)
        return refuse(v->verb, argc, argv, err);
    r = command_line_read(&v->line, argc, argv, err);
    if (r < 0)
        return r;
    v->args = v->line.words.items;
    v->n_args = v->line.words.len;
    if (flag_bool(&v->line, "help"))
        return virtctl_print_help(v->verb), 0;
    if (!v->verb)
        return virtctl_print_usage(NULL), 0;
    return call(v, err);
}

static void virtctl_done(struct virtctl *v)
{
    cli_api_done(&v->api);
    command_line_done(&v->line);
}

int cmd_virtctl(int argc, char **argv)
{
    __attribute__((cleanup(virtctl_done))) struct virtctl v = {.line.common = virtctl_common};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *slash = strrchr(argv[0], '/');
    int r;

    if (str_ends(slash ? slash : argv[0], "kubectl-virt"))
        virtctl_program = "kubectl virt";
    r = run(&v, argc - 1, argv + 1, &err);
    if (r < 0 && err.message)
        fprintf(stderr, "%s\n", gw_error_message(&err));
    return r < 0 ? 1 : 0;
}

/* `godwit watch vmim NAME`: follows one migration to its end. Two informers, one for the migration and one for the
 * virtual machine instance that it moves, feed one line; a terminal gets it redrawn in place, everything else gets a
 * line for each new phase and each new percent. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/watch/render.h"
#include "client/informer.h"

#define FALLBACK_COLUMNS 160

struct watch {
    struct cli_api api;
    struct env *env;
    const char *ns, *name;
    struct informer *migrations, *instances;
    struct str shown; /* the last line that was written */
    bool terminal, seen;
    int code; /* of the process, once the loop has ended */
};

void usage_watch(FILE *out)
{
    fputs("usage: godwit watch vmim NAME [-n NAMESPACE] [--kubeconfig FILE]\n\n"
          "Follows a migration until it has ended; the exit code is 0 if it succeeded.\n",
          out);
}

static size_t columns(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? (size_t)size.ws_col - 1 : FALLBACK_COLUMNS;
}

static yyjson_val *migration(const struct watch *w)
{
    return w->migrations ? informer_get_ns(w->migrations, w->ns, w->name) : NULL;
}

/* The VMI's migration state, if it is about this migration and not an earlier one. */
static yyjson_val *state_of(const struct watch *w, yyjson_val *vmim)
{
    const char *vmi = json_str(vmim, "/spec/vmiName"), *uid = json_str(vmim, "/metadata/uid");
    yyjson_val *state =
        vmi && w->instances ? json_at(informer_get_ns(w->instances, w->ns, vmi), "/status/migrationState") : NULL;

    return state && uid && str_same(json_str(state, "/migrationUid"), uid) ? state : NULL;
}

static void write_line(struct watch *w, const struct str *line, bool last)
{
    if (w->terminal)
        printf("\r\033[K%s%s", str_text(line), last ? "\n" : "");
    else if (!str_same(str_text(line), str_text(&w->shown)))
        printf("%s\n", str_text(line));
    fflush(stdout);
    str_done(&w->shown);
    str_puts(&w->shown, str_text(line));
}

static void finish(struct watch *w, int code)
{
    w->code = code;
    sd_event_exit(w->api.loop, 0);
}

static void show(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct watch *w = userdata;
    yyjson_val *vmim = migration(w);
    _cleanup_str_ struct str line = {0};

    (void)key, (void)old, (void)obj;
    if (!vmim) {
        if (w->seen) {
            str_printf(&line, "%s: deleted", w->name);
            write_line(w, &line, true);
            finish(w, 1);
        }
        return;
    }
    w->seen = true;
    yyjson_val *state = state_of(w, vmim);
    const char *phase = json_str_or(vmim, "/status/phase", "");
    bool ended = is_final(vmim);
    if (ended)
        watch_summary(&line, w->name, phase, state ? state : json_at(vmim, "/status/migrationState"),
                      json_at(vmim, "/status"));
    else
        watch_line(&line, phase, json_at(state, "/progress"), columns());
    write_line(w, &line, ended);
    if (ended)
        finish(w, streq(phase, "Succeeded") ? 0 : 1);
}

static struct informer *inform(struct watch *w, const struct api_resource *resource, const char *name)
{
    _cleanup_free_ char *selector = xasprintf("metadata.name=%s", name);
    struct informer_config config = {.resource = resource, .ns = w->ns, .field_selector = selector};

    return informer_new(w->env, &config);
}

/* The migration is read once, to learn whom it moves and to say at once if there is none. */
static int start(struct watch *w, struct gw_error *err)
{
    _cleanup_free_ char *path = api_path(&API_MIGRATIONS, w->ns, w->name, NULL, NULL);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = cli_api_get(&w->api, path, &doc, err);

    if (r < 0)
        return r;
    const char *vmi = json_str(yyjson_doc_get_root(doc), "/spec/vmiName");
    if (!vmi)
        return gw_error_set(err, GW_INVALID, "migration %s names no virtual machine instance", w->name);
    w->env = env_sd_new(w->api.loop, w->api.client);
    w->terminal = isatty(STDOUT_FILENO);
    w->instances = inform(w, &API_VIRTUALMACHINEINSTANCES, vmi);
    w->migrations = inform(w, &API_MIGRATIONS, w->name);
    informer_add_handler(w->instances, show, w);
    informer_add_handler(w->migrations, show, w);
    r = sd_event_loop(w->api.loop);
    return r < 0 ? gw_error_errno(err, r, "event loop") : 0;
}

static void watch_done(struct watch *w)
{
    if (w->migrations)
        informer_free(w->migrations);
    if (w->instances)
        informer_free(w->instances);
    if (w->env)
        env_sd_free(w->env);
    str_done(&w->shown);
    cli_api_done(&w->api);
}

static int parse(int argc, char **argv, struct watch *w, const char **ret_kubeconfig)
{
    static const struct option options[] = {
        {"namespace", required_argument, NULL, 'n'}, {"kubeconfig", required_argument, NULL, 'k'}, {0}};
    int c;

    while ((c = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
        if (c == 'n')
            w->ns = optarg;
        else if (c == 'k')
            *ret_kubeconfig = optarg;
        else
            return -EINVAL;
    }
    if (argc - optind != 2 || !streq(argv[optind], "vmim"))
        return -EINVAL;
    w->name = argv[optind + 1];
    return 0;
}

int cmd_watch(int argc, char **argv)
{
    __attribute__((cleanup(watch_done))) struct watch w = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *kubeconfig = NULL;

    if (parse(argc, argv, &w, &kubeconfig) < 0)
        return EXIT_USAGE;
    int r = cli_api_open(&w.api, kubeconfig, &err);
    if (!w.ns)
        w.ns = w.api.namespace_ ? w.api.namespace_ : "default";
    if (r >= 0)
        r = start(&w, &err);
    if (r < 0)
        fprintf(stderr, "godwit watch: %s\n", gw_error_message(&err));
    return r < 0 ? 1 : w.code;
}

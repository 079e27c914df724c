/* `godwit ca`: the roll-over of the authorities, by the API. */
#include <getopt.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cli.h"

#define PATH "/apis/godwit.io/v1alpha1/certificateauthorities"

static const char *const names[] = {"cluster", "migration"};

void usage_ca(FILE *out)
{
    fputs("usage: godwit ca status [--kubeconfig FILE]\n"
          "       godwit ca rotate begin|finish|abort [cluster|migration] [--kubeconfig FILE]\n\n"
          "Replaces the authorities (both, unless one is named) while everything runs:\n\n"
          "  begin    makes new ones, which everybody is told to trust beside the old ones; as soon as every agent "
          "does,\n"
          "           they sign all new certificates, and agents renew theirs\n"
          "  finish   ends the trust in the old ones; refused, with the reason, while somebody needs them\n"
          "  abort    gives new ones up that have not begun to sign\n\n"
          "Between begin and finish (phase Renewing), make people's kubeconfigs anew: those of the old authority end "
          "with\n"
          "finish.\n",
          out);
}

static void print(yyjson_val *authority)
{
    yyjson_val *status = json_at(authority, "/status"), *item;

    printf("%s: %s since %s\n", json_str_or(authority, "/metadata/name", "?"), json_str_or(status, "/phase", "?"),
           json_str_or(status, "/since", "?"));
    json_each(json_at(status, "/certificates"), item)
        printf("  %-8s %s  %.16s  until %s\n", json_str_or(item, "/role", ""), json_str_or(item, "/subject", ""),
               json_str_or(item, "/fingerprint", ""), json_str_or(item, "/notAfter", ""));
    json_each(json_at(status, "/waitingFor"), item)
        printf("  waits for %s %s: %s\n", json_str_or(item, "/kind", ""), json_str_or(item, "/name", ""),
               json_str_or(item, "/reason", ""));
    json_each(json_at(status, "/usersOfTheOld"), item)
        printf("  user %s still comes with a certificate of the old one\n", yyjson_get_str(item));
}

static int status(struct cli_api *api, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *list = NULL;
    int r = cli_api_get(api, PATH, &list, err);
    yyjson_val *item;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), item)
        print(item);
    return r;
}

static int rotate(struct cli_api *api, const char *step, const char *name, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = json_object();
    _cleanup_free_ char *path = xasprintf(PATH "/%s/rotate", name);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r;

    json_set_str(body, "/step", step);
    r = cli_api_call(api, "POST", path, body, &doc, err);
    if (r == 0)
        print(yyjson_doc_get_root(doc));
    return r;
}

/* The first refusal is the last word; the other authority is left as it is. */
static int rotate_all(struct cli_api *api, const char *step, const char *only, struct gw_error *err)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(names) && r >= 0; i++)
        if (!only || streq(only, names[i]))
            r = rotate(api, step, names[i], err);
    return r;
}

static bool is_name(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (streq(text, names[i]))
            return true;
    return false;
}

int cmd_ca(int argc, char **argv)
{
    static const struct option options[] = {{"kubeconfig", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_cli_api_ struct cli_api api = {0};
    const char *kubeconfig = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'k')
            return EXIT_USAGE;
        kubeconfig = optarg;
    }
    argc -= optind;
    argv += optind;
    bool is_status = argc == 1 && streq(argv[0], "status"), is_rotate = argc >= 2 && streq(argv[0], "rotate");
    if ((!is_status && !is_rotate) || argc > 3 || (argc == 3 && !is_name(argv[2])))
        return EXIT_USAGE;
    r = cli_api_open(&api, kubeconfig, &err);
    if (r == 0)
        r = is_status ? status(&api, &err) : rotate_all(&api, argv[1], argc == 3 ? argv[2] : NULL, &err);
    if (r < 0)
        fprintf(stderr, "godwit ca: %s\n", gw_error_message(&err));
    return r < 0;
}

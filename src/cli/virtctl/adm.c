/* adm log-verbosity: shows and sets the levels in the KubeVirt object (virtctl 1.8, pkg/virtctl/adm/logverbosity).
 * Which levels it takes is the server's to say. */
#include <stdio.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/verbs.h"

#define LEVELS "/spec/configuration/developerConfiguration/logVerbosity"
#define SHOW 10 /* what an option without a value stands for */
#define LEVEL_MAX 9
#define DEFAULT_LEVEL 2

static const char *const components[][2] = {{"virt-api", "virtAPI"},
                                            {"virt-controller", "virtController"},
                                            {"virt-handler", "virtHandler"},
                                            {"virt-launcher", "virtLauncher"},
                                            {"virt-operator", "virtOperator"}};

/* --- what is asked for --- */

/* Of one option: whether it shows or sets, added to what others do. */
static int look_at(const struct virtctl *v, const char *option, bool *show, bool *set, struct gw_error *err)
{
    long long level = flag_int(&v->line, option);

    if (!flag_given(&v->line, option))
        return 0;
    *show = *show || level == SHOW;
    *set = *set || level != SHOW;
    if (level < 0 || (level > LEVEL_MAX && level != SHOW))
        return gw_error_set(err, GW_BAD_REQUEST, "%s: log verbosity must be 0-%d", option, LEVEL_MAX);
    return 0;
}

static int find_operation(const struct virtctl *v, bool *show, bool *set, struct gw_error *err)
{
    int r = look_at(v, "all", show, set, err);

    for (size_t i = 0; i < ARRAY_SIZE(components) && r == 0; i++)
        r = look_at(v, components[i][0], show, set, err);
    *set = *set || flag_bool(&v->line, "reset");
    if (r == 0 && *show && *set)
        return gw_error_set(err, GW_BAD_REQUEST, "only show or set is allowed");
    return r;
}

/* --- showing and setting --- */

static void show_levels(const struct virtctl *v, yyjson_val *kubevirt)
{
    yyjson_val *levels = json_at(kubevirt, LEVELS);

    for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
        _cleanup_free_ char *path = json_path("", components[i][1]);

        if (flag_given(&v->line, components[i][0]) || flag_given(&v->line, "all"))
            printf("%s=%lld\n", components[i][0], (long long)json_int(levels, path, DEFAULT_LEVEL));
    }
}

static void set_level(const struct virtctl *v, yyjson_mut_doc *body, const char *component, const char *option)
{
    _cleanup_free_ char *path = json_path(LEVELS, component);

    if (flag_given(&v->line, option))
        json_set_int(body, path, flag_int(&v->line, option));
}

/* The object with its new levels; its resourceVersion stays, so that nobody else's change is lost. */
static int set_levels(struct virtctl *v, yyjson_val *kubevirt, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = json_copy(kubevirt);
    _cleanup_free_ char *path = api_path(&API_KUBEVIRTS, meta_namespace(kubevirt), meta_name(kubevirt), NULL, NULL);
    _cleanup_doc_ yyjson_doc *answer = NULL;

    if (flag_bool(&v->line, "reset"))
        json_remove(body, LEVELS);
    for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
        set_level(v, body, components[i][1], "all");
        set_level(v, body, components[i][1], components[i][0]);
    }
    if (!json_at(kubevirt, LEVELS) && !json_mut_at(body, LEVELS))
        return 0; /* reset of what was never set */
    int r = cli_api_call(&v->api, "PUT", path, body, &answer, err);
    if (r == 0)
        printf("successfully set/reset the log verbosity\n");
    return r;
}

static int find_kubevirt(struct virtctl *v, yyjson_doc **list, yyjson_val **ret, struct gw_error *err)
{
    _cleanup_free_ char *path = api_path(&API_KUBEVIRTS, NULL, NULL, NULL, NULL);
    int r = cli_api_get(&v->api, path, list, err);

    if (r < 0)
        return virtctl_fail(err, r, "could not list KubeVirt CRs across all namespaces: ");
    yyjson_val *items = json_at(yyjson_doc_get_root(*list), "/items");
    if (yyjson_arr_size(items) == 0)
        return gw_error_set(err, GW_NOT_FOUND, "could not detect a KubeVirt installation");
    if (yyjson_arr_size(items) > 1)
        return gw_error_set(err, GW_CONFLICT, "invalid kubevirt installation, more than one KubeVirt resource found");
    *ret = yyjson_arr_get_first(items);
    return 0;
}

static int log_verbosity(struct virtctl *v, struct gw_error *err)
{
    bool show = false, set = false;
    _cleanup_doc_ yyjson_doc *list = NULL;
    yyjson_val *kubevirt = NULL;
    int r = find_kubevirt(v, &list, &kubevirt, err);

    r = r < 0 ? r : find_operation(v, &show, &set, err);
    if (r < 0)
        return r;
    if (set)
        return set_levels(v, kubevirt, err);
    if (!show) {
        virtctl_print_help(v->verb);
        return gw_error_set(err, GW_BAD_REQUEST, "no flag specified - expecting at least one flag");
    }
    show_levels(v, kubevirt);
    return 0;
}

/* --- the table --- */

#define LEVEL(option) \
    { \
        .name = (option), .kind = FLAG_INT, .bare = "10", .help = "show its level; with =0 to =9, set it" \
    }

static const struct flag log_verbosity_flags[] = {
    {.name = "all", .kind = FLAG_INT, .bare = "10", .help = "the same for all of them"},
    {.name = "reset", .kind = FLAG_BOOL, .help = "forget the levels that were set, before others are"},
    LEVEL("virt-api"),
    LEVEL("virt-controller"),
    LEVEL("virt-handler"),
    LEVEL("virt-launcher"),
    LEVEL("virt-operator"),
    {0},
};

static const char *const log_verbosity_exclusive[] = {"reset all", NULL};

const struct verb adm_verbs[] = {
    {.name = "adm", .help = "Look at settings of the cluster and change them."},
    {.name = "adm log-verbosity",
     .help = "Show or set how much the parts of KubeVirt say.",
     .more = "The parts are KubeVirt's. Godwit's logs have one level: what is set is refused by its server.",
     .examples = "  # Show the levels of all:\n"
                 "  virtctl adm log-verbosity --all\n\n"
                 "  # Set that of one:\n"
                 "  virtctl adm log-verbosity --virt-handler=7\n",
     .flags = log_verbosity_flags,
     .exclusive = log_verbosity_exclusive,
     .run = log_verbosity},
    {0},
};

/* What the probe asks, and how the host model is found.
 *
 * KubeVirt's host-model is a named model plus the features that the host has beyond it. QEMU offers no such answer on
 * x86 (query-cpu-model-baseline and -comparison are not supported there), so it is set logic of our own: the host's
 * features are those of model "host" expanded (migratable ones only, which is QEMU's default); of all usable named
 * models of the same vendor whose features are a subset of these, the one with most features wins, among equals the
 * later in the list of definitions. */
#include "agent/qemu/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/qemu/interrogate.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"

/* The model's features that are on, as a set. */
static int expand(struct interrogation *i, const char *model, struct map **ret, char **ret_vendor, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *answer = NULL;
    yyjson_mut_doc *args = json_object();

    json_set_str(args, "/type", "full");
    json_set_str(args, "/model/name", model);
    int r = interrogation_ask(i, "query-cpu-model-expansion", args, &answer, err);
    if (r < 0)
        return r;
    yyjson_val *props = json_at(yyjson_doc_get_root(answer), "/model/props");
    yyjson_val *key, *value;
    struct map *set = map_new(NULL);
    json_each_member(props, key, value)
        if (yyjson_is_true(value))
            map_put(set, yyjson_get_str(key), (void *)1);
    if (ret_vendor)
        *ret_vendor = xstrdup(json_str_or(props, "/vendor", ""));
    *ret = set;
    return 0;
}

/* Properties of the CPU object that are switches, not features of the CPU. */
static bool is_feature(const char *name)
{
    static const char *const others[] = {"hotpluggable",
                                         "hotplugged",
                                         "realized",
                                         "migratable",
                                         "check",
                                         "enforce",
                                         "kvm",
                                         "fill-mtrr-mask",
                                         "full-cpuid-auto-level",
                                         "cpuid-0xb",
                                         "host-phys-bits",
                                         "lmce",
                                         "host-cache-info",
                                         "l3-cache",
                                         "legacy-cache",
                                         "start-powered-off",
                                         "pmu",
                                         "vmware-cpuid-freq",
                                         "tcg-cpuid",
                                         "xen-vapic",
                                         "expose-tcg",
                                         "hypervisor",
                                         "legacy-multi-node",
                                         "x-migrate-smi-count",
                                         "x-consistent-cache"};

    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (streq(name, others[i]))
            return false;
    return !str_starts(name, "x-") && !str_starts(name, "hv-") && !str_starts(name, "kvm");
}

/* Features of `of` that are not in `beyond` (NULL: none). */
static void list_features(const struct map *of, const struct map *beyond, struct strv *ret)
{
    const char *name;

    for (size_t c = 0; map_next(of, &c, &name, NULL);)
        if (is_feature(name) && !(beyond && map_has(beyond, name)))
            strv_push(ret, name);
    strv_sort(ret);
}

static size_t count_features(const struct map *of)
{
    _cleanup_strv_ struct strv list = {0};

    list_features(of, NULL, &list);
    return list.len;
}

static bool is_subset(const struct map *a, const struct map *b)
{
    _cleanup_strv_ struct strv beyond = {0};

    list_features(a, b, &beyond);
    return beyond.len == 0;
}

struct host_model {
    char *name, *vendor;
    struct map *features;
};

static void host_model_done(struct host_model *h)
{
    free(h->name);
    free(h->vendor);
    if (h->features)
        map_free(h->features);
}

static int consider(struct interrogation *i, const char *name, const struct map *host, const char *vendor,
                    struct host_model *best, struct gw_error *err)
{
    struct host_model h = {.name = xstrdup(name)};
    int r = expand(i, name, &h.features, &h.vendor, err);

    if (r == 0 && streq(h.vendor, vendor) && is_subset(h.features, host) &&
        (!best->name || count_features(h.features) >= count_features(best->features))) {
        host_model_done(best);
        *best = h;
        return 0;
    }
    host_model_done(&h);
    return r;
}

/* Models that name no real CPU, or change with the machine type or host. */
static bool is_candidate(yyjson_val *model)
{
    static const char *const special[] = {"max", "host", "base", "qemu32", "qemu64", "kvm32", "kvm64"};
    const char *name = json_str(model, "/name");

    for (size_t i = 0; i < ARRAY_SIZE(special); i++)
        if (!name || streq(name, special[i]))
            return false;
    return yyjson_arr_size(json_at(model, "/unavailable-features")) == 0 && json_str(model, "/alias-of");
}

static int find_host_model(struct interrogation *i, yyjson_val *models, const struct map *host, const char *vendor,
                           struct host_model *best, struct gw_error *err)
{
    yyjson_val *m;
    int r;

    json_each(models, m)
        if (is_candidate(m) && (r = consider(i, json_str(m, "/name"), host, vendor, best, err)) < 0)
            return r;
    if (!best->name)
        return gw_error_set(err, GW_INTERNAL_ERROR, "no named CPU model is a subset of this host's features");
    return 0;
}

static void put_list(yyjson_mut_doc *d, const char *path, const struct strv *list)
{
    yyjson_mut_val *arr = yyjson_mut_arr(d);

    for (size_t i = 0; i < list->len; i++)
        yyjson_mut_arr_add_strcpy(d, arr, list->items[i]);
    json_set(d, path, arr);
}

/* All models by the names that people use, i.e. without those of one version ("Nehalem-v1"). */
static void put_models(yyjson_mut_doc *d, yyjson_val *models)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *m;

    json_each(models, m) {
        const char *name = json_str_or(m, "/name", "");
        if (!json_str(m, "/alias-of"))
            continue;
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_strcpy(d, item, "name", name);
        yyjson_mut_obj_add_val(d, item, "missing", yyjson_val_mut_copy(d, json_at(m, "/unavailable-features")));
    }
    json_set(d, "/models", list);
}

static int ask_cpus(struct interrogation *i, bool kvm, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *models = NULL;
    _cleanup_(map_freep) struct map *host = NULL;
    _cleanup_free_ char *vendor = NULL;
    _cleanup_(host_model_done) struct host_model best = {0};
    _cleanup_strv_ struct strv features = {0}, beyond = {0};

    int r = interrogation_ask(i, "query-cpu-definitions", NULL, &models, err);
    if (r == 0)
        r = expand(i, kvm ? "host" : "max", &host, &vendor, err);
    if (r == 0 && kvm)
        r = find_host_model(i, yyjson_doc_get_root(models), host, vendor, &best, err);
    if (r == 0 && !kvm) {
        best.name = xstrdup(QEMU_TCG_LABEL);
        r = expand(i, QEMU_TCG_MODEL, &best.features, &best.vendor, err);
    }
    if (r < 0)
        return r;
    /* Under TCG guests get the fixed model and nothing beyond it: its features are what a node promises. */
    list_features(kvm ? host : best.features, NULL, &features);
    if (kvm)
        list_features(host, best.features, &beyond);
    put_models(d, yyjson_doc_get_root(models));
    put_list(d, "/features", &features);
    put_list(d, "/hostFeatures", &beyond);
    json_set_str(d, "/hostModel", best.name);
    json_set_str(d, "/vendor", best.vendor);
    return 0;
}

static int ask_machines(struct interrogation *i, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *answer = NULL;
    _cleanup_strv_ struct strv names = {0};
    yyjson_val *m;
    int r = interrogation_ask(i, "query-machines", NULL, &answer, err);

    if (r < 0)
        return r;
    json_each(yyjson_doc_get_root(answer), m) {
        const char *name = json_str_or(m, "/name", "");
        if (!str_starts(name, "pc-q35-") || json_bool(m, "/deprecated", false))
            continue;
        strv_push(&names, name);
        if (str_same(json_str(m, "/alias"), "q35"))
            json_set_str(d, "/machine", name);
    }
    strv_push(&names, "q35");
    strv_sort(&names);
    put_list(d, "/machines", &names);
    return json_mut_str(d, "/machine") ? 0 : gw_error_set(err, GW_INTERNAL_ERROR, "QEMU has no machine type q35");
}

static int ask(const char *binary, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_(interrogation_endp) struct interrogation *i = NULL;
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    bool kvm = qemu_try_accelerator(binary, "kvm", &why) == 0;

    int r = interrogation_start(binary, kvm ? "kvm" : "tcg", &i, err);
    if (r < 0)
        return r;
    yyjson_val *version = json_at(interrogation_version(i), "/qemu");
    _cleanup_free_ char *text = xasprintf("%d.%d.%d", (int)json_int(version, "/major", 0),
                                          (int)json_int(version, "/minor", 0), (int)json_int(version, "/micro", 0));
    json_set_str(d, "/binary", binary);
    json_set_str(d, "/version", text);
    json_set_bool(d, "/kvm", kvm);
    json_set_str(d, "/kvmReason", kvm ? "" : gw_error_message(&why));
    r = ask_machines(i, d, err);
    return r < 0 ? r : ask_cpus(i, kvm, d, err);
}

/* What the answers depend on. */
static char *fingerprint(const char *binary)
{
    _cleanup_free_ char *boot = NULL, *kernel = NULL, *path = NULL;
    const char *dirs = getenv("PATH");
    struct stat st = {0};

    for (const char *p = dirs ? dirs : ""; *p && !strchr(binary, '/') && !path; p += strcspn(p, ":"), p += *p == ':') {
        _cleanup_free_ char *at = xasprintf("%.*s/%s", (int)strcspn(p, ":"), p, binary);
        if (access(at, X_OK) == 0)
            path = TAKE_PTR(at);
    }
    (void)stat(path ? path : binary, &st);
    (void)fs_read("/proc/sys/kernel/random/boot_id", 0, &boot, NULL, NULL);
    (void)fs_read("/proc/sys/kernel/osrelease", 0, &kernel, NULL, NULL);
    return xasprintf("2 %s %lld %lld.%09ld %.36s %s", path ? path : binary, (long long)st.st_size,
                     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, boot ? boot : "", kernel ? kernel : "");
}

static int read_cache(const char *cache_path, const char *print, struct qemu_facts **ret)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (!cache_path || json_load(cache_path, 0, &doc, NULL) < 0)
        return -ENOENT;
    if (!str_same(json_str(yyjson_doc_get_root(doc), "/fingerprint"), print))
        return -ESTALE;
    return qemu_facts_read(yyjson_doc_get_root(doc), ret, NULL);
}

int qemu_probe(const char *binary, const char *cache_path, struct qemu_facts **ret, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *print = fingerprint(binary);
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (read_cache(cache_path, print, ret) == 0)
        return 0;
    int r = ask(binary, d, err);
    if (r < 0)
        return gw_error_wrap(err, r, "probe of %s", binary);
    json_set_str(d, "/fingerprint", print);
    if (cache_path && (r = json_save(cache_path, d, 0644, err)) < 0)
        return r;
    doc = yyjson_mut_doc_imut_copy(d, NULL);
    return qemu_facts_read(yyjson_doc_get_root(doc), ret, err);
}

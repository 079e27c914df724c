/* PersistentVolume and PersistentVolumeClaim. */
#include <string.h>

#include "api/meta.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"

#define FINALIZER_IN_USE "kubernetes.io/pvc-protection"
#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"

static void check_modes(struct where *w, yyjson_val *modes)
{
    static const char *const known[] = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod", NULL};
    yyjson_val *mode;
    size_t i;

    if (yyjson_arr_size(modes) == 0)
        field_required(w->err, at(w, "accessModes"), "at least 1 access mode is required");
    json_each_at(modes, i, mode) {
        _cleanup_free_ char *text = field_quote(mode);
        const char *const *k = known;
        while (*k && !streq(*k, yyjson_get_str(mode) ?: ""))
            k++;
        if (!*k)
            field_unsupported(w->err, at(w, "accessModes[%zu]", i), text, known);
    }
}

static void check_size(struct where *w, const char *field, yyjson_val *size)
{
    _cleanup_free_ char *text = field_quote(size);

    if (!size)
        field_required(w->err, at(w, "%s", field), "a size");
    else if (amount(size, 0) <= 0)
        field_invalid(w->err, at(w, "%s", field), text, "must be greater than zero");
}

static void check_source(struct where *w, yyjson_val *spec)
{
    static const char *const sources[] = {"hostPath", "local", NULL};
    const char *source = "", *path;
    size_t n = count_of(spec, sources, &source);

    if (n == 0) {
        field_required(w->err, w->base, "must specify a volume type: hostPath or local");
        return;
    }
    if (n > 1)
        field_forbidden(w->err, at(w, "local"), "may not specify more than 1 volume type");
    path = json_str_or(yyjson_obj_get(spec, source), "/path", "");
    _cleanup_free_ char *text = xasprintf("\"%s\"", path);
    if (*path != '/' || strstr(path, "/../") || str_ends(path, "/.."))
        field_invalid(w->err, at(w, "%s.path", source), text, "must be an absolute path without '..'");
    if (streq(source, "local") && !json_at(spec, "/nodeAffinity/required"))
        field_required(w->err, at(w, "nodeAffinity"), "Local volume requires node affinity");
}

static void volume_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    if (!old)
        json_set_str(d, "/status/phase", "Pending");
}

static void validate_volume(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    static const char *const fixed[] = {"hostPath", "local"};
    struct where w = {.base = "spec", .err = err};
    yyjson_val *spec = json_at(object, "/spec");

    check_size(&w, "capacity.storage", json_at(spec, "/capacity/storage"));
    check_modes(&w, yyjson_obj_get(spec, "accessModes"));
    check_source(&w, spec);
    for (size_t i = 0; old && i < ARRAY_SIZE(fixed); i++)
        if (!json_equal(yyjson_obj_get(spec, fixed[i]), yyjson_obj_get(json_at(old, "/spec"), fixed[i])))
            field_forbidden(err, at(&w, "%s", fixed[i]), "spec.persistentvolumesource is immutable after creation");
}

static bool find_default(void *data, yyjson_val *class)
{
    char **name = data;

    if (!str_same(meta_annotation(class, DEFAULT_CLASS), "true"))
        return true;
    *name = xstrdup(meta_name(class));
    return false;
}

static void claim_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    _cleanup_free_ char *name = NULL;

    if (old)
        return;
    json_set_str(d, "/status/phase", "Pending");
    meta_add_finalizer(d, FINALIZER_IN_USE); /* as Kubernetes' admission does: no instant without */
    if (json_mut_at(d, "/spec/storageClassName"))
        return;
    ctx->each(ctx, "storage.k8s.io", "StorageClass", NULL, find_default, &name);
    if (name)
        json_set_str(d, "/spec/storageClassName", name);
}

/* After creation only the binding may be written, once. */
static bool claim_fixed(yyjson_val *spec, yyjson_val *old)
{
    yyjson_val *key, *value;

    json_each_member(spec, key, value) {
        yyjson_val *before = yyjson_obj_get(old, yyjson_get_str(key));
        if (streq(yyjson_get_str(key), "volumeName") && (!before || !*(yyjson_get_str(before) ?: "")))
            continue;
        if (!json_equal(value, before))
            return false;
    }
    json_each_member(old, key, value)
        if (!yyjson_obj_get(spec, yyjson_get_str(key)))
            return false;
    return true;
}

/* KubeVirt's importer is told by such annotations to fill a claim, and whoever sets them waits for it. */
static void check_not_filled(yyjson_val *claim, struct gw_error *err)
{
    yyjson_val *key, *value;

    json_each_member(json_at(claim, "/metadata/annotations"), key, value)
        if (str_starts(yyjson_get_str(key), "cdi.kubevirt.io/storage."))
            gw_error_set(err, GW_FORBIDDEN,
                         "persistentvolumeclaims \"%s\" is forbidden: annotation %s: Godwit has no importer that fills "
                         "volumes. Bring an image to the nodes by godwit image import and name it in a containerDisk",
                         meta_name(claim), yyjson_get_str(key));
}

static void validate_claim(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec", .err = err};
    yyjson_val *spec = json_at(object, "/spec");

    if (!old) {
        check_not_filled(object, err);
        check_modes(&w, yyjson_obj_get(spec, "accessModes"));
        check_size(&w, "resources.requests.storage", json_at(spec, "/resources/requests/storage"));
    } else if (!claim_fixed(spec, json_at(old, "/spec"))) {
        field_forbidden(err, "spec", "spec is immutable after creation; claims cannot grow yet");
    }
}

const struct rules persistentvolume_rules = {
    .group = "", .kind = "PersistentVolume", .set_defaults = volume_defaults, .validate = validate_volume};
const struct rules persistentvolumeclaim_rules = {
    .group = "", .kind = "PersistentVolumeClaim", .set_defaults = claim_defaults, .validate = validate_claim};

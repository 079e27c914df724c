#include "controllers/launcher_pod.h"

#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "api/quantity.h"
#include "api/volumes.h"
#include "base/str.h"
#include "controllers/kubevirt.h"

#define MI (1024 * 1024LL)
/* KubeVirt's cpuAllocationRatio: a virtual processor asks for a tenth of a real one unless the VM says otherwise. */
#define CPU_RATIO 10

static int64_t vcpus(yyjson_val *vmi)
{
    yyjson_val *cpu = json_at(vmi, "/spec/domain/cpu");

    return MAX(json_int(cpu, "/sockets", 1), 1) * MAX(json_int(cpu, "/cores", 1), 1) *
           MAX(json_int(cpu, "/threads", 1), 1);
}

/* Bytes; quantities may be written as numbers too. */
static int64_t bytes_at(yyjson_val *v, const char *path, int64_t fallback)
{
    return quantity_text_value(json_str(v, path), json_int(v, path, fallback));
}

/* What requests.memory says, else the guest's memory. */
static int64_t guest_memory(yyjson_val *vmi)
{
    int64_t guest = bytes_at(vmi, "/spec/domain/memory/guest", 0);

    return bytes_at(vmi, "/spec/domain/resources/requests/memory", guest);
}

/* kubevirt, pkg/virt-controller/services/renderresources.go: page tables, the fixed parts of the launcher, processors,
 * one I/O thread, graphics. */
int64_t launcher_overhead(yyjson_val *vmi)
{
    int64_t bytes = guest_memory(vmi) / 512 + (25 + 100 + 25 + 40 + 50) * MI + vcpus(vmi) * 8 * MI + 8 * MI;

    if (json_bool(vmi, "/spec/domain/devices/autoattachGraphicsDevice", false))
        bytes += 32 * MI;
    return bytes + bytes_at(vmi, "/spec/domain/memory/reservedOverhead", 0);
}

/* --- what it asks for --- */

static void copy(yyjson_mut_doc *d, const char *to, yyjson_val *value)
{
    if (value)
        json_set(d, to, yyjson_val_mut_copy(d, value));
}

static void set_amount(yyjson_mut_doc *d, const char *path, int64_t bytes)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity q = quantity_from(bytes, QUANTITY_BINARY_SI);

    json_set_str(d, path, quantity_format(&q, text));
}

/* Processors as typed clients write them back: "1" for 1000m. A pod that came back otherwise would count as changed. */
static void set_cpu(yyjson_mut_doc *d, const char *path, int64_t milli)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity q = quantity_from_milli(milli, QUANTITY_DECIMAL_SI);

    if (milli)
        json_set_str(d, path, quantity_format(&q, text));
}

static int64_t milli_at(yyjson_val *v, const char *path, int64_t fallback)
{
    yyjson_val *said = json_at(v, path);

    return yyjson_is_num(said) ? yyjson_get_sint(said) * 1000 : quantity_text_milli(yyjson_get_str(said), fallback);
}

static void set_resources(yyjson_mut_doc *d, yyjson_val *vmi)
{
    yyjson_val *resources = json_at(vmi, "/spec/domain/resources");
    int64_t overhead = json_bool(resources, "/overcommitGuestOverhead", false) ? 0 : launcher_overhead(vmi);
    int64_t limit = bytes_at(resources, "/limits/memory", 0);
    int64_t limit_cpu = milli_at(resources, "/limits/cpu", 0);
    int64_t shared_cpu = limit_cpu ? limit_cpu : vcpus(vmi) * 1000 / CPU_RATIO;

    set_amount(d, "/spec/containers/0/resources/requests/memory", guest_memory(vmi) + overhead);
    set_cpu(d, "/spec/containers/0/resources/requests/cpu", milli_at(resources, "/requests/cpu", shared_cpu));
    if (limit)
        set_amount(d, "/spec/containers/0/resources/limits/memory", limit + overhead);
    set_cpu(d, "/spec/containers/0/resources/limits/cpu", limit_cpu);
}

static void select_node(yyjson_mut_doc *d, const char *key, const char *value)
{
    _cleanup_free_ char *path = json_path("/spec/nodeSelector", key);

    if (!json_mut_at(d, path))
        json_set_str(d, path, value);
}

static void _printf_(3, 4) select_label(yyjson_mut_doc *d, const char *value, const char *fmt, ...)
{
    char key[320];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(key, sizeof(key), fmt, ap);
    va_end(ap);
    select_node(d, key, value);
}

static bool is_named_model(const char *model)
{
    return model && !streq(model, "host-model") && !streq(model, "host-passthrough");
}

/* The VM's own selectors stand; what Godwit asks comes in addition. */
static void set_selectors(yyjson_mut_doc *d, yyjson_val *vmi)
{
    const char *model = json_str(vmi, "/spec/domain/cpu/model");
    yyjson_val *feature;

    copy(d, "/spec/nodeSelector", json_at(vmi, "/spec/nodeSelector"));
    select_node(d, LABEL_SCHEDULABLE, "true");
    select_node(d, "kubernetes.io/arch", json_str_or(vmi, "/spec/architecture", "amd64"));
    if (is_named_model(model))
        select_label(d, "true", "cpu-model.node.kubevirt.io/%s", model);
    json_each(json_at(vmi, "/spec/domain/cpu/features"), feature) {
        const char *policy = json_str_or(feature, "/policy", "require");
        if (streq(policy, "require") || *policy == '\0')
            select_label(d, "true", "cpu-feature.node.kubevirt.io/%s", json_str_or(feature, "/name", ""));
    }
}

/* A feature that the guest must not see anywhere rules out the nodes that have it (policy forbid). */
static void add_forbidden_features(yyjson_mut_doc *d, yyjson_val *vmi)
{
    static const char terms[] =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    yyjson_val *feature;
    size_t at, max;

    json_each(json_at(vmi, "/spec/domain/cpu/features"), feature) {
        yyjson_mut_val *list = json_mut_at(d, terms), *term;
        char key[320];
        if (!streq(json_str_or(feature, "/policy", ""), "forbid"))
            continue;
        if (!list) {
            list = yyjson_mut_arr(d);
            yyjson_mut_arr_add_obj(d, list);
            json_set(d, terms, list);
        }
        snprintf(key, sizeof(key), "cpu-feature.node.kubevirt.io/%s", json_str_or(feature, "/name", ""));
        yyjson_mut_arr_foreach(list, at, max, term) {
            yyjson_mut_val *all = yyjson_mut_obj_get(term, "matchExpressions");
            if (!all)
                all = yyjson_mut_obj_add_arr(d, term, "matchExpressions");
            yyjson_mut_val *one = yyjson_mut_arr_add_obj(d, all);
            yyjson_mut_obj_add_strcpy(d, one, "key", key);
            yyjson_mut_obj_add_str(d, one, "operator", "DoesNotExist");
        }
    }
}

/* Claims, so that the scheduler sees where their data is. */
static void set_volumes(yyjson_mut_doc *d, yyjson_val *vmi)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume) {
        const char *claim = volume_claim(volume);
        if (!claim)
            continue;
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_strcpy(d, item, "name", json_str_or(volume, "/name", ""));
        yyjson_mut_obj_add_strcpy(d, yyjson_mut_obj_add_obj(d, item, "persistentVolumeClaim"), "claimName", claim);
    }
    if (yyjson_mut_arr_size(list))
        json_set(d, "/spec/volumes", list);
}

static void set_spec(yyjson_mut_doc *d, yyjson_val *vmi)
{
    yyjson_mut_val *containers = yyjson_mut_arr(d), *compute = yyjson_mut_arr_add_obj(d, containers);

    yyjson_mut_obj_add_str(d, compute, "name", "compute");
    yyjson_mut_obj_add_str(d, compute, "image", "godwit/launcher");
    yyjson_mut_obj_add_str(d, compute, "imagePullPolicy", "IfNotPresent");
    yyjson_mut_obj_add_val(d, compute, "resources", yyjson_mut_obj(d));
    json_set(d, "/spec/containers", containers);
    json_set_str(d, "/spec/restartPolicy", "Never");
    json_set_bool(d, "/spec/automountServiceAccountToken", false);
    /* The guest has its own period within; the pod's is a little longer, so that the end can still be told. */
    json_set_int(d, "/spec/terminationGracePeriodSeconds",
                 json_int(vmi, "/spec/terminationGracePeriodSeconds", 30) + 15);
    set_resources(d, vmi);
    set_selectors(d, vmi);
    copy(d, "/spec/affinity", json_at(vmi, "/spec/affinity"));
    copy(d, "/spec/tolerations", json_at(vmi, "/spec/tolerations"));
    add_forbidden_features(d, vmi);
    set_volumes(d, vmi);
}

/* --- the object --- */

char *launcher_pod_name(yyjson_val *vmi, const char *cause_uid)
{
    char suffix[6];

    return xasprintf("virt-launcher-%s-%s", meta_name(vmi), name_suffix(cause_uid, suffix));
}

/* The user's annotations, such as the descheduler's opt-outs; not what the VMI itself is worked by. */
static void copy_annotations(yyjson_mut_doc *d, yyjson_val *vmi)
{
    static const char *const own[] = {"kubectl.kubernetes.io/", "kubevirt.io/", "godwit.io/"};
    yyjson_val *key, *value;

    json_each_member(json_at(vmi, "/metadata/annotations"), key, value) {
        bool skip = false;
        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
            skip = skip || str_starts(yyjson_get_str(key), own[i]);
        if (!skip)
            meta_set_annotation(d, yyjson_get_str(key), yyjson_get_str(value));
    }
}

static void set_metadata(yyjson_mut_doc *d, yyjson_val *vmi, const char *cause_uid)
{
    _cleanup_free_ char *name = launcher_pod_name(vmi, cause_uid);

    copy(d, "/metadata/labels", json_at(vmi, "/metadata/labels"));
    copy_annotations(d, vmi);
    meta_set_label(d, "kubevirt.io/nodeName", NULL);
    meta_set_label(d, LABEL_TARGET_NODE, NULL);
    json_set_str(d, "/metadata/name", name);
    json_set_str(d, "/metadata/namespace", meta_namespace(vmi));
    meta_set_label(d, LABEL_APP, "virt-launcher");
    meta_set_label(d, LABEL_CREATED_BY, meta_uid(vmi));
    meta_set_label(d, LABEL_VM_NAME, meta_name(vmi));
    meta_set_annotation(d, ANNOTATION_DOMAIN, meta_name(vmi));
    meta_set_annotation(d, ANNOTATION_EVICT_ONLY, "");
    meta_add_owner(d, vmi, true, true);
}

yyjson_mut_doc *launcher_pod(yyjson_val *vmi, const char *address)
{
    yyjson_mut_doc *d = json_object();

    set_metadata(d, vmi, meta_uid(vmi));
    if (address)
        meta_set_annotation(d, ANNOTATION_ADDRESS, address);
    set_spec(d, vmi);
    return d;
}

/* --- a migration's target --- */

static bool has_prefixed(yyjson_val *map, const char *prefix)
{
    yyjson_val *key, *value;

    json_each_member(map, key, value)
        if (str_starts(yyjson_get_str(key), prefix))
            return true;
    return false;
}

/* Every label of the node with prefix becomes a selector with the other prefix. */
static void ask_alike(yyjson_mut_doc *d, yyjson_val *node, const char *prefix, const char *wanted)
{
    yyjson_val *key, *value;

    json_each_member(json_at(node, "/metadata/labels"), key, value)
        if (str_starts(yyjson_get_str(key), prefix))
            select_label(d, json_str_or(value, "", "true"), "%s%s", wanted, yyjson_get_str(key) + strlen(prefix));
}

/* The processor that the guest saw at its start. A pod that was itself a target has these selectors already, and its
 * node may have more than the guest knows of. */
static void ask_processor(yyjson_mut_doc *d, yyjson_val *vmi, yyjson_val *source, yyjson_val *node)
{
    const char *model = json_str_or(vmi, "/spec/domain/cpu/model", "host-model");

    ask_alike(d, node, "cpu-vendor.node.kubevirt.io/", "cpu-vendor.node.kubevirt.io/");
    if (!streq(model, "host-model") ||
        has_prefixed(json_at(source, "/spec/nodeSelector"), "cpu-model-migration.node.kubevirt.io/"))
        return;
    ask_alike(d, node, "host-model-cpu.node.kubevirt.io/", "cpu-model-migration.node.kubevirt.io/");
    ask_alike(d, node, "host-model-required-features.node.kubevirt.io/", "cpu-feature.node.kubevirt.io/");
}

/* addedNodeSelector can only restrict: the VM's own value of a key wins. */
static void ask_added(yyjson_mut_doc *d, yyjson_val *migration)
{
    yyjson_val *key, *value;

    json_each_member(json_at(migration, "/spec/addedNodeSelector"), key, value)
        select_node(d, yyjson_get_str(key), yyjson_get_str(value));
}

/* Never where a pod of this VM runs already. */
static void ask_other_node(yyjson_mut_doc *d, yyjson_val *vmi)
{
    static const char path[] = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    yyjson_mut_val *list = json_mut_at(d, path), *term, *labels;

    if (!list) {
        list = yyjson_mut_arr(d);
        json_set(d, path, list);
    }
    term = yyjson_mut_arr_add_obj(d, list);
    labels = yyjson_mut_obj_add_obj(d, yyjson_mut_obj_add_obj(d, term, "labelSelector"), "matchLabels");
    yyjson_mut_obj_add_strcpy(d, labels, LABEL_CREATED_BY, meta_uid(vmi));
    yyjson_mut_obj_add_str(d, term, "topologyKey", "kubernetes.io/hostname");
}

/* The source pod's affinity may hold the term of an earlier migration: the VM's own is taken instead. */
static void set_target_spec(yyjson_mut_doc *d, yyjson_val *vmi, yyjson_val *source)
{
    copy(d, "/spec", json_at(source, "/spec"));
    json_remove(d, "/spec/nodeName");
    json_remove(d, "/spec/affinity");
    copy(d, "/spec/affinity", json_at(vmi, "/spec/affinity"));
    add_forbidden_features(d, vmi);
    json_remove(d, "/spec/volumes"); /* some may have come and gone since the source pod was made */
    set_volumes(d, vmi);
}

yyjson_mut_doc *target_pod(yyjson_val *vmi, yyjson_val *migration, yyjson_val *source, yyjson_val *node)
{
    yyjson_mut_doc *d = json_object();
    const char *machine = json_str(vmi, "/status/machine/type");

    set_metadata(d, vmi, meta_uid(migration));
    meta_set_label(d, LABEL_MIGRATION_UID, meta_uid(migration));
    meta_set_annotation(d, ANNOTATION_MIGRATION_NAME, meta_name(migration));
    if (meta_annotation(vmi, ANNOTATION_ADDRESS))
        meta_set_annotation(d, ANNOTATION_ADDRESS, meta_annotation(vmi, ANNOTATION_ADDRESS));
    set_target_spec(d, vmi, source);
    ask_added(d, migration);
    ask_processor(d, vmi, source, node);
    if (machine)
        select_label(d, "true", "machine-type.node.kubevirt.io/%s", machine);
    ask_other_node(d, vmi);
    return d;
}

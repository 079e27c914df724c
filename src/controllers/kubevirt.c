#include "controllers/kubevirt.h"

#include "base/clock.h"
#include "base/str.h"
#include "migration/epoch.h"

bool phase_is(yyjson_val *obj, const char *phase)
{
    return streq(json_str_or(obj, "/status/phase", ""), phase);
}

bool node_declared_dead(struct task *t, const char *name)
{
    yyjson_val *node = name && *name ? task_get(t, &API_NODES, name) : NULL;

    return node && node_is_dead(node);
}

void patch_phase(yyjson_mut_doc *patch, yyjson_val *obj, const char *phase, int64_t wall_ms)
{
    yyjson_val *have = json_at(obj, "/status/phaseTransitionTimestamps");
    yyjson_mut_val *list = have ? yyjson_val_mut_copy(patch, have) : yyjson_mut_arr(patch);
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(patch, list);
    char now[CLOCK_TEXT_MAX];

    yyjson_mut_obj_add_strcpy(patch, item, "phase", phase);
    yyjson_mut_obj_add_strcpy(patch, item, "phaseTransitionTimestamp", clock_format(wall_ms, now));
    json_set(patch, "/status/phaseTransitionTimestamps", list);
    json_set_str(patch, "/status/phase", phase);
}

yyjson_val *owner_pod(yyjson_val *vmi, const struct val_vec *pods)
{
    struct epoch e;

    epoch_read(vmi, &e);
    const char *name = e.state == EPOCH_NONE ? NULL : e.state == EPOCH_CLAIMED ? e.target_pod : e.source_pod;
    VEC_EACH(pods, pod)
        if (name ? streq(meta_name(*pod), name) : !meta_label(*pod, LABEL_MIGRATION_UID))
            return *pod;
    return NULL;
}

void index_node(yyjson_val *pod, struct index_values *out)
{
    if (json_str(pod, "/spec/nodeName"))
        index_value(out, json_str(pod, "/spec/nodeName"));
}

void index_vmi(yyjson_val *migration, struct index_values *out)
{
    char key[OBJECT_KEY_MAX];

    index_value(out, object_key_of(meta_namespace(migration), json_str_or(migration, "/spec/vmiName", ""), key));
}

void bury_pod(struct task *t, yyjson_val *pod)
{
    yyjson_mut_doc *patch = json_object();

    json_set_str(patch, "/status/phase", "Failed");
    json_set_str(patch, "/status/reason", "NodeLost");
    json_set_str(patch, "/status/message", "the node was declared dead by taint " TAINT_DEAD);
    task_patch(t, &API_PODS, pod, "status", false, patch);
}

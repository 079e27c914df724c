/* The settings that migrations go by: those of the cluster's two configurations and of the best policy. */
#include "api/meta.h"
#include "controllers/kubevirt.h"
#include "controllers/migration_work.h"

static yyjson_val *only_one(struct task *t, const struct api_resource *r)
{
    const char *key;
    yyjson_val *obj = NULL;
    size_t at = 0;

    return informer_next(task_informer(t, r), &at, &key, &obj) ? obj : NULL;
}

void migration_settings_now(struct task *t, yyjson_val *vmi, struct migration_settings *ret)
{
    _cleanup_val_vec_ struct val_vec policies = {0};
    const char *key;
    yyjson_val *policy, *namespace = vmi ? task_get(t, &API_NAMESPACES, meta_namespace(vmi)) : NULL;

    for (size_t at = 0; vmi && informer_next(task_informer(t, &API_MIGRATIONPOLICIES), &at, &key, &policy);)
        val_vec_push(&policies, policy);
    settings_effective(only_one(t, &API_KUBEVIRTS), only_one(t, &API_HYPERCONVERGEDS), policies.items, policies.len,
                       json_at(vmi, "/metadata/labels"), json_at(namespace, "/metadata/labels"), ret);
}

#include <stdint.h>
#include <string.h>

#include "controllers/controller.h"

char *name_suffix(const char *seed, char *buf)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* as Kubernetes' generated names */
    uint64_t h = 1469598103934665603ULL;                          /* FNV-1a, then mixed */

    for (; *seed; seed++)
        h = (h ^ (unsigned char)*seed) * 1099511628211ULL;
    h ^= h >> 31;
    h *= 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 5; i++) {
        buf[i] = alphabet[(h >> 32) % (sizeof(alphabet) - 1)];
        h *= 6364136223846793005ULL;
        h += 1442695040888963407ULL;
    }
    buf[5] = '\0';
    return buf;
}

bool patch_condition(yyjson_mut_doc *patch, yyjson_val *obj, const char *type, const char *status, const char *reason,
                     const char *message, int64_t wall_ms)
{
    yyjson_val *have = json_at(obj, "/status/conditions");

    if (json_mut_at(patch, "/status/conditions"))
        return condition_set(patch, type, status, reason, message, wall_ms);
    json_set(patch, "/status/conditions", have ? yyjson_val_mut_copy(patch, have) : yyjson_mut_arr(patch));
    if (condition_set(patch, type, status, reason, message, wall_ms))
        return true;
    json_remove(patch, "/status/conditions");
    if (!yyjson_mut_obj_size(json_mut_at(patch, "/status")))
        json_remove(patch, "/status");
    return false;
}

static yyjson_mut_doc *with_finalizers(yyjson_val *obj)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_val *have = json_at(obj, "/metadata/finalizers");

    json_set(patch, "/metadata/finalizers", have ? yyjson_val_mut_copy(patch, have) : yyjson_mut_arr(patch));
    return patch;
}

void task_add_finalizer(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *finalizer)
{
    yyjson_mut_doc *patch = with_finalizers(obj);

    meta_add_finalizer(patch, finalizer);
    task_patch(t, r, obj, NULL, true, patch);
}

void task_remove_finalizer(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *finalizer)
{
    yyjson_mut_doc *patch = with_finalizers(obj);

    if (!meta_remove_finalizer(patch, finalizer)) {
        yyjson_mut_doc_free(patch);
        return;
    }
    if (!json_mut_at(patch, "/metadata/finalizers")) /* the last one: the key goes with it */
        json_set(patch, "/metadata/finalizers", yyjson_mut_null(patch));
    task_patch(t, r, obj, NULL, true, patch);
}

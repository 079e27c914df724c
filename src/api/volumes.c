#include "api/volumes.h"

#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"

#define DISKS "/domain/devices/disks"

bool volume_is_hot(yyjson_val *volume)
{
    return json_bool(volume, "/persistentVolumeClaim/hotpluggable", false) ||
           json_bool(volume, "/dataVolume/hotpluggable", false);
}

const char *volume_claim(yyjson_val *volume)
{
    return json_str(volume, "/persistentVolumeClaim/claimName");
}

bool claim_is_shared(yyjson_val *claim)
{
    yyjson_val *modes = json_at(claim, "/spec/accessModes");

    return json_find(modes, "", "ReadWriteMany") || json_find(modes, "", "ReadOnlyMany");
}

bool vmi_uses_claim(yyjson_val *vmi, const char *claim)
{
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume)
        if (str_same(volume_claim(volume), claim))
            return true;
    json_each(json_at(vmi, "/status/volumeStatus"), volume)
        if (volume_status_attached(volume) && str_same(json_str(volume, "/persistentVolumeClaimInfo/claimName"), claim))
            return true;
    return false;
}

char *claim_user_text(yyjson_val *vmi)
{
    return xasprintf("%s/%s", meta_name(vmi), meta_uid(vmi));
}

bool claim_user(yyjson_val *claim, char **ret_name, const char **ret_uid)
{
    const char *text = meta_annotation(claim, ANNOTATION_USED_BY), *slash = text ? strchr(text, '/') : NULL;

    if (!slash)
        return false;
    *ret_name = xstrndup(text, (size_t)(slash - text));
    *ret_uid = slash + 1;
    return true;
}

bool claim_is_given_to(yyjson_val *claim, yyjson_val *vmi)
{
    _cleanup_free_ char *text = claim_user_text(vmi);

    return claim_is_shared(claim) || str_same(meta_annotation(claim, ANNOTATION_USED_BY), text);
}

bool claim_is_in_use(yyjson_val *claim, yyjson_val *vmi)
{
    _cleanup_free_ char *name = NULL;
    const char *uid;

    return vmi && claim_user(claim, &name, &uid) && streq(meta_uid(vmi), uid) && !is_final(vmi) &&
           vmi_uses_claim(vmi, meta_name(claim));
}

yyjson_val *spec_hot_volume(yyjson_val *spec, const char *name)
{
    yyjson_val *volume = json_find(json_at(spec, "/volumes"), "/name", name);

    return volume && volume_is_hot(volume) ? volume : NULL;
}

yyjson_val *spec_disk(yyjson_val *spec, const char *name)
{
    return json_find(json_at(spec, DISKS), "/name", name);
}

static yyjson_doc *ephemeral_list(yyjson_val *vmi)
{
    const char *text = meta_annotation(vmi, ANNOTATION_EPHEMERAL);
    yyjson_doc *doc = NULL;

    if (text)
        (void)json_parse(text, strlen(text), &doc, NULL);
    return doc;
}

bool volume_is_ephemeral(yyjson_val *vmi, const char *name)
{
    _cleanup_doc_ yyjson_doc *list = ephemeral_list(vmi);

    return json_find(yyjson_doc_get_root(list), "", name) != NULL;
}

void volume_set_ephemeral(yyjson_mut_doc *patch, yyjson_val *vmi, const char *name, bool ephemeral)
{
    _cleanup_doc_ yyjson_doc *list = ephemeral_list(vmi);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *path = json_path("/metadata/annotations", ANNOTATION_EPHEMERAL);
    yyjson_mut_val *names = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(yyjson_doc_get_root(list), item)
        if (!yyjson_equals_str(item, name))
            yyjson_mut_arr_append(names, yyjson_val_mut_copy(d, item));
    if (ephemeral)
        yyjson_mut_arr_add_strcpy(d, names, name);
    _cleanup_free_ char *text = json_text(names);
    if (yyjson_mut_arr_size(names))
        json_set_str(patch, path, text);
    else if (list)
        json_set(patch, path, yyjson_mut_null(patch));
}

bool volume_status_attached(yyjson_val *status)
{
    return json_at(status, "/hotplugVolume") && *json_str_or(status, "/target", "");
}

bool volumes_settled(yyjson_val *vmi, const char **ret_name)
{
    yyjson_val *status;

    json_each(json_at(vmi, "/status/volumeStatus"), status)
        if (volume_status_attached(status) && !streq(json_str_or(status, "/phase", ""), "Ready")) {
            if (ret_name)
                *ret_name = json_str_or(status, "/name", "");
            return false;
        }
    return true;
}

/* The list with all of its items but the one of that name. */
static yyjson_mut_val *without(yyjson_mut_doc *d, yyjson_val *list, const char *name)
{
    yyjson_mut_val *out = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(list, item)
        if (!streq(json_str_or(item, "/name", ""), name))
            yyjson_mut_arr_append(out, yyjson_val_mut_copy(d, item));
    return out;
}

static yyjson_mut_doc *patch(yyjson_val *object, const char *base, yyjson_val *disk, yyjson_val *volume,
                             const char *name)
{
    static const char *const lists[] = {DISKS, "/volumes"};
    yyjson_val *const items[] = {disk, volume};
    yyjson_mut_doc *d = json_object();

    for (int i = 0; i < 2; i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", base, lists[i]);
        yyjson_mut_val *list = without(d, json_at(object, path), name);
        if (items[i]) {
            yyjson_mut_val *item = yyjson_val_mut_copy(d, items[i]);
            yyjson_mut_obj_put(item, yyjson_mut_str(d, "name"), yyjson_mut_strcpy(d, name));
            yyjson_mut_arr_append(list, item);
        }
        json_set(d, path, list);
    }
    return d;
}

yyjson_mut_doc *volumes_patch_add(yyjson_val *object, const char *base, yyjson_val *disk, yyjson_val *volume,
                                  const char *name)
{
    return patch(object, base, disk, volume, name);
}

yyjson_mut_doc *volumes_patch_remove(yyjson_val *object, const char *base, const char *name)
{
    return patch(object, base, NULL, NULL, name);
}

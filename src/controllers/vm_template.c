#include "controllers/vm_template.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "api/volumes.h"
#include "base/str.h"

/* The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of h changes every bit of the result. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return h ^ (h >> 31);
}

static uint64_t digest_text(const char *s, size_t len)
{
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211ULL;
    return mix(h + len);
}

static uint64_t digest(yyjson_val *v)
{
    yyjson_val *key, *item;
    uint64_t h = yyjson_get_type(v);

    if (yyjson_is_obj(v)) {
        json_each_member(v, key, item) /* a sum: keys come in any order */
            h += mix(digest_text(yyjson_get_str(key), yyjson_get_len(key)) ^ mix(digest(item)));
    } else if (yyjson_is_arr(v)) {
        json_each(v, item)
            h = mix(h + digest(item));
    } else if (yyjson_is_str(v)) {
        h += digest_text(yyjson_get_str(v), yyjson_get_len(v));
    } else {
        size_t len = 0;
        char *text = yyjson_val_write(v, 0, &len);
        h += text ? digest_text(text, len) : 0;
        free(text);
    }
    return mix(h);
}

/* Named lists without those whose volume can be plugged. */
static yyjson_mut_val *fixed(yyjson_mut_doc *d, yyjson_val *list, yyjson_val *volumes)
{
    yyjson_mut_val *kept = yyjson_mut_arr(d);
    yyjson_val *item;

    json_each(list, item)
        if (!volume_is_hot(json_find(volumes, "/name", json_str_or(item, "/name", ""))))
            yyjson_mut_arr_append(kept, yyjson_val_mut_copy(d, item));
    return kept;
}

char *template_digest(yyjson_val *vm, char *ret)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(json_at(vm, "/spec/template/spec"));
    yyjson_val *volumes = json_at(vm, "/spec/template/spec/volumes");

    json_set(d, "/volumes", fixed(d, volumes, volumes));
    json_set(d, "/domain/devices/disks", fixed(d, json_at(vm, "/spec/template/spec/domain/devices/disks"), volumes));
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(d, NULL);
    snprintf(ret, TEMPLATE_DIGEST_MAX, "%016" PRIx64, digest(yyjson_doc_get_root(doc)));
    return ret;
}

bool template_needs_restart(yyjson_val *vm, yyjson_val *vmi)
{
    const char *made_from = meta_annotation(vmi, ANNOTATION_TEMPLATE);
    char now[TEMPLATE_DIGEST_MAX];

    return made_from && !streq(made_from, template_digest(vm, now));
}

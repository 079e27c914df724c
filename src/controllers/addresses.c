#include "controllers/addresses.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/map.h"
#include "controllers/kubevirt.h"

/* VMS_CIDR in numbers; the first address and the last are left out, as people expect of a network. */
#define FIRST (10u << 24 | 244u << 16 | 128u << 8)
#define COUNT (1u << 15)

struct addresses {
    struct map *of_key; /* VMI key -> address text */
    struct map *taken;  /* address text -> (non-NULL) */
};

void index_annotated_address(yyjson_val *obj, struct index_values *out)
{
    const char *address = meta_annotation(obj, ANNOTATION_ADDRESS);

    if (address && !(streq(json_str_or(obj, "/kind", ""), "Pod") && is_final(obj)))
        index_value(out, address);
}

void index_announced_addresses(yyjson_val *node_network, struct index_values *out)
{
    yyjson_val *item;

    json_each(json_at(node_network, "/spec/addresses"), item)
        if (json_str(item, "/address"))
            index_value(out, json_str(item, "/address"));
}

struct addresses *addresses_new(void)
{
    struct addresses *a = xnew(struct addresses);

    a->of_key = map_new(free);
    a->taken = map_new(NULL);
    return a;
}

struct addresses *addresses_free(struct addresses *a)
{
    map_free(a->of_key);
    map_free(a->taken);
    free(a);
    return NULL;
}

static bool found(struct task *t, const struct api_resource *r, const char *address)
{
    _cleanup_val_vec_ struct val_vec list = {0};

    task_select(t, r, INDEX_ADDRESS, address, &list);
    return list.len > 0;
}

static bool is_free(struct addresses *a, struct task *t, const char *address)
{
    return !map_has(a->taken, address) && !found(t, &API_VIRTUALMACHINEINSTANCES, address) &&
           !found(t, &API_PODS, address) && !found(t, &API_NODENETWORKS, address);
}

static uint32_t start_of(const char *uid)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *uid; uid++)
        h = (h ^ (unsigned char)*uid) * 16777619u;
    return (h ^ h >> 15) % COUNT;
}

const char *addresses_pick(struct addresses *a, struct task *t, const char *key, const char *uid)
{
    uint32_t start = start_of(uid);
    char text[16];

    addresses_forget(a, key);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t at = (start + i) % COUNT, ip = FIRST + at;
        if (at == 0 || at == COUNT - 1)
            continue;
        snprintf(text, sizeof(text), "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
        if (!is_free(a, t, text))
            continue;
        map_put(a->of_key, key, xstrdup(text));
        map_put(a->taken, text, a);
        return map_get(a->of_key, key);
    }
    return NULL;
}

void addresses_forget(struct addresses *a, const char *key)
{
    const char *text = map_get(a->of_key, key);

    if (!text)
        return;
    map_remove(a->taken, text);
    map_remove(a->of_key, key);
}

bool vmi_has_pod_network(yyjson_val *vmi)
{
    yyjson_val *network;

    json_each(json_at(vmi, "/spec/networks"), network)
        if (json_at(network, "/pod"))
            return true;
    return false;
}

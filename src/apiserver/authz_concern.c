/* Which stored objects concern a node: VMIs through their places and pods, Secrets and claims through VMIs. */
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "apiserver/authz.h"

/* Calls visit for the stored objects of a kind whose keys begin with NAMESPACE/name_prefix, until it returns true. */
static bool any(struct rest_server *s, const char *kind_name, const char *namespace, const char *name_prefix,
                const char *must_contain, bool (*visit)(const void *data, yyjson_val *object), const void *data)
{
    const struct kind *kind = kinds_find_kind(s->kinds, strcmp(kind_name, "Pod") ? "kubevirt.io" : "", NULL, kind_name);
    _cleanup_free_ char *prefix = kind ? xasprintf("%s%s/%s", kind->prefix, namespace, name_prefix) : NULL;
    _cleanup_store_list_ struct store_list list = {0};
    bool found = false;

    if (!kind || store_list(s->store, &(struct store_list_options){.prefix = prefix}, &list, NULL) < 0)
        return false;
    for (size_t i = 0; i < list.len && !found; i++) {
        const struct blob *b = list.items[i].value;
        _cleanup_doc_ yyjson_doc *doc = NULL;

        if (memmem(b->data, b->len, must_contain, strlen(must_contain)) &&
            object_load("v1", kind_name, list.items[i].revision, b->data, b->len, &doc, NULL) == 0)
            found = visit(data, yyjson_doc_get_root(doc));
    }
    return found;
}

struct pod_of {
    const char *node, *uid;
};

static bool is_pod_of(const void *data, yyjson_val *pod)
{
    const struct pod_of *want = data;
    const char *by = meta_label(pod, "kubevirt.io/created-by");

    return by && streq(by, want->uid) && streq(json_str_or(pod, "/spec/nodeName", ""), want->node);
}

/* A launcher pod bound to the node, before the VMI's status tells of it. Long names are shortened in pod names. */
bool authz_has_pod(struct rest_server *s, const char *node, yyjson_val *vmi)
{
    const struct pod_of want = {node, meta_uid(vmi)};
    _cleanup_free_ char *prefix = xasprintf("virt-launcher-%.20s", meta_name(vmi));

    return *want.uid && any(s, "Pod", meta_namespace(vmi), prefix, node, is_pod_of, &want);
}

bool authz_vmi_concerns(struct rest_server *s, const char *node, yyjson_val *vmi)
{
    static const char *const places[] = {"/status/nodeName", "/status/migrationState/sourceNode",
                                         "/status/migrationState/targetNode"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (streq(json_str_or(vmi, places[i], ""), node))
            return true;
    return authz_has_pod(s, node, vmi);
}

/* --- Secrets and claims: only those that a VMI of this node names --- */

struct named {
    struct rest_server *s;
    const char *node, *name;
    bool (*names)(const char *key, yyjson_val *value, const char *name); /* a member of an object says so */
};

/* "secretName": NAME, or an object under a key ...secretRef or ...SecretRef with "name": NAME. */
static bool names_secret(const char *key, yyjson_val *value, const char *name)
{
    return (streq(key, "secretName") && yyjson_equals_str(value, name)) ||
           ((str_ends(key, "secretRef") || str_ends(key, "SecretRef")) && streq(json_str_or(value, "/name", ""), name));
}

/* "claimName": NAME; and a DataVolume's claim has its name. */
static bool names_claim(const char *key, yyjson_val *value, const char *name)
{
    return (streq(key, "claimName") && yyjson_equals_str(value, name)) ||
           (streq(key, "dataVolume") && streq(json_str_or(value, "/name", ""), name));
}

/* Somewhere below v. */
static bool is_named(yyjson_val *v, const struct named *want)
{
    yyjson_val *key, *item;

    if (yyjson_is_arr(v)) {
        json_each(v, item)
            if (is_named(item, want))
                return true;
    } else if (yyjson_is_obj(v)) {
        json_each_member(v, key, item)
            if (want->names(yyjson_get_str(key), item, want->name) || is_named(item, want))
                return true;
    }
    return false;
}

static bool vmi_names(const void *data, yyjson_val *vmi)
{
    const struct named *want = data;

    return is_named(json_at(vmi, "/spec"), want) && authz_vmi_concerns(want->s, want->node, vmi);
}

static bool is_needed(struct rest_server *s, const char *namespace, const struct named *want)
{
    return *want->name && any(s, "VirtualMachineInstance", namespace, "", want->name, vmi_names, want);
}

bool authz_needs_secret(struct rest_server *s, const char *node, const char *namespace, const char *name)
{
    return is_needed(s, namespace, &(struct named){s, node, name, names_secret});
}

bool authz_needs_claim(struct rest_server *s, const char *node, const char *namespace, const char *name)
{
    return is_needed(s, namespace, &(struct named){s, node, name, names_claim});
}

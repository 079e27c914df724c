#include "agent/network/pod_note.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"

DEFINE_CLEANUP(DIR *, closedir)

/* The text members, by the names that they have in the file. */
static const struct {
    const char *path;
    size_t offset;
} texts[] = {
#define TEXT(member, name) \
    { \
        "/" name, offsetof(struct pod_network, member) \
    }
    TEXT(uid, "uid"),
    TEXT(vmi, "vmi"),
    TEXT(vm_address, "vmAddress"),
    TEXT(vm_cidr, "vmCIDR"),
    TEXT(guest_mac, "guestMAC"),
    TEXT(netns, "netns"),
    TEXT(host_link, "hostLink"),
    TEXT(pod_address, "podAddress"),
    TEXT(guest_address, "guestAddress"),
    TEXT(gateway_address, "gatewayAddress"),
    TEXT(target_node, "targetNode"),
#undef TEXT
};

static char **text_member(const struct pod_network *p, size_t i)
{
    return (char **)((char *)p + texts[i].offset);
}

struct pod_network *pod_network_free(struct pod_network *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(*text_member(p, i));
    free(p->ports);
    free(p);
    return NULL;
}

static yyjson_mut_val *ports_json(yyjson_mut_doc *doc, const struct pod_network *p)
{
    yyjson_mut_val *list = yyjson_mut_arr(doc);

    for (size_t i = 0; i < p->n_ports; i++) {
        yyjson_mut_val *port = yyjson_mut_obj(doc);
        yyjson_mut_obj_add_int(doc, port, "protocol", p->ports[i].protocol);
        yyjson_mut_obj_add_int(doc, port, "port", p->ports[i].port);
        yyjson_mut_arr_append(list, port);
    }
    return list;
}

static char *note_path(const char *folder, const char *uid, const char *suffix)
{
    return xasprintf("%s/%s%s", folder, uid, suffix);
}

static int replace_file(const char *folder, const char *uid, const char *text, struct gw_error *err)
{
    _cleanup_free_ char *path = note_path(folder, uid, ".json"), *draft = note_path(folder, uid, ".new");
    FILE *f = fopen(draft, "we");

    if (!f)
        return gw_error_errno(err, errno, "cannot write %s", draft);
    int r = fputs(text, f) < 0 ? -EIO : 0;
    if (fclose(f) != 0)
        r = -errno;
    if (r == 0 && rename(draft, path) < 0)
        r = -errno;
    return r < 0 ? gw_error_errno(err, r, "cannot write %s", path) : 0;
}

int pod_note_write(const char *folder, const struct pod_network *p, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *doc = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (*text_member(p, i))
            json_set_str(doc, texts[i].path, *text_member(p, i));
    json_set_int(doc, "/prefixLength", p->prefix_len);
    json_set_int(doc, "/mtu", p->mtu);
    json_set_int(doc, "/tapOwner", p->tap_owner);
    json_set(doc, "/ports", ports_json(doc, p));
    json_set_str(doc, "/state", address_state_string(p->state));
    json_set_int(doc, "/epoch", p->epoch);
    json_set_int(doc, "/forwardUntil", p->forward_until);
    json_set_bool(doc, "/destroyed", p->destroyed);
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(doc));
    return replace_file(folder, p->uid, text, err);
}

int pod_note_remove(const char *folder, const char *uid, struct gw_error *err)
{
    static const char *const suffixes[] = {".json", ".new"};

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        _cleanup_free_ char *path = note_path(folder, uid, suffixes[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return gw_error_errno(err, errno, "cannot remove %s", path);
    }
    return 0;
}

static void read_ports(yyjson_val *list, struct pod_network *p)
{
    size_t n = yyjson_arr_size(list);

    if (!n)
        return;
    p->ports = xnew_n(struct pod_port, n);
    for (; p->n_ports < n; p->n_ports++) {
        yyjson_val *port = yyjson_arr_get(list, p->n_ports);
        p->ports[p->n_ports] =
            (struct pod_port){(uint8_t)json_int(port, "/protocol", IPPROTO_TCP), (uint16_t)json_int(port, "/port", 0)};
    }
}

static void read_members(yyjson_val *v, struct pod_network *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        free(*text_member(p, i));
        *text_member(p, i) = xstrdup(json_str(v, texts[i].path));
    }
    p->prefix_len = (unsigned)json_int(v, "/prefixLength", 0);
    p->mtu = (int)json_int(v, "/mtu", 0);
    p->tap_owner = (uid_t)json_int(v, "/tapOwner", 0);
    read_ports(json_at(v, "/ports"), p);
    p->state = address_state_from(json_str_or(v, "/state", "Gone"));
    p->epoch = json_int(v, "/epoch", 0);
    p->forward_until = json_int(v, "/forwardUntil", 0);
    p->destroyed = json_bool(v, "/destroyed", false);
}

/* A note that cannot be read still tells whose pod it was, which is enough to remove it. */
static struct pod_network *read_note(const char *folder, const char *uid)
{
    _cleanup_free_ char *path = note_path(folder, uid, ".json");
    _cleanup_doc_ yyjson_doc *doc = NULL;
    struct pod_network *p = xnew(struct pod_network);

    p->state = ADDRESS_GONE;
    if (json_load(path, 0, &doc, NULL) == 0 && str_same(json_str(yyjson_doc_get_root(doc), "/uid"), uid))
        read_members(yyjson_doc_get_root(doc), p);
    if (!p->uid)
        p->uid = xstrdup(uid);
    return p;
}

int pod_note_each(const char *folder, void (*fn)(void *data, struct pod_network *p), void *data, struct gw_error *err)
{
    _cleanup_(closedirp) DIR *dir = opendir(folder);

    if (!dir)
        return gw_error_errno(err, errno, "cannot read %s", folder);
    for (struct dirent *e; (e = readdir(dir));) {
        if (!str_ends(e->d_name, ".json"))
            continue;
        _cleanup_free_ char *uid = xstrndup(e->d_name, strlen(e->d_name) - strlen(".json"));
        fn(data, read_note(folder, uid));
    }
    return 0;
}

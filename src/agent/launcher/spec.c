#include "agent/launcher/spec.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

void launcher_spec_done(struct launcher_spec *s)
{
    free(s->dir);
    free(s->run_dir);
    free(s->netns);
    free(s->cgroup);
    strv_done(&s->argv);
    strv_done(&s->read_only);
    strv_done(&s->writable);
    strv_done(&s->devices);
    free(s->dhcp.interface);
    free(s->dhcp.mac);
    free(s->dhcp.address);
    free(s->dhcp.gateway);
    free(s->dhcp.hostname);
    free(s->dhcp.search);
    strv_done(&s->dhcp.dns);
    *s = (struct launcher_spec){0};
}

static void put(yyjson_mut_doc *d, const char *path, const char *value)
{
    if (value)
        json_set_str(d, path, value);
}

static void put_list(yyjson_mut_doc *d, const char *path, const struct strv *list)
{
    yyjson_mut_val *arr = yyjson_mut_arr(d);

    for (size_t i = 0; i < list->len; i++)
        yyjson_mut_arr_add_strcpy(d, arr, list->items[i]);
    json_set(d, path, arr);
}

int launcher_spec_write(const struct launcher_spec *s, const char *path, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    put(d, "/dir", s->dir);
    put(d, "/runDir", s->run_dir);
    put_list(d, "/argv", &s->argv);
    put(d, "/netns", s->netns);
    json_set_int(d, "/uid", s->uid);
    json_set_int(d, "/gid", s->gid);
    put_list(d, "/readOnly", &s->read_only);
    put_list(d, "/writable", &s->writable);
    put_list(d, "/devices", &s->devices);
    put(d, "/cgroup", s->cgroup);
    json_set_int(d, "/memoryMax", s->memory_max);
    json_set_int(d, "/cpuMilli", s->cpu_milli);
    json_set_int(d, "/cpuRequestMilli", s->cpu_request_milli);
    json_set_int(d, "/consoleLogMax", s->console_log_max);
    put(d, "/dhcp/interface", s->dhcp.interface);
    put(d, "/dhcp/mac", s->dhcp.mac);
    put(d, "/dhcp/address", s->dhcp.address);
    put(d, "/dhcp/gateway", s->dhcp.gateway);
    json_set_int(d, "/dhcp/prefixLen", s->dhcp.prefix_len);
    json_set_int(d, "/dhcp/mtu", s->dhcp.mtu);
    put_list(d, "/dhcp/dns", &s->dhcp.dns);
    put(d, "/dhcp/hostname", s->dhcp.hostname);
    put(d, "/dhcp/search", s->dhcp.search);
    return json_save(path, d, 0600, err);
}

static char *get(yyjson_val *v, const char *path)
{
    return xstrdup(json_str(v, path));
}

static void get_list(yyjson_val *v, const char *path, struct strv *ret)
{
    yyjson_val *item;

    json_each(json_at(v, path), item)
        if (yyjson_is_str(item))
            strv_push(ret, yyjson_get_str(item));
}

int launcher_spec_read(const char *path, struct launcher_spec *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_load(path, 1 << 20, &doc, err);

    if (r < 0)
        return gw_error_wrap(err, r, "%s", path);
    yyjson_val *v = yyjson_doc_get_root(doc);
    struct launcher_spec s = {
        .dir = get(v, "/dir"),
        .run_dir = get(v, "/runDir"),
        .netns = get(v, "/netns"),
        .cgroup = get(v, "/cgroup"),
        .uid = (uid_t)json_int(v, "/uid", 0),
        .gid = (gid_t)json_int(v, "/gid", 0),
        .memory_max = json_int(v, "/memoryMax", 0),
        .cpu_milli = json_int(v, "/cpuMilli", 0),
        .cpu_request_milli = json_int(v, "/cpuRequestMilli", 0),
        .console_log_max = json_int(v, "/consoleLogMax", 0),
        .dhcp = {.interface = get(v, "/dhcp/interface"),
                 .mac = get(v, "/dhcp/mac"),
                 .address = get(v, "/dhcp/address"),
                 .gateway = get(v, "/dhcp/gateway"),
                 .prefix_len = (int)json_int(v, "/dhcp/prefixLen", 24),
                 .mtu = (int)json_int(v, "/dhcp/mtu", 0),
                 .hostname = get(v, "/dhcp/hostname"),
                 .search = get(v, "/dhcp/search")},
    };
    get_list(v, "/argv", &s.argv);
    get_list(v, "/readOnly", &s.read_only);
    get_list(v, "/writable", &s.writable);
    get_list(v, "/devices", &s.devices);
    get_list(v, "/dhcp/dns", &s.dhcp.dns);
    if (!s.dir || !s.run_dir || s.argv.len == 0 || s.uid == 0) {
        launcher_spec_done(&s);
        return gw_error_set(err, GW_INVALID, "%s: dir, runDir, argv and a uid other than 0 are needed", path);
    }
    *ret = s;
    return 0;
}

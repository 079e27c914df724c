#include "agent/core/guest_status.h"

#include <arpa/inet.h>
#include <string.h>

#include "api/meta.h"
#include "base/str.h"

#define GUEST_ONLY_MAX 10 /* KubeVirt's limit */

/* A key of an object; removed where value is NULL and it is there. */
static void want_or_remove(yyjson_mut_doc *want, const char *path, const char *value, bool is_there)
{
    if (value)
        json_set_str(want, path, value);
    else if (is_there)
        json_set(want, path, yyjson_mut_null(want));
}

static void want_os(yyjson_mut_doc *want, yyjson_val *vmi, yyjson_val *os)
{
    yyjson_val *key, *value;

    json_each_member(json_at(vmi, "/status/guestOSInfo"), key, value) {
        _cleanup_free_ char *path = json_path("/status/guestOSInfo", yyjson_get_str(key));
        want_or_remove(want, path, NULL, !yyjson_is_null(value));
    }
    json_each_member(os, key, value) {
        _cleanup_free_ char *path = json_path("/status/guestOSInfo", yyjson_get_str(key));
        json_set_str(want, path, yyjson_get_str(value));
    }
}

static void want_agent(yyjson_mut_doc *want, yyjson_val *guest, int64_t now_ms)
{
    bool connected = json_bool(guest, "/connected", false);
    const char *unsupported = connected ? json_str(guest, "/unsupported") : NULL;

    if (connected)
        condition_set(want, "AgentConnected", "True", NULL, NULL, now_ms);
    else
        condition_remove(want, "AgentConnected");
    if (unsupported)
        condition_set(want, "AgentVersionNotSupported", "True", unsupported, NULL, now_ms);
    else
        condition_remove(want, "AgentVersionNotSupported");
}

void want_guest(yyjson_mut_doc *want, yyjson_val *vmi, yyjson_val *guest, int64_t now_ms)
{
    const char *freeze = json_str(guest, "/freeze");

    if (!guest)
        return;
    want_agent(want, guest, now_ms);
    if (json_at(guest, "/os"))
        want_os(want, vmi, json_at(guest, "/os"));
    if (freeze)
        want_or_remove(want, "/status/fsFreezeStatus", streq(freeze, "frozen") ? freeze : NULL,
                       json_str(vmi, "/status/fsFreezeStatus") != NULL);
    if (json_at(guest, "/unfreezeAt")) {
        _cleanup_free_ char *path = json_path("/metadata/annotations", VMI_UNFREEZE_AT);
        want_or_remove(want, path, json_str(guest, "/unfreezeAt"), json_at(vmi, path) != NULL);
    }
}

/* --- Interfaces: KubeVirt's rules (pkg/network/setup/netstat.go) --- */

static bool is_link_local(const char *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET6, address, &six) == 1)
        return IN6_IS_ADDR_LINKLOCAL(&six);
    return inet_pton(AF_INET, address, &four) == 1 && ntohl(four.s_addr) >> 16 == 0xa9fe;
}

/* Appends those of a family. */
static void take_family(yyjson_mut_doc *d, yyjson_mut_val *to, yyjson_val *from, bool six, bool link_local)
{
    yyjson_val *item;

    json_each(from, item) {
        const char *text = yyjson_get_str(item);
        if (text && (strchr(text, ':') != NULL) == six && (link_local || !is_link_local(text)))
            yyjson_mut_arr_add_strcpy(d, to, text);
    }
}

static void set_addresses(yyjson_mut_doc *d, yyjson_mut_val *item, yyjson_mut_val *addresses)
{
    yyjson_mut_val *first = yyjson_mut_arr_get_first(addresses);

    yyjson_mut_obj_remove_key(item, "ipAddress");
    yyjson_mut_obj_remove_key(item, "ipAddresses");
    if (!first)
        return;
    yyjson_mut_obj_add_strcpy(d, item, "ipAddress", yyjson_mut_get_str(first));
    yyjson_mut_obj_add_val(d, item, "ipAddresses", addresses);
}

/* An address that is known from the pod's network stays; one that the guest does not have at all goes. */
static void merge_one(yyjson_mut_doc *d, yyjson_mut_val *item, yyjson_val *of_guest, bool masqueraded)
{
    yyjson_val *said = json_at(of_guest, "/ipAddresses");
    yyjson_mut_val *four = yyjson_mut_arr(d), *six = yyjson_mut_arr(d);
    const char *known = yyjson_mut_get_str(yyjson_mut_obj_get(item, "ipAddress"));

    take_family(d, four, said, false, !masqueraded);
    take_family(d, six, said, true, !masqueraded);
    if (known && !strchr(known, ':') && yyjson_mut_arr_size(four)) {
        yyjson_mut_arr_clear(four);
        yyjson_mut_arr_add_strcpy(d, four, known);
    }
    for (yyjson_mut_val *address; (address = yyjson_mut_arr_remove_first(six));)
        yyjson_mut_arr_append(four, address);
    set_addresses(d, item, four);
    yyjson_mut_obj_add_strcpy(d, item, "interfaceName", json_str_or(of_guest, "/interfaceName", ""));
    yyjson_mut_obj_put(item, yyjson_mut_str(d, "infoSource"), yyjson_mut_str(d, "domain, guest-agent"));
}

static void add_own(yyjson_mut_doc *d, yyjson_mut_val *list, yyjson_val *of_guest)
{
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list), *all = yyjson_mut_arr(d);

    take_family(d, all, json_at(of_guest, "/ipAddresses"), false, true);
    take_family(d, all, json_at(of_guest, "/ipAddresses"), true, true);
    set_addresses(d, item, all);
    if (json_str(of_guest, "/mac"))
        yyjson_mut_obj_add_strcpy(d, item, "mac", json_str(of_guest, "/mac"));
    yyjson_mut_obj_add_strcpy(d, item, "interfaceName", json_str_or(of_guest, "/interfaceName", ""));
    yyjson_mut_obj_add_str(d, item, "infoSource", "guest-agent");
}

static yyjson_mut_val *with_mac(yyjson_mut_val *list, const char *mac)
{
    yyjson_mut_val *item;
    size_t i, n;

    yyjson_mut_arr_foreach(list, i, n, item) {
        const char *own = yyjson_mut_get_str(yyjson_mut_obj_get(item, "mac"));
        if (mac && own && strcasecmp(own, mac) == 0)
            return item;
    }
    return NULL;
}

/* A bridge in the guest and the card below it have one MAC: the one that has addresses counts. */
static bool is_outdone(yyjson_val *said, yyjson_val *item)
{
    const char *mac = json_str(item, "/mac");
    yyjson_val *other;

    if (yyjson_arr_size(json_at(item, "/ipAddresses")) || !mac)
        return false;
    json_each(said, other)
        if (str_same(json_str(other, "/mac"), mac) && yyjson_arr_size(json_at(other, "/ipAddresses")))
            return true;
    return false;
}

static bool is_merged(yyjson_mut_val *item)
{
    return yyjson_mut_obj_get(item, "interfaceName") != NULL;
}

bool merge_guest_interfaces(yyjson_mut_doc *want, yyjson_mut_val *list, yyjson_val *vmi, yyjson_val *guest)
{
    yyjson_val *said = json_at(guest, "/interfaces"), *item;
    size_t own = 0;

    if (!said)
        return !json_find(json_at(vmi, "/status/interfaces"), "/infoSource", "domain, guest-agent");
    json_each(said, item) {
        yyjson_mut_val *ours = with_mac(list, json_str(item, "/mac"));
        const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(ours, "name"));
        yyjson_val *spec = json_find(json_at(vmi, "/spec/domain/devices/interfaces"), "/name", name);
        if (is_outdone(said, item) || (ours && is_merged(ours)))
            continue;
        if (ours)
            merge_one(want, ours, item, json_at(spec, "/masquerade") != NULL);
        else if (own++ < GUEST_ONLY_MAX)
            add_own(want, list, item);
    }
    return true;
}

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/rules/vmi_spec.h"
#include "base/map.h"

static const char *const bindings[] = {"masquerade", "bridge", "sriov", "passtBinding", "binding", "slirp",
                                       "macvtap",    "passt",  NULL};
static const char *const kinds[] = {"pod", "multus", "resourceClaim", NULL};

/* The guest needs an address, its router another. */
static void check_cidr(struct where *w, size_t i, yyjson_val *network)
{
    const char *cidr = json_str(network, "/pod/vmNetworkCIDR"), *slash = cidr ? strchr(cidr, '/') : NULL;
    _cleanup_free_ char *text = field_quote(json_at(network, "/pod/vmNetworkCIDR"));

    if (slash && (strchr(cidr, ':') || atoi(slash + 1) > 29))
        field_invalid(w->err, at(w, "networks[%zu].pod.vmNetworkCIDR", i), text,
                      "must be an IPv4 network with room for router and guest (/29 or larger)");
}

static void check_network(struct where *w, size_t i, yyjson_val *network, struct map *names, size_t *pods)
{
    const char *name = json_str_or(network, "/name", ""), *kind = "";
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(network, "name"));

    if (!*name)
        field_required(w->err, at(w, "networks[%zu].name", i), "a name");
    else if (map_has(names, name))
        field_duplicate(w->err, at(w, "networks[%zu].name", i), text);
    map_put(names, name, network);
    if (count_of(network, kinds, &kind) != 1)
        field_required(w->err, at(w, "networks[%zu]", i), "should have exactly one network type");
    else if (streq(kind, "pod") && ++*pods == 2)
        field_duplicate(w->err, at(w, "networks"), "\"pod\"");
    check_cidr(w, i, network);
}

static void check_ports(struct where *w, size_t i, yyjson_val *ports)
{
    _cleanup_(map_freep) struct map *names = map_new(NULL), *seen = map_new(NULL);
    yyjson_val *port;
    size_t k;

    json_each_at(ports, k, port) {
        const char *name = json_str_or(port, "/name", "");
        _cleanup_free_ char *text = field_quote(yyjson_obj_get(port, "name"));
        _cleanup_free_ char *number =
            xasprintf("%lld/%s", (long long)json_int(port, "/port", 0), json_str_or(port, "/protocol", "TCP"));

        if (*name && map_has(names, name))
            field_duplicate(w->err, at(w, "domain.devices.interfaces[%zu].ports[%zu].name", i, k), text);
        if (map_has(seen, number)) {
            _cleanup_free_ char *quoted = xasprintf("\"%s\"", number);
            field_duplicate(w->err, at(w, "domain.devices.interfaces[%zu].ports[%zu].port", i, k), quoted);
        }
        if (*name)
            map_put(names, name, names);
        map_put(seen, number, seen);
    }
}

static void check_mac(struct where *w, size_t i, yyjson_val *interface, struct map *macs)
{
    const char *mac = json_str_or(interface, "/macAddress", "");
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(interface, "macAddress"));

    if (!*mac)
        return;
    if (strtol(mac, NULL, 16) & 1)
        field_invalid(w->err, at(w, "domain.devices.interfaces[%zu].macAddress", i), text, "must be a unicast address");
    if (map_has(macs, mac))
        field_duplicate(w->err, at(w, "domain.devices.interfaces[%zu].macAddress", i), text);
    map_put(macs, mac, macs);
}

static void check_binding(struct where *w, size_t i, yyjson_val *interface, yyjson_val *network)
{
    const char *binding = "";
    size_t n = count_of(interface, bindings, &binding);

    if (n > 1)
        field_invalid(w->err, at(w, "domain.devices.interfaces[%zu]", i), "\"...\"",
                      "can have only one binding method");
    else if (n == 1 && streq(binding, "masquerade") && network && !yyjson_obj_get(network, "pod"))
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.devices.interfaces[%zu].name", i),
                           "Masquerade interface only implemented with pod network");
}

static void check_interfaces(yyjson_val *spec, struct where *w, struct map *networks)
{
    _cleanup_(map_freep) struct map *names = map_new(NULL), *macs = map_new(NULL);
    yyjson_val *interfaces = json_at(spec, "/domain/devices/interfaces"), *interface;
    size_t i;

    json_each_at(interfaces, i, interface) {
        const char *name = json_str_or(interface, "/name", "");
        _cleanup_free_ char *text = field_quote(yyjson_obj_get(interface, "name"));

        if (map_has(names, name))
            field_duplicate(w->err, at(w, "domain.devices.interfaces[%zu].name", i), text);
        else if (!map_has(networks, name))
            gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.devices.interfaces[%zu].name", i),
                               "%s '%s' not found.", w->field, name);
        map_put(names, name, names);
        check_binding(w, i, interface, map_get(networks, name));
        check_mac(w, i, interface, macs);
        check_ports(w, i, yyjson_obj_get(interface, "ports"));
    }
    json_each_at(json_at(spec, "/networks"), i, interface)
        if (!map_has(names, json_str_or(interface, "/name", "")))
            gw_error_add_cause(w->err, CAUSE_REQUIRED, at(w, "networks[%zu].name", i), "%s '%s' not found.", w->field,
                               json_str_or(interface, "/name", ""));
}

void vmi_network_check(yyjson_val *spec, struct where *w)
{
    _cleanup_(map_freep) struct map *networks = map_new(NULL);
    yyjson_val *network;
    size_t i, pods = 0;

    json_each_at(json_at(spec, "/networks"), i, network)
        check_network(w, i, network, networks, &pods);
    check_interfaces(spec, w, networks);
}

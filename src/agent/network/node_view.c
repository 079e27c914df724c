#include "agent/network/node_view.h"

void node_view_done(struct node_view *v)
{
    VEC_EACH(&v->addresses, a)
        free(a->vmi);
    VEC_EACH(&v->observed, o)
        free(o->node);
    announced_vec_done(&v->addresses);
    observed_vec_done(&v->observed);
    free(v->node);
    *v = (struct node_view){0};
}

void node_views_done(struct node_view_vec *v)
{
    VEC_EACH(v, view)
        node_view_done(view);
    node_view_vec_done(v);
}

const struct node_view *node_view_find(const struct node_view_vec *v, const char *node)
{
    VEC_EACH(v, view)
        if (streq(view->node, node))
            return view;
    return NULL;
}

int64_t node_view_observed(const struct node_view *v, const char *node)
{
    VEC_EACH(&v->observed, o)
        if (streq(o->node, node))
            return o->serial;
    return -1;
}

const struct announced_address *node_view_address(const struct node_view *v, uint32_t address)
{
    VEC_EACH(&v->addresses, a)
        if (a->address == address)
            return a;
    return NULL;
}

static void read_addresses(yyjson_val *list, struct announced_vec *ret)
{
    yyjson_val *v;

    json_each(list, v) {
        struct announced_address a = {
            .epoch = json_int(v, "/epoch", 0),
            .state = address_state_from(json_str_or(v, "/state", "Active")),
        };
        if ((a.state != ADDRESS_ACTIVE && a.state != ADDRESS_FORWARDING) ||
            !ipv4_parse(json_str(v, "/address"), &a.address))
            continue;
        a.vmi = xstrdup(json_str_or(v, "/vmi", ""));
        announced_vec_push(ret, a);
    }
}

static void read_observed(yyjson_val *map, struct observed_vec *ret)
{
    yyjson_val *key, *value;

    json_each_member(map, key, value)
        observed_vec_push(ret, (struct observed_peer){
                                   .node = xstrdup(yyjson_get_str(key)),
                                   .serial = json_int(value, "", -1),
                               });
}

int node_view_read(yyjson_val *object, struct node_view *ret, struct gw_error *err)
{
    const char *name = json_str(object, "/metadata/name");
    const char *address = json_str_or(object, "/spec/nodeAddress", "");
    struct node_view v = {.vxlan = !streq(json_str_or(object, "/spec/link", "vxlan"), "direct")};

    if (!name)
        return gw_error_set(err, GW_INVALID, "NodeNetwork without a name");
    if (!ipv4_parse(address, &v.node_address))
        return gw_error_set(err, GW_INVALID, "NodeNetwork %s: spec.nodeAddress \"%s\" is no IPv4 address", name,
                            address);
    (void)ipv4_parse_cidr(json_str(object, "/spec/podCIDR"), &v.pod_cidr);
    v.node = xstrdup(name);
    v.serial = json_int(object, "/spec/serial", 0);
    read_addresses(json_at(object, "/spec/addresses"), &v.addresses);
    read_observed(json_at(object, "/status/observed"), &v.observed);
    *ret = v;
    return 0;
}

static yyjson_mut_val *address_json(yyjson_mut_doc *doc, const struct announced_address *a)
{
    yyjson_mut_val *v = yyjson_mut_obj(doc);
    char text[IPV4_TEXT];

    yyjson_mut_obj_add_strcpy(doc, v, "address", ipv4_format(a->address, text));
    yyjson_mut_obj_add_strcpy(doc, v, "vmi", a->vmi);
    yyjson_mut_obj_add_int(doc, v, "epoch", a->epoch);
    yyjson_mut_obj_add_str(doc, v, "state", address_state_string(a->state));
    return v;
}

void node_view_write_spec(const struct node_view *v, yyjson_mut_doc *doc, const char *path)
{
    yyjson_mut_val *spec = yyjson_mut_obj(doc), *addresses = yyjson_mut_arr(doc);
    char text[IPV4_TEXT];

    yyjson_mut_obj_add_strcpy(doc, spec, "nodeAddress", ipv4_format(v->node_address, text));
    yyjson_mut_obj_add_strcpy(doc, spec, "podCIDR", ipv4_format_cidr(v->pod_cidr, text));
    yyjson_mut_obj_add_str(doc, spec, "link", v->vxlan ? "vxlan" : "direct");
    yyjson_mut_obj_add_int(doc, spec, "serial", v->serial);
    VEC_EACH(&v->addresses, a)
        yyjson_mut_arr_append(addresses, address_json(doc, a));
    yyjson_mut_obj_add_val(doc, spec, "addresses", addresses);
    json_set(doc, path, spec);
}

void node_view_write_status(const struct node_view *v, yyjson_mut_doc *doc, const char *path)
{
    yyjson_mut_val *status = yyjson_mut_obj(doc), *observed = yyjson_mut_obj(doc);

    VEC_EACH(&v->observed, o)
        yyjson_mut_obj_add(observed, yyjson_mut_strcpy(doc, o->node), yyjson_mut_int(doc, o->serial));
    yyjson_mut_obj_add_val(doc, status, "observed", observed);
    json_set(doc, path, status);
}

#include "server/own_service.h"

#include <arpa/inet.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/local.h"

#define NAME "kubernetes"
#define NAMESPACE "default"

static const char *family_of(const char *address)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, address, bytes) == 1    ? "IPv4"
           : inet_pton(AF_INET6, address, bytes) == 1 ? "IPv6"
                                                      : "FQDN";
}

static yyjson_mut_doc *object(const char *api_version, const char *kind)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/apiVersion", api_version);
    json_set_str(d, "/kind", kind);
    json_set_str(d, "/metadata/name", NAME);
    json_set_str(d, "/metadata/namespace", NAMESPACE);
    return d;
}

/* At path, a list of one object with name, port and protocol. */
static void set_port(yyjson_mut_doc *d, const char *path, uint16_t port)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *o = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_str(d, o, "name", "https");
    yyjson_mut_obj_add_int(d, o, "port", port);
    yyjson_mut_obj_add_str(d, o, "protocol", "TCP");
    json_set(d, path, list);
}

static yyjson_mut_doc *service(uint16_t port)
{
    yyjson_mut_doc *d = object("v1", "Service");

    json_set_str(d, "/metadata/labels/component", "apiserver");
    json_set_str(d, "/metadata/labels/provider", "kubernetes");
    json_set_str(d, "/spec/type", "ClusterIP");
    json_set_str(d, "/spec/clusterIP", "None");
    json_set_str(d, "/spec/sessionAffinity", "None");
    set_port(d, "/spec/ports", port);
    json_set_int(d, "/spec/ports/0/targetPort", port);
    return d;
}

static yyjson_mut_doc *endpoints(const char *address, uint16_t port)
{
    yyjson_mut_doc *d = object("v1", "Endpoints");
    yyjson_mut_val *subsets = yyjson_mut_arr(d), *addresses;

    json_set_str(d, "/metadata/labels/endpointslice.kubernetes.io~1skip-mirror", "true");
    json_set(d, "/subsets", subsets);
    if (streq(family_of(address), "FQDN"))
        return d;
    yyjson_mut_arr_add_obj(d, subsets);
    addresses = yyjson_mut_arr(d);
    yyjson_mut_obj_add_strcpy(d, yyjson_mut_arr_add_obj(d, addresses), "ip", address);
    json_set(d, "/subsets/0/addresses", addresses);
    set_port(d, "/subsets/0/ports", port);
    return d;
}

static yyjson_mut_doc *slice(const char *address, uint16_t port)
{
    yyjson_mut_doc *d = object("discovery.k8s.io/v1", "EndpointSlice");
    yyjson_mut_val *list = yyjson_mut_arr(d), *o = yyjson_mut_arr_add_obj(d, list);

    json_set_str(d, "/metadata/labels/kubernetes.io~1service-name", NAME);
    json_set_str(d, "/addressType", family_of(address));
    yyjson_mut_arr_add_strcpy(d, yyjson_mut_obj_add_arr(d, o, "addresses"), address);
    yyjson_mut_obj_add_bool(d, yyjson_mut_obj_add_obj(d, o, "conditions"), "ready", true);
    json_set(d, "/endpoints", list);
    set_port(d, "/ports", port);
    return d;
}

/* Makes it; or, if there is one already and correct says so, sets what it lacks. */
static int put(struct rest_server *rest, yyjson_mut_doc *d, bool correct, struct gw_error *err)
{
    const struct kind *kind = kinds_find_object(rest->kinds, json_mut_str(d, "/apiVersion"), json_mut_str(d, "/kind"));
    _cleanup_free_ char *all = local_target(kind, NAMESPACE, NULL, NULL),
                        *one = local_target(kind, NAMESPACE, NAME, NULL);
    _cleanup_blob_ struct blob *body = json_encode(yyjson_mut_doc_get_root(d));
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r = local_call(rest, "POST", all, JSON_BODY, body, NULL, &why);

    if (r == 0 || (why.reason == GW_ALREADY_EXISTS && !correct))
        return 0;
    if (why.reason == GW_ALREADY_EXISTS)
        return local_call(rest, "PATCH", one, MERGE_PATCH, body, NULL, err);
    gw_error_move(err, &why);
    return gw_error_wrap(err, r, "%s " NAMESPACE "/" NAME, kind->kind);
}

int own_service_ensure(struct rest_server *rest, const char *address, uint16_t port, struct gw_error *err)
{
    yyjson_mut_doc *objects[] = {service(port), endpoints(address, port), slice(address, port)};
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        r = r < 0 ? r : put(rest, objects[i], true, err);
        yyjson_mut_doc_free(objects[i]);
    }
    return r;
}

int own_service_restore(struct rest_server *rest, yyjson_val *object, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;

    if (!streq(meta_namespace(object), NAMESPACE) || !streq(meta_name(object), NAME))
        return 0;
    d = json_copy(object);
    json_remove(d, "/metadata/resourceVersion");
    return put(rest, d, false, err);
}

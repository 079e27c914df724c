#include <string.h>

#include "server/openshift.h"

#define GROUP "user.openshift.io"

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *groups = yyjson_mut_arr(d);

    if (!streq(t->verb, "get"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (!streq(t->name, "~"))
        return gw_error_set(err, GW_NOT_FOUND, "users." GROUP " \"%s\" not found", t->name);
    json_set_str(d, "/kind", "User");
    json_set_str(d, "/apiVersion", GROUP "/v1");
    json_set_str(d, "/metadata/name", q->user.name);
    if (q->user.uid)
        json_set_str(d, "/metadata/uid", q->user.uid);
    for (size_t i = 0; i < q->user.n_groups; i++)
        yyjson_mut_arr_add_strcpy(d, groups, q->user.groups[i]);
    json_set(d, "/identities", yyjson_mut_null(d));
    json_set(d, "/groups", groups);
    api_response_json(response, 200, json_encode(yyjson_mut_doc_get_root(d)));
    return 0;
}

const struct rest_extra user_extras[] = {
    {.group = GROUP, .resource = "users", .verbs = "get", .version = "v1", .handle = handle},
    {0},
};

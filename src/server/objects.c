#include "server/objects.h"

#include <errno.h>

#include "api/initial.h"
#include "api/meta.h"
#include "apiserver/local.h"
#include "rbac/rbac.h"
#include "server/default_roles.h"

static int patch_status(struct rest_server *rest, const struct kind *kind, yyjson_val *object, struct gw_error *err)
{
    _cleanup_free_ char *target = local_target(kind, meta_namespace(object), meta_name(object), "status");
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    _cleanup_blob_ struct blob *body = NULL;

    json_set(patch, "/status", yyjson_val_mut_copy(patch, json_at(object, "/status")));
    body = json_encode(yyjson_mut_doc_get_root(patch));
    return local_call(rest, "PATCH", target, MERGE_PATCH, body, NULL, err);
}

/* An object that is there already is the users' to change; so it stays as it is. Roles alone grow with the server. */
static int ensure(struct rest_server *rest, yyjson_val *object, struct gw_error *err)
{
    const char *api_version = json_str_or(object, "/apiVersion", ""), *kind_name = json_str_or(object, "/kind", "");
    const struct kind *kind = kinds_find_object(rest->kinds, api_version, kind_name);
    _cleanup_blob_ struct blob *body = json_encode_val(object);
    _cleanup_free_ char *target = NULL;
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r;

    if (!kind)
        return gw_error_set(err, GW_INTERNAL_ERROR, "initial object of unknown kind %s %s", api_version, kind_name);
    target = local_target(kind, meta_namespace(object), NULL, NULL);
    r = local_call(rest, "POST", target, JSON_BODY, body, NULL, &why);
    if (r < 0 && why.reason == GW_ALREADY_EXISTS)
        return streq(kind->group, RBAC_GROUP) ? default_role_complete(rest, kind, object, err) : 0;
    if (r == 0 && kind->has_status && json_at(object, "/status"))
        r = patch_status(rest, kind, object, &why);
    if (r < 0) {
        gw_error_move(err, &why);
        return gw_error_wrap(err, r, "initial %s %s", kind_name, meta_name(object));
    }
    return 0;
}

int objects_make_initial(struct rest_server *rest, struct gw_error *err)
{
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};
    int r = initial_objects(&docs, err);

    for (size_t i = 0; i < docs.len && r >= 0; i++)
        r = ensure(rest, yyjson_doc_get_root(docs.items[i]), err);
    return r < 0 ? r : 0;
}

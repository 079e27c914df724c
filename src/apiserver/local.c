#include "apiserver/local.h"

#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/str.h"

static int failure(int status, yyjson_doc *doc, struct gw_error *err)
{
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;

    return gw_error_set(err, gw_reason_from(json_str(root, "/reason"), status), "%s",
                        json_str_or(root, "/message", "no message"));
}

int local_call(struct rest_server *rest, const char *method, const char *target, const char *content_type,
               struct blob *body, yyjson_doc **ret, struct gw_error *err)
{
    static const char *const groups[] = {GROUP_MASTERS, GROUP_AUTHENTICATED};
    const struct api_request request = {
        .method = method,
        .target = target,
        .accept = "application/json",
        .content_type = content_type,
        .user_agent = "godwit-server",
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
        .user = {.name = USER_SERVER, .groups = groups, .n_groups = ARRAY_SIZE(groups)},
    };
    _cleanup_response_ struct api_response response = {0};
    _cleanup_blob_ struct blob *text = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    rest_handle(rest, &request, &response);
    text = api_parts_join(&response.body);
    (void)json_parse(text->data, text->len, &doc, NULL);
    if (response.status >= 300)
        return failure(response.status, doc, err);
    if (ret)
        *ret = TAKE_PTR(doc);
    return 0;
}

char *local_target(const struct kind *kind, const char *namespace, const char *name, const char *subresource)
{
    struct str t = {0};

    str_printf(&t, "/%s%s/%s", *kind->group ? "apis/" : "api", kind->group, kind_storage_version(kind));
    if (kind->namespaced && namespace)
        str_printf(&t, "/namespaces/%s", namespace);
    str_printf(&t, "/%s", kind->plural);
    if (name)
        str_printf(&t, "/%s", name);
    if (subresource)
        str_printf(&t, "/%s", subresource);
    return str_take(&t);
}

#include <string.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/local.h"
#include "base/alloc.h"
#include "base/str.h"
#include "rbac/rbac.h"
#include "server/openshift.h"

#define GROUP "project.openshift.io"
#define API_VERSION GROUP "/v1"
#define NAMESPACES "/api/v1/namespaces"

/* --- Writing: the namespace is written; the right to it was asked for as one to the project --- */

/* Asks for the namespace what was asked for the project, as somebody who may. */
static void ask_namespace(struct rest_server *s, const struct api_request *q, const char *name, struct blob *body,
                          struct api_response *response)
{
    static const char *const groups[] = {GROUP_MASTERS};
    const char *query = strchr(q->target, '?');
    _cleanup_free_ char *target = xasprintf(NAMESPACES "%s%s%s", name ? "/" : "", name ? name : "", query ? query : "");
    struct api_request inner = *q;

    inner.target = target;
    inner.user = (struct api_user){.name = q->user.name, .groups = groups, .n_groups = ARRAY_SIZE(groups)};
    inner.accept = "application/json";
    if (body) {
        inner.content_type = JSON_BODY;
        inner.body = body->data;
        inner.body_len = body->len;
    }
    rest_handle(s, &inner, response);
}

/* Turns a Namespace that is the answer into the Project that it is. */
static void retype(struct api_response *response)
{
    _cleanup_blob_ struct blob *text = api_parts_join(&response->body);
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (response->status >= 300 || json_parse(text->data, text->len, &doc, NULL) < 0)
        return;
    d = json_copy(yyjson_doc_get_root(doc));
    json_set_str(d, "/kind", "Project");
    json_set_str(d, "/apiVersion", API_VERSION);
    api_response_json(response, response->status, json_encode(yyjson_mut_doc_get_root(d)));
}

static int create_project(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                          struct api_response *response, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_blob_ struct blob *body = NULL;
    int r = rest_decode(s, q, t->kind, &d, err);

    if (r < 0)
        return r;
    json_set_str(d, "/kind", "Namespace");
    json_set_str(d, "/apiVersion", "v1");
    body = json_encode(yyjson_mut_doc_get_root(d));
    ask_namespace(s, q, NULL, body, response);
    retype(response);
    return 0;
}

static int write_project(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                         struct api_response *response, struct gw_error *err)
{
    if (streq(t->verb, "create"))
        return create_project(s, q, t, response, err);
    ask_namespace(s, q, t->name, NULL, response);
    if (streq(t->verb, "delete") && response->status < 300)
        api_response_json(response, 200, api_status_success(NULL));
    else
        retype(response);
    return 0;
}

/* --- Requesting --- */

static void annotate(yyjson_mut_doc *d, const char *key, const char *value)
{
    if (value && *value)
        meta_set_annotation(d, key, value);
}

static struct blob *namespace_of(yyjson_val *request, const char *requester)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", meta_name(request));
    annotate(d, "openshift.io/requester", requester);
    annotate(d, "openshift.io/display-name", json_str(request, "/displayName"));
    annotate(d, "openshift.io/description", json_str(request, "/description"));
    return json_encode(yyjson_mut_doc_get_root(d));
}

static struct blob *binding_of(const char *requester)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *subjects = yyjson_mut_arr(d);

    json_set_str(d, "/metadata/name", "admin");
    json_set_str(d, "/roleRef/apiGroup", RBAC_GROUP);
    json_set_str(d, "/roleRef/kind", "ClusterRole");
    json_set_str(d, "/roleRef/name", "admin");
    yyjson_mut_arr_append(subjects, yyjson_mut_obj(d));
    json_set(d, "/subjects", subjects);
    json_set_str(d, "/subjects/0/apiGroup", RBAC_GROUP);
    json_set_str(d, "/subjects/0/kind", "User");
    json_set_str(d, "/subjects/0/name", requester);
    return json_encode(yyjson_mut_doc_get_root(d));
}

/* A namespace without its administrator would be of use to nobody: it goes again. */
static int make(struct rest_server *s, yyjson_val *request, const char *requester, yyjson_doc **ret,
                struct gw_error *err)
{
    const char *name = meta_name(request);
    _cleanup_blob_ struct blob *namespace = namespace_of(request, requester), *binding = binding_of(requester);
    _cleanup_free_ char *own = xasprintf(NAMESPACES "/%s", name),
                        *bindings = xasprintf("/apis/" RBAC_GROUP "/v1/namespaces/%s/rolebindings", name);
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r = local_call(s, "POST", NAMESPACES, JSON_BODY, namespace, ret, &why);

    if (r < 0 && why.reason == GW_ALREADY_EXISTS)
        return gw_error_set(err, GW_ALREADY_EXISTS, "project." GROUP " \"%s\" already exists", name);
    if (r == 0 && (r = local_call(s, "POST", bindings, JSON_BODY, binding, NULL, &why)) < 0)
        (void)local_call(s, "DELETE", own, NULL, NULL, NULL, NULL);
    if (r < 0)
        gw_error_move(err, &why);
    return r;
}

static void answer(struct api_response *response, yyjson_val *namespace)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(namespace);

    json_set_str(d, "/kind", "Project");
    json_set_str(d, "/apiVersion", API_VERSION);
    api_response_json(response, 201, json_encode(yyjson_mut_doc_get_root(d)));
}

static int check_request(yyjson_val *request, const char *target, struct gw_error *err)
{
    static const char *const reserved[] = {"kube-", "kubernetes-", "openshift-"};
    const char *name = meta_name(request);

    if (strstr(target, "dryRun="))
        return gw_error_set(err, GW_BAD_REQUEST, "project requests cannot be tried by a dry run");
    if (!*name)
        return gw_error_set(err, GW_BAD_REQUEST, "metadata.name: the name of the project is required");
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (str_starts(name, reserved[i]))
            return gw_error_set(err, GW_FORBIDDEN,
                                "projectrequests." GROUP " \"%s\" is forbidden: names that begin "
                                "with %s are the system's",
                                name, reserved[i]);
    return 0;
}

/* A list asks only whether one may make requests. */
static int handle_request(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                          struct api_response *response, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL, *made = NULL;
    int r;

    if (streq(t->verb, "list")) {
        api_response_json(response, 200, api_status_success(NULL));
        return 0;
    }
    if (!streq(t->verb, "create"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    r = rest_decode(s, q, t->kind, &body, err);
    if (r < 0)
        return r;
    doc = yyjson_mut_doc_imut_copy(body, NULL);
    r = check_request(yyjson_doc_get_root(doc), q->target, err);
    r = r < 0 ? r : make(s, yyjson_doc_get_root(doc), q->user.name, &made, err);
    if (r == 0)
        answer(response, yyjson_doc_get_root(made));
    return r;
}

const struct rest_extra project_extras[] = {
    {.group = GROUP, .resource = "projects", .verbs = "create delete patch", .version = "v1", .handle = write_project},
    {.group = GROUP, .resource = "projectrequests", .verbs = "create list", .version = "v1", .handle = handle_request},
    {0},
};

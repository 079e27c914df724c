#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "api/selector.h"
#include "apiserver/authz.h"
#include "apiserver/local.h"
#include "base/alloc.h"
#include "base/str.h"
#include "server/openshift.h"

#define GROUP "project.openshift.io"
#define API_VERSION GROUP "/v1"
#define NAMESPACES "/api/v1/namespaces"

static int not_allowed(struct gw_error *err)
{
    return gw_error_set(err, GW_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

/* --- A namespace as a project --- */

static void fill(yyjson_mut_doc *d, yyjson_mut_val *o, yyjson_val *namespace)
{
    static const char *const members[] = {"metadata", "spec", "status"};

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        yyjson_val *v = yyjson_obj_get(namespace, members[i]);

        yyjson_mut_obj_add_val(d, o, members[i], v ? yyjson_val_mut_copy(d, v) : yyjson_mut_obj(d));
    }
}

static yyjson_mut_doc *typed(const char *kind)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/kind", kind);
    json_set_str(d, "/apiVersion", API_VERSION);
    return d;
}

static void answer(struct api_response *response, int status, yyjson_val *namespace)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = typed("Project");

    fill(d, yyjson_mut_doc_get_root(d), namespace);
    api_response_json(response, status, json_encode(yyjson_mut_doc_get_root(d)));
}

static const struct kind *namespaces(struct rest_server *s)
{
    return kinds_find(s->kinds, "", NULL, "namespaces");
}

static int not_found(const char *name, struct gw_error *err)
{
    return gw_error_set(err, GW_NOT_FOUND, "projects." GROUP " \"%s\" not found", name);
}

/* --- Reading --- */

static int get_one(struct rest_server *s, const struct rest_target *t, struct api_response *response,
                   struct gw_error *err)
{
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = rest_read(s, namespaces(s), NULL, t->name, &doc, &why);

    if (r < 0 && why.reason == GW_NOT_FOUND)
        return not_found(t->name, err);
    if (r < 0) {
        gw_error_move(err, &why);
        return r;
    }
    answer(response, 200, yyjson_doc_get_root(doc));
    return 0;
}

static bool may_get(struct rest_server *s, const struct api_user *user, const char *name)
{
    const struct rest_target t = {.verb = "get", .group = GROUP, .version = "v1", .resource = "projects", .name = name};

    return !s->authorize || s->authorize(s->data, user, &t, NULL, NULL, NULL) == 0;
}

struct filter {
    struct selector *labels;
    struct field_selector *fields;
};

static void filter_done(struct filter *f)
{
    selector_free(f->labels);
    field_selector_free(f->fields);
}

static bool is_shown(struct rest_server *s, const struct api_user *user, const struct filter *f, yyjson_val *namespace)
{
    return selector_matches(f->labels, json_at(namespace, "/metadata/labels")) &&
           field_selector_matches(f->fields, namespace) && may_get(s, user, meta_name(namespace));
}

static void add_shown(struct rest_server *s, const struct api_user *user, const struct filter *f,
                      const struct store_item *item, yyjson_mut_doc *d, yyjson_mut_val *items)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (object_load("v1", "Namespace", item->revision, item->value->data, item->value->len, &doc, NULL) == 0 &&
        is_shown(s, user, f, yyjson_doc_get_root(doc)))
        fill(d, yyjson_mut_arr_add_obj(d, items), yyjson_doc_get_root(doc));
}

static int list_shown(struct rest_server *s, const struct api_user *user, const struct rest_target *t,
                      struct api_response *response, struct gw_error *err)
{
    static const char *const allowed[] = {"status.phase", NULL};
    _cleanup_mut_doc_ yyjson_mut_doc *d = typed("ProjectList");
    _cleanup_(filter_done) struct filter f = {0};
    _cleanup_store_list_ struct store_list list = {0};
    yyjson_mut_val *items = yyjson_mut_arr(d);
    int r = selector_parse(t->label_selector, &f.labels, err);

    r = r < 0 ? r : field_selector_parse(t->field_selector, allowed, &f.fields, err);
    r = r < 0 ? r : store_list(s->store, &(struct store_list_options){.prefix = namespaces(s)->prefix}, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.len; i++)
        add_shown(s, user, &f, &list.items[i], d, items);
    _cleanup_free_ char *revision = xasprintf("%lld", (long long)list.revision);
    json_set_str(d, "/metadata/resourceVersion", revision);
    json_set(d, "/items", items);
    api_response_json(response, 200, json_encode(yyjson_mut_doc_get_root(d)));
    return 0;
}

/* --- Deleting: the namespace goes; the right to it was asked for as one to the project --- */

static int delete_one(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                      struct api_response *response)
{
    static const char *const groups[] = {GROUP_MASTERS};
    const char *query = strchr(q->target, '?');
    _cleanup_free_ char *target = xasprintf(NAMESPACES "/%s%s", t->name, query ? query : "");
    struct api_request inner = *q;

    inner.target = target;
    inner.user = (struct api_user){.name = q->user.name, .groups = groups, .n_groups = ARRAY_SIZE(groups)};
    rest_handle(s, &inner, response);
    if (response->status < 300)
        api_response_json(response, 200, api_status_success(NULL));
    return 0;
}

static int handle_project(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                          struct api_response *response, struct gw_error *err)
{
    if (streq(t->verb, "get"))
        return get_one(s, t, response, err);
    if (streq(t->verb, "list"))
        return list_shown(s, &q->user, t, response, err);
    if (streq(t->verb, "delete"))
        return delete_one(s, q, t, response);
    return not_allowed(err);
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
    _cleanup_doc_ yyjson_doc *doc = NULL, *made = NULL;
    yyjson_val *request;
    int r;

    if (streq(t->verb, "list")) {
        api_response_json(response, 200, api_status_success(NULL));
        return 0;
    }
    if (!streq(t->verb, "create"))
        return not_allowed(err);
    r = json_parse(q->body ? q->body : "", q->body_len, &doc, err);
    request = yyjson_doc_get_root(doc);
    r = r < 0 ? r : check_request(request, q->target, err);
    r = r < 0 ? r : make(s, request, q->user.name, &made, err);
    if (r == 0)
        answer(response, 201, yyjson_doc_get_root(made));
    return r;
}

const struct rest_extra project_extras[] = {
    {.group = GROUP,
     .resource = "projects",
     .kind = "Project",
     .verbs = "delete get list",
     .version = "v1",
     .handle = handle_project},
    {.group = GROUP,
     .resource = "projectrequests",
     .kind = "ProjectRequest",
     .verbs = "create list",
     .version = "v1",
     .handle = handle_request},
    {0},
};

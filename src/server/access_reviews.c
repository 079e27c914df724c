#include <stdlib.h>
#include <string.h>

#include "apiserver/authz.h"
#include "apiserver/roles.h"
#include "base/alloc.h"
#include "base/strv.h"
#include "server/openshift.h"

#define GROUP "authorization.openshift.io"

struct review {
    struct rest_server *s;
    const struct api_request *request;
    const struct rest_target *target;
    yyjson_val *question;
    const char *namespace; /* NULL: none */
    char *resource;        /* as asked, without the subresource */
    struct rest_target asked;
};

static const char *text(yyjson_val *v, const char *path)
{
    const char *t = json_str(v, path);

    return t && *t ? t : NULL;
}

static void read_action(struct review *v)
{
    yyjson_val *q = v->question;
    char *slash;

    v->namespace = v->target->namespace ? v->target->namespace : text(q, "/namespace");
    v->asked =
        (struct rest_target){.verb = json_str_or(q, "/verb", ""), .group = json_str_or(q, "/resourceAPIGroup", "")};
    if (json_bool(q, "/isNonResourceURL", false)) {
        v->asked.path = json_str_or(q, "/path", "");
        return;
    }
    v->resource = xstrdup(json_str_or(q, "/resource", ""));
    slash = strchr(v->resource, '/');
    if (slash)
        *slash = '\0';
    v->asked.resource = v->resource;
    v->asked.subresource = slash ? slash + 1 : NULL;
    v->asked.namespace = v->namespace;
    v->asked.name = text(q, "/resourceName");
    v->asked.kind = kinds_find(v->s->kinds, v->asked.group, NULL, v->asked.resource);
}

static yyjson_mut_doc *response_of(const struct review *v, const char *kind)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/kind", kind);
    json_set_str(d, "/apiVersion", GROUP "/v1");
    if (v->namespace)
        json_set_str(d, "/namespace", v->namespace);
    return d;
}

/* --- May somebody? --- */

/* Of oneself everybody may ask; of others whoever may ask Kubernetes' question. */
static int check_other(struct review *v, struct gw_error *err)
{
    const struct rest_target t = {
        .verb = "create",
        .group = "authorization.k8s.io",
        .version = "v1",
        .resource = v->target->namespace ? "localsubjectaccessreviews" : "subjectaccessreviews",
        .namespace = v->target->namespace,
    };

    return v->s->authorize(v->s->data, &v->request->user, &t, NULL, NULL, err);
}

static int review_subject(struct review *v, yyjson_mut_doc **ret, struct gw_error *err)
{
    yyjson_val *list = json_at(v->question, "/groups"), *item;
    _cleanup_free_ const char **groups = xnew_n(const char *, yyjson_arr_size(list) + 1);
    struct api_user user = {.name = json_str_or(v->question, "/user", ""), .groups = groups};
    bool self;
    int r = 0;

    json_each(list, item)
        groups[user.n_groups++] = yyjson_get_str(item);
    self = !*user.name && !user.n_groups;
    if (self)
        user = v->request->user;
    else
        r = check_other(v, err);
    if (r < 0)
        return r;
    *ret = response_of(v, "SubjectAccessReviewResponse");
    json_set_bool(*ret, "/allowed", v->s->authorize(v->s->data, &user, &v->asked, NULL, NULL, NULL) == 0);
    return 0;
}

/* --- Who may? --- */

struct who {
    struct strv users, groups;
};

static void add_name(struct strv *names, const char *name)
{
    if (!strv_has(names, name))
        strv_push(names, name);
}

static void note(void *data, bool group, const char *name)
{
    struct who *w = data;

    add_name(group ? &w->groups : &w->users, name);
}

static void set_names(yyjson_mut_doc *d, const char *path, struct strv *names)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    strv_sort(names);
    for (size_t i = 0; i < names->len; i++)
        yyjson_mut_arr_add_strcpy(d, list, names->items[i]);
    json_set(d, path, list);
    strv_done(names);
}

static int review_resource(struct review *v, yyjson_mut_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *resource = xasprintf("%s%s%s", v->resource ? v->resource : "", v->asked.subresource ? "/" : "",
                                              v->asked.subresource ? v->asked.subresource : "");
    const struct rbac_request q = {.verb = v->asked.verb,
                                   .group = v->asked.group,
                                   .resource = v->asked.path ? NULL : resource,
                                   .name = v->asked.name,
                                   .path = v->asked.path};
    struct who w = {0};

    if (v->s->roles) {
        rbac_policy_who(roles_lock(v->s->roles), v->namespace, &q, note, &w);
        roles_unlock(v->s->roles);
    }
    add_name(&w.groups, GROUP_MASTERS); /* who needs no role */
    *ret = response_of(v, "ResourceAccessReviewResponse");
    set_names(*ret, "/users", &w.users);
    set_names(*ret, "/groups", &w.groups);
    json_set_str(*ret, "/evalutionError", ""); /* OpenShift's spelling */
    return 0;
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    struct review v = {.s = s, .request = q, .target = t};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL, *answer = NULL;
    _cleanup_doc_ yyjson_doc *question = NULL;
    int r = streq(t->verb, "create") ? rest_decode(s, q, t->kind, &d, err)
                                     : gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                                                    "the server does not allow this method on the requested resource");

    if (r < 0)
        return r;
    question = yyjson_mut_doc_imut_copy(d, NULL);
    v.question = yyjson_doc_get_root(question);
    read_action(&v);
    r = strstr(t->resource, "subject") ? review_subject(&v, &answer, err) : review_resource(&v, &answer, err);
    if (r == 0)
        api_response_json(response, 201, json_encode(yyjson_mut_doc_get_root(answer)));
    free(v.resource);
    return r;
}

const struct rest_extra access_review_extras[] = {
    {.group = GROUP, .resource = "subjectaccessreviews", .handle = handle},
    {.group = GROUP, .resource = "localsubjectaccessreviews", .handle = handle},
    {.group = GROUP, .resource = "resourceaccessreviews", .handle = handle},
    {.group = GROUP, .resource = "localresourceaccessreviews", .handle = handle},
    {0},
};

#include "apiserver/reviews.h"

#include <string.h>

#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/roles.h"
#include "base/alloc.h"

/* One review under way: who asks, and the document that is question and answer. */
struct review {
    struct rest_server *s;
    const struct api_request *request;
    const struct rest_target *target;
    yyjson_mut_doc *d;
    yyjson_val *root; /* the question */
};

/* --- May somebody do this? --- */

static const char *text_or_null(yyjson_val *v, const char *path)
{
    const char *text = json_str(v, path);

    return text && *text ? text : NULL;
}

static struct rest_target asked_resource(struct rest_server *s, yyjson_val *a)
{
    struct rest_target t = {
        .verb = json_str_or(a, "/verb", ""),
        .group = json_str_or(a, "/group", ""),
        .version = json_str_or(a, "/version", ""),
        .resource = json_str_or(a, "/resource", ""),
        .subresource = text_or_null(a, "/subresource"),
        .namespace = text_or_null(a, "/namespace"),
        .name = text_or_null(a, "/name"),
    };

    t.kind = kinds_find(s->kinds, t.group, NULL, t.resource);
    return t;
}

static struct rest_target asked_path(yyjson_val *a)
{
    return (struct rest_target){.verb = json_str_or(a, "/verb", ""), .group = "", .path = json_str_or(a, "/path", "")};
}

static int invalid(struct review *v, const char *field, const char *value, const char *why, struct gw_error *err)
{
    gw_error_add_cause(err, CAUSE_INVALID, field, "Invalid value: %s: %s", value, why);
    return kind_invalid(v->target->kind, "", err);
}

static void decide(struct review *v, const struct api_user *user, const struct rest_target *asked)
{
    _cleanup_error_ struct gw_error refusal = GW_ERROR_INIT;
    _cleanup_str_ struct str why = {0};
    struct rest_server *s = v->s;
    bool allowed = !s->authorize || s->authorize(s->data, user, asked, NULL, NULL, &refusal) == 0;

    if (allowed)
        authz_why(s, user, asked, &why);
    json_set_bool(v->d, "/status/allowed", allowed);
    if (why.len)
        json_set_str(v->d, "/status/reason", str_text(&why));
}

static int review_access(struct review *v, const struct api_user *user, struct gw_error *err)
{
    yyjson_val *resource = json_at(v->root, "/spec/resourceAttributes"),
               *path = json_at(v->root, "/spec/nonResourceAttributes");
    struct rest_target asked;

    if (!resource == !path)
        return invalid(v, "spec.resourceAttributes", resource ? "{}" : "null",
                       "exactly one of nonResourceAttributes or resourceAttributes must be specified", err);
    asked = resource ? asked_resource(v->s, resource) : asked_path(path);
    decide(v, user, &asked);
    return 0;
}

static int review_self(struct review *v, struct gw_error *err)
{
    return review_access(v, &v->request->user, err);
}

/* The texts stay with the question. */
static int review_subject(struct review *v, struct gw_error *err)
{
    yyjson_val *list = json_at(v->root, "/spec/groups"), *item;
    _cleanup_free_ const char **groups = xnew_n(const char *, yyjson_arr_size(list) + 1);
    struct api_user user = {
        .name = json_str_or(v->root, "/spec/user", ""), .groups = groups, .uid = json_str(v->root, "/spec/uid")};

    json_each(list, item)
        groups[user.n_groups++] = yyjson_get_str(item);
    if (!*user.name && !user.n_groups)
        return invalid(v, "spec.user", "\"\"", "at least one of user or group must be specified", err);
    return review_access(v, &user, err);
}

static int review_local(struct review *v, struct gw_error *err)
{
    const char *namespace = json_str_or(v->root, "/spec/resourceAttributes/namespace", "");
    _cleanup_free_ char *quoted = xasprintf("\"%s\"", namespace);

    if (json_at(v->root, "/spec/nonResourceAttributes"))
        return invalid(v, "spec.nonResourceAttributes", "{}", "disallowed on this kind of request", err);
    if (!streq(namespace, v->target->namespace))
        return invalid(v, "spec.resourceAttributes.namespace", quoted, "must match metadata.namespace", err);
    return review_subject(v, err);
}

/* --- What may I do? --- */

static void add_full_rights(struct review *v, yyjson_mut_val *resources, yyjson_mut_val *paths)
{
    static const char all[] = "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}",
                      anywhere[] = "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}";
    _cleanup_doc_ yyjson_doc *a = yyjson_read(all, sizeof(all) - 1, 0),
                             *b = yyjson_read(anywhere, sizeof(anywhere) - 1, 0);

    yyjson_mut_arr_append(resources, yyjson_val_mut_copy(v->d, yyjson_doc_get_root(a)));
    yyjson_mut_arr_append(paths, yyjson_val_mut_copy(v->d, yyjson_doc_get_root(b)));
}

struct collection {
    yyjson_mut_doc *d;
    yyjson_mut_val *resources, *paths;
};

static bool collect(void *data, const struct rbac_grant *grant)
{
    struct collection *c = data;
    yyjson_val *rule;

    json_each(grant->rules, rule)
        yyjson_mut_arr_append(yyjson_obj_get(rule, "nonResourceURLs") ? c->paths : c->resources,
                              yyjson_val_mut_copy(c->d, rule));
    return true;
}

static int review_rules(struct review *v, struct gw_error *err)
{
    const struct api_user *user = &v->request->user;
    const struct rbac_user who = roles_user(user);
    struct collection c = {v->d, yyjson_mut_arr(v->d), yyjson_mut_arr(v->d)};
    bool agent = *authz_node_of(user) != '\0';

    if (authz_is_master(user))
        add_full_rights(v, c.resources, c.paths);
    else if (v->s->roles) {
        rbac_policy_each(roles_lock(v->s->roles), &who, json_str_or(v->root, "/spec/namespace", ""), collect, &c);
        roles_unlock(v->s->roles);
    }
    json_set(v->d, "/status/resourceRules", c.resources);
    json_set(v->d, "/status/nonResourceRules", c.paths);
    json_set_bool(v->d, "/status/incomplete", agent);
    if (agent)
        json_set_str(v->d, "/status/evaluationError", "an agent's rights follow from what runs on its node");
    return 0;
}

/* --- Who is this? --- */

static yyjson_mut_val *user_info(yyjson_mut_doc *d, const struct api_user *u)
{
    yyjson_mut_val *o = yyjson_mut_obj(d), *groups, *extra = NULL, *values;

    yyjson_mut_obj_add_strcpy(d, o, "username", u->name);
    if (u->uid)
        yyjson_mut_obj_add_strcpy(d, o, "uid", u->uid);
    groups = yyjson_mut_obj_add_arr(d, o, "groups");
    for (size_t i = 0; i < u->n_groups; i++)
        yyjson_mut_arr_add_strcpy(d, groups, u->groups[i]);
    for (size_t i = 0; i < u->n_extra; i++) {
        extra = extra ? extra : yyjson_mut_obj_add_obj(d, o, "extra");
        values = yyjson_mut_obj_get(extra, u->extra[i].key);
        if (!values) {
            values = yyjson_mut_arr(d);
            yyjson_mut_obj_add(extra, yyjson_mut_strcpy(d, u->extra[i].key), values);
        }
        yyjson_mut_arr_add_strcpy(d, values, u->extra[i].value);
    }
    return o;
}

static int review_me(struct review *v, struct gw_error *err)
{
    json_set(v->d, "/status/userInfo", user_info(v->d, &v->request->user));
    return 0;
}

/* spec.audiences, borrowed; NULL if there are none. */
static struct authn_audiences *audiences_of(yyjson_val *root, struct authn_audiences *buf, const char ***ret_items)
{
    yyjson_val *list = json_at(root, "/spec/audiences"), *item;
    const char **items = xnew_n(const char *, yyjson_arr_size(list) + 1);

    *ret_items = items;
    *buf = (struct authn_audiences){.items = items};
    json_each(list, item)
        items[buf->n++] = yyjson_is_str(item) ? yyjson_get_str(item) : "";
    return buf->n ? buf : NULL;
}

static int review_token(struct review *v, struct gw_error *err)
{
    _cleanup_free_ const char **items = NULL;
    struct authn_audiences buf, *asked = audiences_of(v->root, &buf, &items);
    yyjson_mut_val *audiences = yyjson_mut_arr(v->d);
    _cleanup_identity_ struct identity *who = NULL;
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    const char *token = json_str_or(v->root, "/spec/token", "");

    if (!*token)
        return invalid(v, "spec.token", "\"\"", "a token is required", err);
    json_remove(v->d, "/spec/token"); /* the answer need not carry it about */
    if (!v->s->authn || authn_token(v->s->authn, token, asked, &who, &why) < 0) {
        json_set_bool(v->d, "/status/authenticated", false);
        json_set_str(v->d, "/status/error", v->s->authn ? gw_error_message(&why) : "no tokens are known here");
        return 0;
    }
    const struct api_user user = identity_user(who);

    json_set_bool(v->d, "/status/authenticated", true);
    json_set(v->d, "/status/user", user_info(v->d, &user));
    for (size_t i = 0; i < who->audiences.len; i++)
        yyjson_mut_arr_add_strcpy(v->d, audiences, who->audiences.items[i]);
    json_set(v->d, "/status/audiences", audiences);
    return 0;
}

/* --- The requests --- */

static const struct {
    const char *resource;
    int (*answer)(struct review *v, struct gw_error *err);
} reviews[] = {
    {"selfsubjectaccessreviews", review_self},   {"subjectaccessreviews", review_subject},
    {"localsubjectaccessreviews", review_local}, {"selfsubjectrulesreviews", review_rules},
    {"selfsubjectreviews", review_me},           {"tokenreviews", review_token},
};

static int answer(struct review *v, struct gw_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(reviews); i++)
        if (streq(reviews[i].resource, v->target->resource))
            return reviews[i].answer(v, err);
    return gw_error_set(err, GW_INTERNAL_ERROR, "no answer for %s", v->target->resource);
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    struct review v = {.s = s, .request = q, .target = t};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *question = NULL;
    int r;

    if (!streq(t->verb, "create"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    r = rest_decode(s, q, t->kind, &d, err);
    if (r < 0)
        return r;
    question = yyjson_mut_doc_imut_copy(d, NULL);
    v.d = d;
    v.root = yyjson_doc_get_root(question);
    json_remove(d, "/status");
    if (!json_mut_at(d, "/metadata"))
        json_set(d, "/metadata", yyjson_mut_obj(d));
    r = answer(&v, err);
    if (r == 0)
        api_response_json(response, 201, json_encode(yyjson_mut_doc_get_root(d)));
    return r;
}

const struct rest_extra review_extras[] = {
    {.group = "authorization.k8s.io", .resource = "selfsubjectaccessreviews", .handle = handle},
    {.group = "authorization.k8s.io", .resource = "subjectaccessreviews", .handle = handle},
    {.group = "authorization.k8s.io", .resource = "localsubjectaccessreviews", .handle = handle},
    {.group = "authorization.k8s.io", .resource = "selfsubjectrulesreviews", .handle = handle},
    {.group = "authentication.k8s.io", .resource = "selfsubjectreviews", .handle = handle},
    {.group = "authentication.k8s.io", .resource = "tokenreviews", .handle = handle},
    {0},
};

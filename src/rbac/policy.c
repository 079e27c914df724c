/* A request is decided by looking up its user and groups, not by going through all bindings: the index leads from
 * "NAMESPACE \n KIND NAME" of a subject to the bindings that name it (no namespace for cluster-wide ones). A service
 * account is the user that its tokens name. */
#include "rbac/rbac.h"

#include <string.h>

#include "api/meta.h"
#include "base/map.h"
#include "base/vec.h"

#define KIND_USER 'u'
#define KIND_GROUP 'g'

struct bound {
    yyjson_val *binding, *subject;
};
VEC_DEFINE(bound_vec, struct bound);

struct rbac_policy {
    struct map *objects;  /* key -> yyjson_doc */
    struct map *roles;    /* "NAMESPACE/NAME" -> the role, borrowed */
    struct map *subjects; /* -> struct bound_vec */
};

static void free_doc(void *doc)
{
    yyjson_doc_free(doc);
}

static void free_bound(void *data)
{
    struct bound_vec *v = data;

    bound_vec_done(v);
    free(v);
}

struct rbac_policy *rbac_policy_new(void)
{
    struct rbac_policy *p = xnew(struct rbac_policy);

    p->objects = map_new(free_doc);
    p->roles = map_new(NULL);
    p->subjects = map_new(free_bound);
    return p;
}

struct rbac_policy *rbac_policy_free(struct rbac_policy *p)
{
    if (!p)
        return NULL;
    map_free(p->subjects);
    map_free(p->roles);
    map_free(p->objects);
    free(p);
    return NULL;
}

/* --- The index --- */

static const char *index_key(struct str *key, const char *namespace, char kind, const char *name)
{
    key->len = 0;
    str_puts(key, namespace);
    str_putc(key, '\n');
    str_putc(key, kind);
    str_puts(key, name);
    return str_text(key);
}

/* The index key of a subject; NULL for one that nobody can be. */
static const char *subject_key(struct str *key, const char *namespace, yyjson_val *subject)
{
    const char *kind = json_str_or(subject, "/kind", ""), *name = json_str_or(subject, "/name", "");

    if (streq(kind, "User"))
        return index_key(key, namespace, KIND_USER, name);
    if (streq(kind, "Group"))
        return index_key(key, namespace, KIND_GROUP, name);
    if (!streq(kind, "ServiceAccount"))
        return NULL;

    _cleanup_free_ char *user = xasprintf("system:serviceaccount:%s:%s", json_str_or(subject, "/namespace", ""), name);

    return index_key(key, namespace, KIND_USER, user);
}

static void add_subject(struct rbac_policy *p, const char *key, yyjson_val *binding, yyjson_val *subject)
{
    struct bound_vec *v = map_get(p->subjects, key);

    if (!v) {
        v = xnew(struct bound_vec);
        map_put(p->subjects, key, v);
    }
    bound_vec_push(v, (struct bound){binding, subject});
}

static void remove_subject(struct rbac_policy *p, const char *key, yyjson_val *binding)
{
    struct bound_vec *v = map_get(p->subjects, key);

    for (size_t i = v ? v->len : 0; i-- > 0;)
        if (v->items[i].binding == binding)
            bound_vec_remove(v, i);
    if (v && v->len == 0)
        map_remove(p->subjects, key);
}

static void index_binding(struct rbac_policy *p, yyjson_val *binding, bool add)
{
    _cleanup_str_ struct str buf = {0};
    yyjson_val *subject;

    json_each(json_at(binding, "/subjects"), subject) {
        const char *key = subject_key(&buf, meta_namespace(binding), subject);

        if (key && add)
            add_subject(p, key, binding, subject);
        else if (key)
            remove_subject(p, key, binding);
    }
}

static void index_role(struct rbac_policy *p, yyjson_val *role, bool add)
{
    _cleanup_free_ char *key = xasprintf("%s/%s", meta_namespace(role), meta_name(role));

    if (add)
        map_put(p->roles, key, role);
    else
        map_remove(p->roles, key);
}

static void index_object(struct rbac_policy *p, yyjson_val *object, bool add)
{
    if (str_ends(json_str_or(object, "/kind", ""), "Binding"))
        index_binding(p, object, add);
    else
        index_role(p, object, add);
}

void rbac_policy_remove(struct rbac_policy *p, const char *key)
{
    yyjson_doc *doc = map_get(p->objects, key);

    if (!doc)
        return;
    index_object(p, yyjson_doc_get_root(doc), false);
    map_remove(p->objects, key);
}

void rbac_policy_put(struct rbac_policy *p, const char *key, yyjson_doc *doc)
{
    rbac_policy_remove(p, key);
    map_put(p->objects, key, doc);
    index_object(p, yyjson_doc_get_root(doc), true);
}

/* --- Questions --- */

static yyjson_val *find_role(const struct rbac_policy *p, const char *namespace, const char *name)
{
    _cleanup_free_ char *key = xasprintf("%s/%s", namespace, name);

    return map_get(p->roles, key);
}

bool rbac_policy_has_role(const struct rbac_policy *p, const char *namespace, const char *name)
{
    return find_role(p, namespace, name) != NULL;
}

yyjson_val *rbac_policy_rules(const struct rbac_policy *p, const char *namespace, const char *name)
{
    return json_at(find_role(p, namespace, name), "/rules");
}

struct walk {
    const struct rbac_policy *policy;
    rbac_visit_fn *visit;
    void *data;
    struct str key;
};

/* A binding to a role that is absent gives nothing, until the role is there. */
static yyjson_val *rules_of(const struct rbac_policy *p, yyjson_val *binding)
{
    bool role = streq(json_str_or(binding, "/roleRef/kind", ""), "Role");

    return rbac_policy_rules(p, role ? meta_namespace(binding) : "", json_str_or(binding, "/roleRef/name", ""));
}

static bool visit_subject(struct walk *w, const char *namespace, char kind, const char *name)
{
    const struct bound_vec *v = map_get(w->policy->subjects, index_key(&w->key, namespace, kind, name));

    for (size_t i = 0; v && i < v->len; i++) {
        struct rbac_grant g = {v->items[i].binding, v->items[i].subject, NULL};

        g.rules = rules_of(w->policy, g.binding);
        if (g.rules && !w->visit(w->data, &g))
            return false;
    }
    return true;
}

static bool visit_scope(struct walk *w, const struct rbac_user *u, const char *namespace)
{
    if (!visit_subject(w, namespace, KIND_USER, u->name))
        return false;
    for (size_t i = 0; i < u->n_groups; i++)
        if (!visit_subject(w, namespace, KIND_GROUP, u->groups[i]))
            return false;
    return true;
}

void rbac_policy_each(const struct rbac_policy *p, const struct rbac_user *user, const char *namespace,
                      rbac_visit_fn *visit, void *data)
{
    struct walk w = {.policy = p, .visit = visit, .data = data};

    if (visit_scope(&w, user, "") && namespace && *namespace)
        (void)visit_scope(&w, user, namespace);
    str_done(&w.key);
}

struct search {
    const struct rbac_request *q;
    struct rbac_grant *ret;
    bool found;
};

static bool look_into(void *data, const struct rbac_grant *grant)
{
    struct search *s = data;

    s->found = rbac_rules_allow(grant->rules, s->q);
    if (s->found && s->ret)
        *s->ret = *grant;
    return !s->found;
}

bool rbac_policy_allows(const struct rbac_policy *p, const struct rbac_user *user, const char *namespace,
                        const struct rbac_request *q, struct rbac_grant *ret)
{
    struct search s = {.q = q, .ret = ret};

    rbac_policy_each(p, user, namespace, look_into, &s);
    return s.found;
}

static bool is_granted(const struct rbac_policy *p, const struct bound_vec *v, const struct rbac_request *q)
{
    VEC_EACH(v, b)
        if (rbac_rules_allow(rules_of(p, b->binding), q))
            return true;
    return false;
}

void rbac_policy_who(const struct rbac_policy *p, const char *namespace, const struct rbac_request *q,
                     rbac_who_fn *visit, void *data)
{
    const char *key;
    size_t cursor = 0;
    struct bound_vec *v;

    while (map_next(p->subjects, &cursor, &key, (void **)&v)) {
        const char *subject = strchr(key, '\n') + 1;
        size_t len = (size_t)(subject - key - 1);
        bool here = len == 0 || (namespace && strlen(namespace) == len && strncmp(namespace, key, len) == 0);

        if (here && is_granted(p, v, q))
            visit(data, *subject == KIND_GROUP, subject + 1);
    }
}

void rbac_grant_text(struct str *out, const struct rbac_grant *g)
{
    const char *namespace = meta_namespace(g->binding), *account = json_str(g->subject, "/namespace");

    str_printf(out, "RBAC: allowed by %s \"%s%s%s\" of %s \"%s\" to %s \"%s%s%s\"",
               json_str_or(g->binding, "/kind", ""), meta_name(g->binding), *namespace ? "/" : "", namespace,
               json_str_or(g->binding, "/roleRef/kind", ""), json_str_or(g->binding, "/roleRef/name", ""),
               json_str_or(g->subject, "/kind", ""), json_str_or(g->subject, "/name", ""), account ? "/" : "",
               account ? account : "");
}

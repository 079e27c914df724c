/* What an agent may do: a table of resources and verbs, each with a test of the object in question. An object is tested
 * as it is before the request is worked on, so that nothing can be learned from how a forbidden request fails, and
 * again as it would become. Lists and watches are judged by their selectors, because they are filtered after this. */
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "api/selector.h"
#include "api/volumes.h"
#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/str.h"

enum {
    GET = 1 << 0,
    LIST = 1 << 1,
    WATCH = 1 << 2,
    CREATE = 1 << 3,
    UPDATE = 1 << 4,
    PATCH = 1 << 5,
    DELETE = 1 << 6,
    READ = GET | LIST | WATCH,
    WRITE = CREATE | UPDATE | PATCH,
};

static const struct {
    const char *name;
    unsigned bit;
} verbs[] = {
    {"get", GET},       {"list", LIST},   {"watch", WATCH},   {"create", CREATE},
    {"update", UPDATE}, {"patch", PATCH}, {"delete", DELETE},
};

struct check {
    struct rest_server *s;
    const char *node;
    const struct api_user *user;
    const struct rest_target *target;
};

/* --- Tests of one object --- */

static bool is_own_name(const struct check *c, yyjson_val *object)
{
    return streq(meta_name(object), c->node);
}

static bool is_own_lease(const struct check *c, yyjson_val *object)
{
    return streq(meta_namespace(object), "kube-node-lease") && streq(meta_name(object), c->node);
}

static bool is_bound_here(const struct check *c, yyjson_val *pod)
{
    return streq(json_str_or(pod, "/spec/nodeName", ""), c->node);
}

static bool is_own_request(const struct check *c, yyjson_val *csr)
{
    return streq(json_str_or(csr, "/spec/username", ""), c->user->name);
}

/* What every agent needs of the authorities. No volume of a VMI is made from a ConfigMap. */
static bool is_authorities(const struct check *c, yyjson_val *config_map)
{
    return streq(meta_namespace(config_map), "kube-system") && streq(meta_name(config_map), "godwit-ca");
}

static bool vmi_concerns(const struct check *c, yyjson_val *vmi)
{
    return authz_vmi_concerns(c->s, c->node, vmi);
}

static bool is_secret_needed(const struct check *c, yyjson_val *secret)
{
    return authz_needs_secret(c->s, c->node, meta_namespace(secret), meta_name(secret));
}

static bool is_claim_needed(const struct check *c, yyjson_val *claim)
{
    return authz_needs_claim(c->s, c->node, meta_namespace(claim), meta_name(claim));
}

/* A volume by the claim that it is bound to. */
static bool is_volume_needed(const struct check *c, yyjson_val *volume)
{
    yyjson_val *claim = json_at(volume, "/spec/claimRef");

    return claim &&
           authz_needs_claim(c->s, c->node, json_str_or(claim, "/namespace", ""), json_str_or(claim, "/name", ""));
}

/* client/events.c writes both; an agent speaks for nobody else. */
static bool is_own_event(const struct check *c, yyjson_val *event)
{
    return streq(json_str_or(event, "/source/host", ""), c->node) &&
           streq(json_str_or(event, "/reportingInstance", ""), c->node);
}

/* --- Tests of selectors --- */

static bool selects_field(const struct check *c, const char *field, const char *value)
{
    const char *const allowed[] = {"metadata.name",   "metadata.namespace", "spec.nodeName",
                                   "status.nodeName", "status.phase",       NULL};
    struct field_selector *fs = NULL;
    const char *exact;
    bool yes;

    if (!c->target->field_selector || field_selector_parse(c->target->field_selector, allowed, &fs, NULL) < 0)
        return false;
    exact = field_selector_exact(fs, field);
    yes = exact && (!value || streq(exact, value));
    field_selector_free(fs);
    return yes;
}

static bool selects_own_name(const struct check *c)
{
    return selects_field(c, "metadata.name", c->node);
}

static bool selects_authorities(const struct check *c)
{
    return str_same(c->target->namespace, "kube-system") && selects_field(c, "metadata.name", "godwit-ca");
}

static bool selects_bound_here(const struct check *c)
{
    return selects_field(c, "spec.nodeName", c->node);
}

/* One of the requirements is KEY=VALUE. Sets ("in (...)") are not looked into. */
static bool selects_label(const struct check *c, const char *key, const char *value)
{
    _cleanup_free_ char *want = xasprintf("%s=%s", key, value);
    const char *s = c->target->label_selector;

    if (!s || strchr(s, '('))
        return false;
    for (size_t len; *s; s += len + (s[len] == ',')) {
        len = strcspn(s, ",");
        if (len == strlen(want) && memcmp(s, want, len) == 0)
            return true;
    }
    return false;
}

/* The object that "metadata.name=NAME" selects, tested as if it had been asked for by name. */
static bool selects_one_that(const struct check *c, bool (*test)(const struct check *, yyjson_val *))
{
    const char *const allowed[] = {"metadata.name", "metadata.namespace", NULL};
    struct field_selector *fs = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    const char *name;
    bool yes = false;

    if (!c->target->field_selector || field_selector_parse(c->target->field_selector, allowed, &fs, NULL) < 0)
        return false;
    name = field_selector_exact(fs, "metadata.name");
    if (name && (!c->target->kind->namespaced || c->target->namespace) &&
        rest_read(c->s, c->target->kind, c->target->namespace, name, &doc, NULL) == 0)
        yes = test(c, yyjson_doc_get_root(doc));
    field_selector_free(fs);
    return yes;
}

static bool selects_own_request(const struct check *c)
{
    return selects_one_that(c, is_own_request);
}

/* As KubeVirt's node daemon watches: by the labels of the two nodes of a VMI. */
static bool selects_vmis_here(const struct check *c)
{
    return selects_label(c, "kubevirt.io/nodeName", c->node) ||
           selects_label(c, "kubevirt.io/migrationTargetNodeName", c->node) ||
           selects_field(c, "status.nodeName", c->node) || selects_one_that(c, vmi_concerns);
}

/* An agent hears when the folder of a volume is to go: of those of its node, and of those that all nodes see. */
static bool selects_volumes_here(const struct check *c)
{
    return selects_label(c, LABEL_VOLUME_NODE, c->node) || selects_label(c, LABEL_VOLUME_PLACE, PLACE_SHARED);
}

/* --- The table --- */

struct rule {
    const char *group, *resource, *subresource;
    unsigned verbs;
    bool (*concerns)(const struct check *, yyjson_val *object); /* NULL: every object */
    bool (*selects)(const struct check *);                      /* for list and watch; NULL: any selector */
    const char *why;
};

#define ONLY_OWN "an agent may only do this for its own node"
#define ONLY_BOUND "an agent may only do this for pods bound to its node (list and watch them by spec.nodeName)"
#define ONLY_CONCERNED \
    "an agent may only do this for VMIs on its node or on their way from or to it (list and watch them by the label " \
    "kubevirt.io/nodeName or kubevirt.io/migrationTargetNodeName)"
#define ONLY_NAMED(what) "an agent may only read " what " that a VMI on its node names"
#define ONLY_REQUESTER "an agent may only see to its own certificate requests"
#define VMIS "virtualmachineinstances"

static const struct rule rules[] = {
    {"", "nodes", NULL, READ | WRITE, is_own_name, selects_own_name, ONLY_OWN},
    {"", "nodes", "status", GET | UPDATE | PATCH, is_own_name, NULL, ONLY_OWN},
    {"metrics.k8s.io", "nodes", "status", UPDATE, NULL, NULL, NULL}, /* server/metrics.c looks whose it is */
    {"coordination.k8s.io", "leases", NULL, GET | WRITE | DELETE, is_own_lease, NULL,
     "an agent may only do this for the Lease of its own node in kube-node-lease"},
    {"godwit.io", "nodenetworks", NULL, READ, NULL, NULL, NULL},
    {"godwit.io", "nodenetworks", NULL, WRITE | DELETE, is_own_name, NULL, ONLY_OWN},
    {"godwit.io", "nodenetworks", "status", GET | UPDATE | PATCH, is_own_name, NULL, ONLY_OWN},
    {"", "pods", NULL, READ | DELETE, is_bound_here, selects_bound_here, ONLY_BOUND},
    {"", "pods", "status", GET | UPDATE | PATCH, is_bound_here, NULL, ONLY_BOUND},
    {"kubevirt.io", VMIS, NULL, READ | UPDATE | PATCH, vmi_concerns, selects_vmis_here, ONLY_CONCERNED},
    {"kubevirt.io", VMIS, "status", GET | UPDATE | PATCH, vmi_concerns, NULL, ONLY_CONCERNED},
    {"", "persistentvolumeclaims", NULL, GET, is_claim_needed, NULL, ONLY_NAMED("claims")},
    {"", "persistentvolumes", NULL, GET, is_volume_needed, NULL, ONLY_NAMED("volumes of claims")},
    {"", "persistentvolumes", NULL, LIST | WATCH, NULL, selects_volumes_here,
     "an agent may only list and watch volumes by the label " LABEL_VOLUME_NODE
     " with its own node, or " LABEL_VOLUME_PLACE "=" PLACE_SHARED},
    {"", "configmaps", NULL, READ, is_authorities, selects_authorities,
     "an agent may only read ConfigMap kube-system/godwit-ca"},
    {"", "secrets", NULL, GET, is_secret_needed, NULL, ONLY_NAMED("Secrets")},
    {"", "events", NULL, WRITE, is_own_event, NULL,
     "an agent may only write Events whose source.host and reportingInstance are its node"},
    {"authentication.k8s.io", "selfsubjectreviews", NULL, CREATE, NULL, NULL, NULL},
    {"authorization.k8s.io", "selfsubjectaccessreviews", NULL, CREATE, NULL, NULL, NULL},
    {"certificates.k8s.io", "certificatesigningrequests", NULL, CREATE | READ | DELETE, is_own_request,
     selects_own_request, ONLY_REQUESTER},
};

static unsigned verb_bit(const char *verb)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (streq(verbs[i].name, verb))
            return verbs[i].bit;
    return 0;
}

static const struct rule *find_rule(const struct rest_target *t, unsigned verb)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (streq(rules[i].group, t->group) && streq(rules[i].resource, t->resource) &&
            str_same(rules[i].subresource, t->subresource) && (rules[i].verbs & verb))
            return &rules[i];
    return NULL;
}

/* An agent describes its node, but does not decide what may run there, nor whether the node counts as dead. */
static bool keeps_node_spec(const struct rest_target *t, yyjson_val *old, yyjson_val *object)
{
    return !streq(t->resource, "nodes") || !old || !object ||
           json_equal(json_at(old, "/spec"), json_at(object, "/spec"));
}

/* Before anything is read by the request itself. */
static bool may_try(const struct check *c, const struct rule *rule, unsigned verb)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (verb & (LIST | WATCH))
        return !rule->selects || rule->selects(c);
    if (!rule->concerns || !c->target->name || !c->target->kind)
        return true; /* a create: judged when the object is known */
    if (rest_read(c->s, c->target->kind, c->target->namespace, c->target->name, &doc, NULL) < 0)
        return true; /* absent: let it be said */
    return rule->concerns(c, yyjson_doc_get_root(doc));
}

static bool allows(const struct check *c, const struct rule *rule, unsigned verb, yyjson_val *old, yyjson_val *object)
{
    if (!old && !object)
        return may_try(c, rule, verb);
    if (!rule->concerns)
        return true;
    return (!old || rule->concerns(c, old)) && (!object || rule->concerns(c, object));
}

int authz_check_node(struct rest_server *s, const char *node, const struct api_user *user,
                     const struct rest_target *target, yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    const struct check c = {s, node, user, target};
    unsigned verb = verb_bit(target->verb);
    const struct rule *rule = find_rule(target, verb);

    if (!rule)
        return rest_forbid(user, target, NULL, err);
    if (!allows(&c, rule, verb, old, object))
        return rest_forbid(user, target, rule->why, err);
    if (!keeps_node_spec(target, old, object))
        return rest_forbid(user, target, "an agent may not change spec of its Node (taints, unschedulable)", err);
    return authz_is_vmi(target) && old && object ? authz_check_vmi(s, node, user, target, old, object, err) : 0;
}

/* Roles as pure logic: what rules allow, whether they cover others, and which rules somebody has. Rules are read in the
 * JSON of PolicyRule (kinds/defs/policyrule.yaml), as objects carry them. */
#pragma once

#include "base/json.h"
#include "base/str.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* What somebody asks for: a resource, or a path that is none. */
struct rbac_request {
    const char *verb;
    const char *group;    /* "" for core */
    const char *resource; /* "pods", "pods/log"; NULL: a path */
    const char *name;     /* NULL = none in particular */
    const char *path;     /* "/version" */
};

/* --- rules.c --- */

bool rbac_rule_allows(yyjson_val *rule, const struct rbac_request *q);
bool rbac_rules_allow(yyjson_val *rules, const struct rbac_request *q);

/* Whether everything that rule could allow is allowed by `allows`. A wildcard is covered by a wildcard only. */
typedef bool rbac_allows_fn(void *data, const struct rbac_request *q);
bool rbac_rule_covered(yyjson_val *rule, rbac_allows_fn *allows, void *data);

/* Those of wanted that have does not cover, appended to the list `out` in d. */
void rbac_rules_missing(yyjson_val *have, yyjson_val *wanted, yyjson_mut_doc *d, yyjson_mut_val *out);

/* Appends {APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}, as Kubernetes shows rules in messages. */
void rbac_rule_text(struct str *out, yyjson_val *rule);

/* --- aggregate.c --- */

/* The rules that flow together in a ClusterRole: those of the n roles (sorted by name) that its aggregationRule
 * selects, each once. A list made in d; NULL if the role has no aggregationRule. */
yyjson_mut_val *rbac_aggregate(yyjson_mut_doc *d, yyjson_val *role, yyjson_val *const *roles, size_t n);

/* --- policy.c: all roles and bindings, indexed by who is bound. Not for several threads at once. --- */

struct rbac_policy;

struct rbac_policy *rbac_policy_new(void);
struct rbac_policy *rbac_policy_free(struct rbac_policy *p);
DEFINE_CLEANUP(struct rbac_policy *, rbac_policy_free)

/* Takes in a Role, ClusterRole, RoleBinding or ClusterRoleBinding (whole objects, with kind), in place of what was put
 * under that key; and takes one out. The document belongs to the policy. */
void rbac_policy_put(struct rbac_policy *p, const char *key, yyjson_doc *doc);
void rbac_policy_remove(struct rbac_policy *p, const char *key);

struct rbac_user {
    const char *name;
    const char *const *groups;
    size_t n_groups;
};

/* A role that somebody has: by which binding, as which of its subjects. Valid until the policy changes. */
struct rbac_grant {
    yyjson_val *binding, *subject, *rules;
};

/* Calls visit for each role that the user has everywhere, then for each that he has in namespace (NULL or "": none),
 * until visit returns false. */
typedef bool rbac_visit_fn(void *data, const struct rbac_grant *grant);
void rbac_policy_each(const struct rbac_policy *p, const struct rbac_user *user, const char *namespace,
                      rbac_visit_fn *visit, void *data);

/* Whether the user may; ret (may be NULL) gets by which grant. */
bool rbac_policy_allows(const struct rbac_policy *p, const struct rbac_user *user, const char *namespace,
                        const struct rbac_request *q, struct rbac_grant *ret);

/* Calls visit for each user and group that may, everywhere or in namespace (NULL: everywhere), in no order. */
typedef void rbac_who_fn(void *data, bool group, const char *name);
void rbac_policy_who(const struct rbac_policy *p, const char *namespace, const struct rbac_request *q,
                     rbac_who_fn *visit, void *data);

/* Whether there is a Role in namespace, or with namespace "" a ClusterRole; and its rules, NULL if it has none. */
bool rbac_policy_has_role(const struct rbac_policy *p, const char *namespace, const char *name);
yyjson_val *rbac_policy_rules(const struct rbac_policy *p, const char *namespace, const char *name);

/* Appends `RBAC: allowed by RoleBinding "kvmigrate/demo" of ClusterRole "kubevirt.io:migrate" to User "alice"`. */
void rbac_grant_text(struct str *out, const struct rbac_grant *grant);

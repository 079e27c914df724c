/* Authorization: administrators and the controllers may do all, agents what authz_node.c lists, those who bring a
 * bootstrap token may ask for a certificate; everybody else has what roles and bindings give (roles.h). */
#pragma once

#include "apiserver/identity.h"
#include "apiserver/rest.h"

#define GROUP_MASTERS "system:masters"
#define GROUP_CONTROLLERS "system:godwit:controllers"
#define GROUP_NODES "system:nodes"
#define GROUP_BOOTSTRAPPERS "system:bootstrappers"
#define NODE_USER_PREFIX "system:node:"

/* rest_authorize_fn; data is the struct rest_server. */
int authz_check(void *data, const struct api_user *user, const struct rest_target *target, yyjson_val *old,
                yyjson_val *object, struct gw_error *err);

/* Appends by which binding a user may what authz_check allowed him; nothing where it took none. */
void authz_why(struct rest_server *s, const struct api_user *user, const struct rest_target *target, struct str *out);

/* Whether one has all rights by a group of his, not by roles: administrators and controllers. */
bool authz_is_master(const struct api_user *user);

/* escalation.c: whether user, who may write this role or binding, gives nobody a right by it that he lacks himself. */
int authz_check_escalation(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                           yyjson_val *old, yyjson_val *object, struct gw_error *err);

/* The node whose agent user is ("" if it is none): name system:node:NODE in group system:nodes. */
const char *authz_node_of(const struct api_user *user);

/* authz_node.c: the same for the agent of node. */
int authz_check_node(struct rest_server *s, const char *node, const struct api_user *user,
                     const struct rest_target *target, yyjson_val *old, yyjson_val *object, struct gw_error *err);

/* authz_vmi.c: which fields of a VMI the agent of node (NULL: the controllers) may change (ownership.h). */
int authz_check_vmi(struct rest_server *s, const char *node, const struct api_user *user,
                    const struct rest_target *target, yyjson_val *old, yyjson_val *object, struct gw_error *err);
bool authz_is_vmi(const struct rest_target *target);

/* authz_claim.c: whether the controllers may give a claim to another VMI. */
int authz_check_claim(struct rest_server *s, const struct api_user *user, const struct rest_target *target,
                      yyjson_val *old, yyjson_val *object, struct gw_error *err);
bool authz_is_claim(const struct rest_target *target);

/* The stored object, noted as what the write rests on (facts may be NULL); *ret is NULL if it is absent. Negative: not
 * to be known. The caller frees *ret. */
int authz_read(struct rest_server *s, struct store_facts *facts, const struct kind *kind, const char *ns,
               const char *name, yyjson_doc **ret);

/* --- authz_concern.c --- */

/* A launcher pod of the VMI is bound to node. */
bool authz_has_pod(struct rest_server *s, const char *node, yyjson_val *vmi);

/* Whether the VMI runs on node, moves from or to it, or has a launcher pod there. */
bool authz_vmi_concerns(struct rest_server *s, const char *node, yyjson_val *vmi);

/* Whether a VMI that concerns node names this Secret, or this claim. */
bool authz_needs_secret(struct rest_server *s, const char *node, const char *namespace, const char *name);
bool authz_needs_claim(struct rest_server *s, const char *node, const char *namespace, const char *name);

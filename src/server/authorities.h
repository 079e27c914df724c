/* Roll-over of the two authorities while everything runs (docs/security.md, "Another authority"). An operator begins
 * and finishes it; between, the server itself lets the new one sign as soon as every agent says that it trusts it.
 *
 * What is known of agents is what they say in their Node's annotation godwit.io/authorities (agent/node/authorities.c).
 * An agent that lies harms itself: it is the one that is cut off. */
#pragma once

#include "apiserver/rest.h"
#include "pki/authority.h"

struct authorities;

/* changed is called (on any thread, never twice at a time) after each step. The authorities must outlive this. */
struct authorities *authorities_new(struct rest_server *rest, struct pki_authority *cluster,
                                    struct pki_authority *migration, void (*changed)(void *userdata), void *userdata);
struct authorities *authorities_free(struct authorities *a);

/* PEM of whom to trust for the cluster; stays valid, and is another pointer when it has changed. */
const char *authorities_bundle(const struct authorities *a);

/* Publishes the certificates in ConfigMap kube-system/godwit-ca. */
int authorities_publish(struct authorities *a, struct gw_error *err);

/* What is due of itself: the next step if all agents are ready for it, a publication that failed. Cheap when nothing
 * is. Negative: to be tried again. */
int authorities_tick(struct authorities *a, struct gw_error *err);

/* Notes that a user came with a certificate of the old authority of the cluster: status tells the operator for whom a
 * kubeconfig is to be made anew. Any thread. */
void authorities_note_user(struct authorities *a, const char *user);

/* Signs with the authority that issues now. */
int authorities_issue(struct authorities *a, const char *csr_pem, const struct pki_subject *subject, unsigned usages,
                      int64_t lifetime_s, char **ret_cert_pem, struct gw_error *err);

/* The same with the migration authority that this migration uses: both its sides get certificates of the same one, for
 * a QEMU reads once, when it is made, whom it trusts. */
int authorities_issue_migration(struct authorities *a, const char *migration_uid, const char *csr_pem,
                                const struct pki_subject *subject, unsigned usages, int64_t lifetime_s,
                                char **ret_cert_pem, struct gw_error *err);

/* certificateauthorities.godwit.io: get, list; create on .../rotate with {"step": "begin", "finish" or "abort"}. */
extern const struct rest_extra authority_extras[];

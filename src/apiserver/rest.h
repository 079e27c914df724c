/* The resource API: one request in, one answer out. Generic over the kinds of src/api; blocking, without sockets, and
 * with a clock that is given, so that the HTTP server, unit tests and simulations in virtual time all use it as it is.
 *
 * Served here: /api/v1/... and /apis/GROUP/VERSION/... for get, list, watch, create, update, patch, delete and
 * deletecollection of all registered kinds, their status (and namespaces' finalize) subresources, pods' binding, and
 * what is in `extras`. Discovery, OpenAPI, /version and /healthz are handled before (discovery.h, openapi.h). */
#pragma once

#include "api/kind.h"
#include "api/rules.h"
#include "apiserver/request.h"
#include "apiserver/watch.h"
#include "store/store.h"

VEC_DEFINE(doc_vec, yyjson_doc *);

struct agents;
struct authorities;
struct authn;
struct jwt_key;
struct metrics;
struct pki_authority;
struct roles;
struct rest_server;

/* What is asked for, as the path and method say. Texts live as long as the request. */
struct rest_target {
    const char *verb;  /* get list watch create update patch delete deletecollection */
    const char *group; /* "" for core */
    const char *version;
    const char *resource;       /* plural */
    const char *subresource;    /* all that stands behind the name: "status", "evacuate/cancel"; NULL = none */
    const char *below;          /* behind that, for extras that take it: "22/tcp" of portforward/22/tcp. Or "" */
    const char *namespace;      /* NULL = all namespaces, or a cluster-scoped kind */
    const char *name;           /* NULL = the collection */
    const char *label_selector; /* of the query, as sent but decoded; NULL = none */
    const char *field_selector;
    const struct kind *kind;   /* NULL only for extras that are no kind */
    const char *path;          /* of what is no resource, such as /version: then verb is all there is besides */
    struct store_facts *facts; /* authorization adds which other objects its answer rests on; NULL: nobody asks */
};

/* Authorization: 0, or negative with err filled (rest_forbid words it). Called once for each request with object and
 * old NULL, before anything is read; and for create, update and patch once more when the outcome is known, with the
 * object as it would be stored (apiVersion and kind included) and, unless it is a create, with the one it replaces; for
 * delete with old alone. */
typedef int rest_authorize_fn(void *data, const struct api_user *user, const struct rest_target *target,
                              yyjson_val *old, yyjson_val *object, struct gw_error *err);

/* A resource or subresource with a handler of its own: POST pods/NAME/eviction, PUT virtualmachines/NAME/start,
 * reviews. Of a kind with objects it takes only the verbs that it names (DELETE projects/NAME). The request is
 * authorized already. The handler fills the response, or returns negative with err filled. It may use rest_handle for
 * what it does in turn, as a user of its choice. */
struct rest_extra {
    const char *group;
    const char *resource;
    const char *subresource; /* NULL: the resource itself, which is no kind */
    /* For discovery: the kind of its bodies, and its verbs ("get patch update"). kind NULL: not announced. kind_group
     * and kind_version say where that kind is from, if not from the resource's own group and version. A resource that
     * is no kind says its version and scope as well, and is served in that version only. */
    const char *kind;
    const char *kind_group;
    const char *kind_version;
    const char *verbs;
    const char *version;
    bool namespaced;
    bool takes_below;
    const char *refused; /* why Godwit does not have it, and what to do instead: Forbidden with that; handle is NULL */
    int (*handle)(struct rest_server *s, const struct api_request *request, const struct rest_target *target,
                  struct api_response *response, struct gw_error *err);
};

struct rest_server {
    struct store *store;
    struct kinds *kinds;
    struct watch_hub *hub;
    int64_t (*now)(void *data);   /* wall clock, ms since the epoch */
    rest_authorize_fn *authorize; /* NULL: everything is allowed */
    const struct rest_extra *const
        *extras; /* NULL-terminated list of tables, each ended by a row without resource; or NULL */
    const struct pki_authority *migration_authority; /* of grants' proofs (ownership.h); NULL: none is accepted */
    const struct jwt_key *token_key; /* of service accounts' tokens (account_token.h); NULL: there are none */
    struct authn *authn;             /* for TokenReview; NULL: no token is known */
    struct roles *roles;             /* who may do what (authz.h); NULL: nobody has a role */
    struct agents *agents;           /* how extras reach the nodes' agents; NULL: they are out of reach */
    struct authorities *authorities; /* roll-overs (server/authorities.h); NULL where there are none */
    struct metrics *metrics;         /* what agents measured (server/metrics.h); NULL where it is not served */
    void *data;                      /* what now() and authorize() are called with */
};

/* Answers request; never fails, because a failure is an answer too. response must be empty. */
void rest_handle(struct rest_server *s, const struct api_request *request, struct api_response *response);

/* The body of a request as an object of kind, whatever its encoding: pruned, with defaults, and as the schema wants it.
 * For handlers of extras; nothing is asked of its name. */
int rest_decode(struct rest_server *s, const struct api_request *request, const struct kind *kind, yyjson_mut_doc **ret,
                struct gw_error *err);

/* The body of a request of whatever shape and encoding as JSON; nothing is asked of it. */
int rest_body(struct rest_server *s, const struct api_request *request, yyjson_doc **ret, struct gw_error *err);

/* Fills err: 'virtualmachines.kubevirt.io "a" is forbidden: User "u" cannot get resource "virtualmachines" in API group
 * "kubevirt.io" in the namespace "default"', and ": why" behind it unless why is NULL. */
int rest_forbid(const struct api_user *user, const struct rest_target *target, const char *why, struct gw_error *err);

/* The namespace by which a target is judged: a Namespace (and a project, which is one) counts as lying in itself. NULL
 * = none. */
const char *rest_target_namespace(const struct rest_target *target);

/* Reads one object (whole, with apiVersion of its storage version); -ENOENT (NotFound) when absent. The caller frees
 * *ret. */
int rest_read(struct rest_server *s, const struct kind *kind, const char *namespace, const char *name, yyjson_doc **ret,
              struct gw_error *err);

/* One request on its way through the REST core. Internal to src/apiserver/rest*.c. */
#pragma once

#include "api/managed_fields.h"
#include "api/object.h"
#include "apiserver/output.h"
#include "apiserver/rest.h"
#include "apiserver/selection.h"
#include "base/clock.h"
#include "http/uri.h"

enum field_validation { VALIDATION_WARN, VALIDATION_STRICT, VALIDATION_IGNORE };

struct rest_call {
    struct rest_server *server;
    const struct api_request *request;
    struct api_response *response;
    struct http_uri uri;
    struct rest_target target;
    struct api_subject about; /* for the Status of a failure */
    char *about_name;         /* what about.name points to when the name was made here */
    struct output_form form;
    enum field_validation validation;
    bool dry_run;
    int64_t now;
    struct doc_vec lookups;   /* objects that rules looked up */
    struct store_facts facts; /* what it rests on that this write is allowed; the last attempt's */
    /* managedFields as this write leaves them; NULL: the object is not tracked. */
    yyjson_mut_doc *managed;
    bool applied;                                      /* they are final: a server-side apply */
    char *manager, *api_version, time[CLOCK_TEXT_MAX]; /* who writes, once rest_managed_writer was asked */
};

/* Members of metadata that the server alone writes; ends with NULL. */
extern const char *const rest_system_fields[];

/* One version of an object in the hands of a writing request. */
struct rest_object {
    char *key;
    int64_t revision; /* 0 = not stored */
    struct blob *stored;
    yyjson_doc *doc; /* whole, as clients see it */
};

void rest_object_done(struct rest_object *o);
#define _cleanup_rest_object_ __attribute__((cleanup(rest_object_done)))

static inline const struct kind *call_kind(const struct rest_call *c)
{
    return c->target.kind;
}

static inline const char *call_param(const struct rest_call *c, const char *name)
{
    return http_uri_param(&c->uri, name);
}

static inline struct output_kind call_output(const struct rest_call *c)
{
    return (struct output_kind){.kind = c->target.kind, .version = c->target.version, .now = c->now};
}

/* Subresources of pods: pod_binding.c, pod_eviction.c. */
extern const struct rest_extra pod_extras[];

/* The verbs; each fills the response or err. */
int rest_get(struct rest_call *c, struct gw_error *err);
int rest_list(struct rest_call *c, struct gw_error *err);
int rest_watch(struct rest_call *c, struct gw_error *err);
int rest_create(struct rest_call *c, struct gw_error *err);
int rest_update(struct rest_call *c, struct gw_error *err);
int rest_patch(struct rest_call *c, struct gw_error *err);
int rest_delete(struct rest_call *c, struct gw_error *err);
int rest_delete_collection(struct rest_call *c, struct gw_error *err);

/* --- rest_common.c --- */

/* Loads the object at key as the request's version of it. -ENOENT with NotFound in Kubernetes' words. */
int rest_load(struct rest_call *c, const char *key, struct rest_object *ret, struct gw_error *err);
/* The object that the target names. */
int rest_load_target(struct rest_call *c, struct rest_object *ret, struct gw_error *err);

int rest_not_found(struct rest_call *c, struct gw_error *err);
int rest_conflict(struct rest_call *c, struct gw_error *err);

/* Makes name the one that the answer is about. Copied. */
void rest_about(struct rest_call *c, const char *name);

/* The answer is this object in the negotiated form. */
void rest_answer_object(struct rest_call *c, int status, struct blob *stored, int64_t revision);

/* Asks the authorizer (again) with what is known of the objects. */
int rest_authorize(struct rest_call *c, yyjson_val *old, yyjson_val *object, struct gw_error *err);

/* resourceVersion in text form: 0 for NULL, "" and "0"; -EINVAL (Invalid, as kube-apiserver words it) for no number. */
int rest_parse_version(const char *text, int64_t *ret, struct gw_error *err);

/* fieldValidation and dryRun of the query. */
int rest_write_options(struct rest_call *c, struct gw_error *err);

/* metadata.resourceVersion and uid of what is to be written against what is there. required: it must carry the former.
 */
int rest_check_preconditions(struct rest_call *c, const struct rest_object *old, yyjson_mut_doc *d, bool required,
                             struct gw_error *err);

/* Whether a terminating object must stay: somebody still holds a finalizer, or its grace period runs. */
bool rest_must_linger(const struct kind *kind, yyjson_val *object);

/* --- rest_guard.c --- */

/* Lists and watches of a view show what the user may get, one by one. NULL: all of it. */
struct selection_guard *rest_guard(struct rest_call *c);

/* --- rest_body.c: the request's object --- */

/* The body as an object of the target's kind, whatever its encoding; name and namespace settled between body and path.
 */
int rest_body_object(struct rest_call *c, yyjson_mut_doc **ret, struct gw_error *err);
/* Checks and fills apiVersion, kind, name and namespace of an object that came by a body or a patch. */
int rest_settle_identity(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err);

/* --- rest_admit.c --- */

/* Prunes, fills defaults and checks an object that is to be written, counts its generation, and asks the authorizer
 * with it. old NULL: a create. ret_stored: its stored form, NULL when it is equal to old; d is used up. */
int rest_admit(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old, struct blob **ret_stored, struct gw_error *err);

/* The first step of it: unknown and duplicate fields go; fieldValidation says who hears of it. */
int rest_prune(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err);

/* Runs the kind's rule before a delete. */
int rest_admit_delete(struct rest_call *c, yyjson_val *old, struct gw_error *err);

/* Adds a Warning header. */
void rest_warn(struct rest_call *c, const char *text);

/* --- rest_namespace.c --- */

/* Whether the namespace of the target takes new objects; facts (cleared first) are what that rests on. Kinds without
 * namespaces have none. */
int rest_namespace_takes(struct rest_call *c, struct store_facts *facts, struct gw_error *err);
/* 0, or -EBUSY: something is stored in it. Nothing can come meanwhile, if it is terminating. */
int rest_namespace_is_empty(struct rest_call *c, const char *name, struct gw_error *err);

/* --- rest_create.c --- */

/* Stores and answers an object that came in d, which is used up. -EEXIST: one of that name is there. */
int rest_make(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err);

/* --- rest_managed.c: who set which fields --- */

/* fieldManager and force of the query; apply: the former must be there. */
int rest_managed_options(struct rest_call *c, bool apply, struct gw_error *err);
/* Who writes; its texts live as long as c. */
struct managed_writer rest_managed_writer(struct rest_call *c);
/* entries (its root; taken over; NULL: none) are what the object has before this write is counted. */
void rest_managed_set(struct rest_call *c, yyjson_mut_doc *entries);
/* The same with those that d brings, or else old has. */
void rest_managed_take(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old);
/* Counts the change from old (NULL: a create) to object, and puts the entries into d. True if that changes them. */
bool rest_managed_track(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old, yyjson_val *object);

/* --- rest_apply.c --- */

/* One try of a server-side apply, as rest_update.c makes them. */
int rest_apply_once(struct rest_call *c, bool *ret_demanding, struct gw_error *err);

/* --- rest_update.c --- */

/* How often a write that demands no resourceVersion is tried anew when others are faster. */
#define REST_ATTEMPTS 20

/* Writes what an update or patch has made of old: keeps what must not change, admits, stores (or deletes, if this took
 * the last finalizer of a terminating object), and answers. d is used up. -ESTALE: somebody else was faster. */
int rest_replace(struct rest_call *c, const struct rest_object *old, yyjson_mut_doc *d, struct gw_error *err);

/* --- rest_list.c --- */

int rest_select(struct rest_call *c, struct selection *ret, struct gw_error *err);

/* Calls visit for the selected objects as of *revision (0: now, and set to what that is), behind `after`, until it
 * returns false or negative. ret_remaining (may be NULL): how many keys the range has behind the last one visited. */
typedef int rest_visit_fn(void *data, const struct store_item *item, struct gw_error *err);
int rest_each(struct rest_call *c, const struct selection *s, const char *after, size_t limit, int64_t *revision,
              rest_visit_fn *visit, void *data, int64_t *ret_remaining, struct gw_error *err);

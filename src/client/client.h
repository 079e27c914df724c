/* The API client: asynchronous requests and watches over a transport that can be replaced.
 *
 * Ownership of calls. Each function that starts something returns a `struct api_call *`, which the caller may use for
 * one thing only: api_cancel(). It is valid until its `done` (or `end`) callback begins, so callers that keep it forget
 * it in the callback's first line. After api_cancel() no callback comes. No callback ever comes before the starting
 * function has returned. Whoever passes no callback (NULL) gives the call away: it runs to its end unseen.
 *
 * Everything belongs to one thread and its loop. Nothing blocks. */
#pragma once

#include <stdbool.h>

#include "base/blob.h"
#include "base/error.h"
#include "base/json.h"
#include "client/resources.h"

struct api_client;
struct api_call;

/* How a call ended. On success err is NULL; on failure err says why (never NULL, a Status from the server is decoded
 * into it with its reason, message and causes; failures before an answer are ServiceUnavailable or Timeout with number
 * set). */
struct api_answer {
    int code;        /* HTTP status; 0 when no answer came */
    yyjson_doc *doc; /* the JSON body on success, NULL if there was none; kept with TAKE_PTR, freed otherwise */
    const struct gw_error *err; /* valid during the callback */
};

typedef void (*api_done_fn)(void *userdata, struct api_answer *answer);

enum api_event_type { API_ADDED, API_MODIFIED, API_DELETED, API_BOOKMARK, API_EVENT_TYPE_MAX };

/* One watch event. `event` is the whole line {"type","object"}, `object` points into it; kept with TAKE_PTR(*event). An
 * event of type ERROR does not come here: it ends the watch with its Status as err. The callback may cancel the watch.
 */
typedef void (*api_event_fn)(void *userdata, enum api_event_type type, yyjson_val *object, yyjson_doc **event);

/* The end of a watch, always: err is NULL when the server closed it in good order (its timeout). */
typedef void (*api_end_fn)(void *userdata, const struct gw_error *err);

enum api_patch_type { API_PATCH_MERGE, API_PATCH_JSON, API_PATCH_STRATEGIC };

/* An address under the resource: "/api/v1/namespaces/NS/pods/NAME/SUB?QUERY". ns NULL = all namespaces (or a kind
 * without); name, sub and query may be NULL; query is taken as it is (api_query builds one). Caller frees. */
char *api_path(const struct api_resource *r, const char *ns, const char *name, const char *sub, const char *query);

/* Appends "key=value" with percent-encoding to a query under construction; a value of NULL appends nothing. */
struct str;
void api_query(struct str *query, const char *key, const char *value);

struct api_call *api_get(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                         api_done_fn done, void *userdata);
/* query: "labelSelector=...&limit=500" or NULL; the answer is the List. */
struct api_call *api_list(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                          api_done_fn done, void *userdata);
/* apiVersion and kind are filled in where obj has none; with sub and name: POST to a subresource (pods/NAME/binding).
 * The documents of these and the next calls are read at once and stay the caller's. */
struct api_call *api_create(struct api_client *c, const struct api_resource *r, const char *ns, yyjson_mut_doc *obj,
                            api_done_fn done, void *userdata);
struct api_call *api_create_sub(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                                const char *sub, yyjson_mut_doc *obj, api_done_fn done, void *userdata);
/* PUT: obj must carry metadata.resourceVersion. sub: NULL or "status". */
struct api_call *api_update(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                            const char *sub, yyjson_mut_doc *obj, api_done_fn done, void *userdata);
/* A merge patch that carries metadata.resourceVersion (or a JSON patch that tests it) fails with Conflict on a stale
 * one. */
struct api_call *api_patch(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                           const char *sub, enum api_patch_type type, yyjson_mut_doc *patch, api_done_fn done,
                           void *userdata);
/* uid: precondition, or NULL. propagation: "Background", "Foreground", "Orphan" or NULL for the kind's default. */
struct api_call *api_delete(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                            const char *uid, const char *propagation, api_done_fn done, void *userdata);

/* The same at once, for pods: gracePeriodSeconds 0, nobody is waited for. For what is known to run no more. */
struct api_call *api_delete_now(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                                const char *uid, api_done_fn done, void *userdata);

/* Deletes the collection: all of a namespace (NULL: everywhere) that query selects (NULL: all). */
struct api_call *api_delete_all(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                                api_done_fn done, void *userdata);

/* Any request: path begins with '/', may have a query; body (referenced) may be NULL. timeout_ms 0 = the default of 30
 * s. */
struct api_call *api_request(struct api_client *c, const char *method, const char *path, const char *content_type,
                             struct blob *body, int timeout_ms, api_done_fn done, void *userdata);

/* Watches r from query's resourceVersion on ("watch=true" is added). Unlike requests it may run for ever. */
struct api_call *api_watch(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                           api_event_fn on_event, api_end_fn end, void *userdata);

/* Stops a call and frees it; the server may or may not have acted. NULL is allowed. Returns NULL. */
struct api_call *api_cancel(struct api_call *call);

/* Ends all calls without callbacks and frees the client; not from inside a callback. Returns NULL. */
struct api_client *api_client_free(struct api_client *c);

DEFINE_CLEANUP(struct api_client *, api_client_free)

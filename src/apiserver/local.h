/* Requests of the server to itself: the same way through the API as everybody's, without sockets, as an administrator.
 */
#pragma once

#include "apiserver/rest.h"

/* body may be NULL. Returns 0 with the answer's object (NULL if it has none; ret may be NULL), or negative with the
 * Status of the answer in err. */
int local_call(struct rest_server *rest, const char *method, const char *target, const char *content_type,
               struct blob *body, yyjson_doc **ret, struct gw_error *err);

/* "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB" of the kind's storage version; namespace, name and subresource
 * may be NULL. Caller frees. */
char *local_target(const struct kind *kind, const char *namespace, const char *name, const char *subresource);

#define JSON_BODY "application/json"
#define MERGE_PATCH "application/merge-patch+json"

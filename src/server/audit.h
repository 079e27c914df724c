/* The audit log: one line of JSON for each write, also for one that was refused before it was read (413, 429), and for
 * each request of somebody who is not believed (401): an Event of audit.k8s.io/v1 at level Metadata. It says who did
 * what to which object, when, from where, and how that was answered; never what was in the request or the object.
 *
 * Left out is what Godwit's own parts write all the time: leases, events and status. */
#pragma once

#include "apiserver/request.h"

struct audit;

/* Appends to path (made 0600 if absent). */
int audit_open(const char *path, struct audit **ret, struct gw_error *err);
struct audit *audit_close(struct audit *a);

/* Records the request with its answer, to which it adds the header Audit-Id. user: who asked, who may be another than
 * the one that the request was made as, and has an empty name where nobody was found out; address: of the client;
 * received_us: when the request came, by the wall clock. Does nothing for other reads, or when a is NULL. Any thread.
 */
void audit_write(struct audit *a, const struct api_user *user, const struct api_request *request, const char *address,
                 int64_t received_us, struct api_response *response);

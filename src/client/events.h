/* Event recorder (core/v1 Event). An event repeated for the same object, type, reason and message raises `count` and
 * `lastTimestamp` of the one already there; each object may make EVENTS_BURST events, then one every
 * EVENTS_REFILL_S. Writing is best effort: a failed write is tried a few times, then dropped. */
#pragma once

#include "client/client.h"
#include "client/env.h"

#define EVENTS_BURST 25
#define EVENTS_REFILL_S 30

#define EVENT_NORMAL "Normal"
#define EVENT_WARNING "Warning"

struct event_recorder;

/* component: "godwit-scheduler" and the like (source.component); host may be NULL. */
struct event_recorder *event_recorder_new(struct env *env, const char *component, const char *host);
struct event_recorder *event_recorder_free(struct event_recorder *rec);
DEFINE_CLEANUP(struct event_recorder *, event_recorder_free)

/* object: needs apiVersion, kind and metadata (what informers hold). Events of cluster-scoped objects go to "default".
 */
void event_record(struct event_recorder *rec, yyjson_val *object, const char *type, const char *reason, const char *fmt,
                  ...) _printf_(5, 6);

/* A transport whose answers a test gives by hand, for what a real server does seldom: errors, repetitions, lost answers. */
#pragma once

#include "client/transport.h"

struct api_client *script_client(void);

/* The running call number i (0 = the oldest), NULL if there are fewer. */
struct api_call *script_call(struct api_client *c, size_t i);
size_t script_running(struct api_client *c);
/* How many calls were started since the beginning; how many cancelled. */
size_t script_started(struct api_client *c);
size_t script_cancelled(struct api_client *c);

/* Ends call with this answer; body may be NULL. */
void script_answer(struct api_call *call, int code, const char *body);
/* Ends it as if the connection had failed. */
void script_fail(struct api_call *call, enum gw_reason reason, const char *message);
/* A piece of the stream of a watch. */
bool script_data(struct api_call *call, const char *data);

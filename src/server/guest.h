/* Subresources that reach a guest, or its launcher's log, through the agent that has it: pause, unpause, reset; console
 * and portforward (websockets); pods/NAME/log. The user was authorized before; the agent believes this server. */
#pragma once

#include "apiserver/rest.h"
#include "server/agent_link.h"

extern const struct rest_extra guest_extras[], pod_log_extras[];

/* tunnel.c: joins the client's websocket and the agent's channel. Takes the link. */
void tunnel_offer(struct agents *a, struct agent_link *link, struct api_response *response);

/* log_feed.c: the answer is what comes over the channel, as it comes. Takes the link. */
void log_feed_offer(struct agents *a, struct agent_link *link, struct api_response *response);

/* The reason and text of an agent's refusal. */
int guest_refused(const struct agent_answer *answer, struct gw_error *err);

/* Reads an object of a built-in kind; NotFound as rest_read has it. */
int guest_read(struct rest_server *s, const char *group, const char *plural, const char *ns, const char *name,
               yyjson_doc **ret, struct gw_error *err);

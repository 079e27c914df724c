/* How the API server reaches an agent (docs/agent.md): one connection for each request, HTTPS to the address and port
 * that the Node names, with the agent's certificate checked for that node's name and our own shown. Opening blocks, for
 * seconds at most, on the worker that serves the request; what is left open after it is read and written on the loop.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "apiserver/rest.h"
#include "pki/pki.h"

struct agents;
struct agent_link;

/* loop is the one that http_server runs on. Free it after that. */
int agents_new(const struct pki_authority *authority, int64_t longest_s, sd_event *loop, struct agents **ret,
               struct gw_error *err);
struct agents *agents_free(struct agents *a);

sd_event *agents_loop(struct agents *a);
/* Calls fn on the loop's thread, from any thread. */
void agents_post(struct agents *a, void (*fn)(void *data), void *data);

/* The agent's answer. */
struct agent_answer {
    int status;
    char *text;              /* its body; "" for 101 */
    struct agent_link *link; /* of a 101: the channel. NULL otherwise */
};
void agent_answer_done(struct agent_answer *a);
#define _cleanup_answer_ __attribute__((cleanup(agent_answer_done)))

/* Guests answer when they like, so those who wait for one get half of the places: the others' consoles and pauses must
 * not wait for them. TooManyRequests when those are taken; each success is followed by agents_heard. */
int agents_be_patient(struct agents *a, struct gw_error *err);
void agents_heard(struct agents *a);

/* Sends METHOD path to the agent of a Node object; with upgrade the agent may answer by a channel. TooManyRequests when
 * too many are under way, ServiceUnavailable when the agent cannot be reached, Timeout without an answer. */
int agents_ask(struct agents *a, yyjson_val *node, const char *method, const char *path, bool upgrade,
               struct agent_answer *ret, struct gw_error *err);

/* --- A channel; on the loop's thread, never blocking --- */

int agent_link_fd(const struct agent_link *l);
/* Bytes read; 0 at the end; -EAGAIN; or another negative errno. */
ssize_t agent_link_read(struct agent_link *l, void *buf, size_t len);
/* Bytes taken; after -EAGAIN the next call must begin with the same bytes. */
ssize_t agent_link_write(struct agent_link *l, const void *data, size_t len);
struct agent_link *agent_link_free(struct agent_link *l);

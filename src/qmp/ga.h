/* An asynchronous client of the agent inside a guest (qemu-ga), over the host's end of its virtio-serial port, which is
 * a unix socket of QEMU's. The protocol is QMP's without greeting and events: one JSON object per line, one answer for
 * each command, in order (QEMU's documentation, "QEMU Guest Agent Protocol Reference").
 *
 * Who answers is the guest, so nothing of it is believed. Before each command the two ends are brought in step by
 * guest-sync-delimited, which skips what an earlier connection or command has left. Bytes are read only while an answer
 * is due, a portion in each turn of the loop and behind everybody else's; beyond GA_BYTES_MAX for one command the
 * session is over. A guest that floods its port so fills its own queues only. An agent that does not answer in time
 * ends the session as well: what it was sent would be heard much later, and more would pile up behind it.
 *
 * Callbacks run from the loop, never from within a call of this interface, and may call everything here, also ga_free:
 * nothing is called after that. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/json.h"

#define GA_PATIENCE_MS 5000     /* for each command, as libvirt has it */
#define GA_BYTES_MAX (1u << 20) /* of all that comes in for one command */

struct ga;

enum ga_failure {
    GA_REFUSED, /* the guest's agent says no */
    GA_SILENT,  /* no answer, or none that makes sense, in time */
    GA_LOST,    /* the session ended before */
};

struct ga_fault {
    enum ga_failure failure;
    const char *text; /* why, for people; of a refusal the agent's own words, as foreign as all that it says */
    bool sent;        /* the command may have taken effect, or may do so yet */
};

/* Exactly one of result and fault is not NULL. Called exactly once per command, unless ga_free comes before. */
typedef void (*ga_reply_fn)(void *userdata, yyjson_val *result, const struct ga_fault *fault);

/* Over a connected socket, which the client owns from then on, in any case. closed is called once when the session is
 * over, after all commands were answered; only ga_free is useful then. */
int ga_new(sd_event *loop, int fd, void (*closed)(void *userdata, const char *why), void *userdata, struct ga **ret,
           struct gw_error *err);
/* Ends the session without further callbacks. NULL is allowed; returns NULL. */
struct ga *ga_free(struct ga *g);

/* Ends the session as a failure does: what is pending is answered with GA_LOST and why, and closed is called. */
void ga_end(struct ga *g, const char *why);

/* Sends a command when those before it have been answered; the time runs from then. name must be static. arguments may
 * be NULL; the client takes the document. */
void ga_command(struct ga *g, const char *name, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply,
                void *userdata);

/* An asynchronous client of the QEMU Machine Protocol on a unix socket, driven by an sd-event loop.
 *
 * It connects (retrying while QEMU does not listen yet), reads the greeting, negotiates capabilities and then sends
 * commands, as many at once as the caller likes; each reply finds its callback by id. Commands given before the session
 * is ready are kept and sent then.
 *
 * Replies to an earlier client, which QEMU sends to whoever is connected, are dropped.
 *
 * What it cannot promise: QEMU keeps no events for clients. What happened while nobody was connected, or while another
 * client held the socket (a QMP socket serves one client at a time), is lost. So whoever connects to a QEMU that
 * already runs must read its state by query-* commands in `ready`, and again after every reconnect: an event is a hint
 * to look, the answer to a query is the truth. A client never reconnects by itself: after `closed`, make a new one.
 *
 * Callbacks run from the loop, never from within a call of this interface. They may call everything here, also
 * qmp_free: nothing is called after that. Values handed to a callback live until it returns. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/json.h"

struct qmp;

/* Why a command failed. `class` is QEMU's ("GenericError", "CommandNotFound", "DeviceNotFound", ...), or
 * QMP_CLASS_LOST when the connection ended before the reply: whether the command took effect is then unknown. */
struct qmp_fault {
    const char *class;
    const char *desc;
};
#define QMP_CLASS_LOST "ConnectionLost"

/* The reply to one command: exactly one of result and fault is not NULL. Called exactly once per command, unless
 * qmp_free comes before. */
typedef void (*qmp_reply_fn)(void *userdata, yyjson_val *result, const struct qmp_fault *fault);

struct qmp_handlers {
    /* Capabilities are negotiated. greeting is QEMU's {"version": {...}, "capabilities": [...]}. */
    void (*ready)(void *userdata, yyjson_val *greeting);
    /* An event, e.g. "STOP", data {} or its object, time in microseconds since the epoch by QEMU's clock. */
    void (*event)(void *userdata, const char *name, yyjson_val *data, int64_t time_us);
    /* The session is over: why says what happened. All pending commands got QMP_CLASS_LOST before. Only qmp_free is
     * useful afterwards; commands are answered by QMP_CLASS_LOST. */
    void (*closed)(void *userdata, const char *why);
};

/* A client of the socket at path (of any length; paths beyond sun_path are reached through their folder). Connecting is
 * retried; when the session is not ready after timeout_ms, `closed` is called. handlers must outlive the client; each
 * of its members may be NULL. */
int qmp_new(sd_event *loop, const char *path, int timeout_ms, const struct qmp_handlers *handlers, void *userdata,
            struct qmp **ret, struct gw_error *err);

/* The same over a connected socket, which the client owns from then on (tests, inherited connections). */
int qmp_new_fd(sd_event *loop, int fd, const struct qmp_handlers *handlers, void *userdata, struct qmp **ret,
               struct gw_error *err);

/* Ends the session without further callbacks. NULL is allowed; returns NULL. */
struct qmp *qmp_free(struct qmp *q);
DEFINE_CLEANUP(struct qmp *, qmp_free)
#define _cleanup_qmp_ _cleanup_(qmp_freep)

bool qmp_is_ready(const struct qmp *q);
bool qmp_is_closed(const struct qmp *q);

/* Sends a command. arguments may be NULL; the client takes the document. reply may be NULL: a failure then goes unseen.
 */
void qmp_command(struct qmp *q, const char *name, yyjson_mut_doc *arguments, qmp_reply_fn reply, void *userdata);

/* The same without arguments, and with userdata that is one block of memory of its own: the client frees it behind the
 * reply, or with the session where none came. */
void qmp_ask(struct qmp *q, const char *name, qmp_reply_fn reply, void *block);

/* The same with a file descriptor sent along by SCM_RIGHTS, as `getfd` and `add-fd` want it. fd is duplicated. */
void qmp_command_fd(struct qmp *q, const char *name, yyjson_mut_doc *arguments, int fd, qmp_reply_fn reply,
                    void *userdata);

/* One command with string arguments only, for the common case: qmp_command_str(q, "getfd", fn, u, "fdname", "mig0",
 * NULL). */
void qmp_command_str(struct qmp *q, const char *name, qmp_reply_fn reply, void *userdata, ...)
    __attribute__((sentinel));

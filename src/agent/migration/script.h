/* QMP commands one after the other: the next is sent when the last was answered, and the first refusal ends the script.
 */
#pragma once

#include "qmp/qmp.h"

struct script;

/* fault: NULL when every command was done, else "COMMAND: what QEMU said". The script is freed after this call. */
typedef void (*script_done_fn)(void *userdata, const char *fault);

struct script *script_new(struct qmp *q);

/* Adds a command; takes over args, which may be NULL. */
void script_add(struct script *s, const char *command, yyjson_mut_doc *args);

/* The same for a command whose refusal does not matter: what it removes may be gone, what it tunes may be unknown. */
void script_try(struct script *s, const char *command, yyjson_mut_doc *args);

/* Starts it; done is called from the loop, never from within. */
void script_run(struct script *s, script_done_fn done, void *userdata);

/* Forgets the script without a callback; answers still to come are dropped. NULL is allowed. Returns NULL. */
struct script *script_cancel(struct script *s);

/* The same when the QMP session was freed, so that no answer comes any more. */
struct script *script_drop(struct script *s);

/* Arguments from pairs of JSON pointer and string, ended by NULL: script_args("/id", "tls1", "/props/dir", dir, NULL).
 */
yyjson_mut_doc *script_args(const char *path, ...) __attribute__((sentinel));

/* The acts of the source, by the actions of migration/source.h: each begins one, and looks no further. */
#pragma once

#include "agent/migration/mover.h"

/* source_copy.c */
void source_record_start(struct mover *m);
void source_mirror_disks(struct mover *m);
void source_copy_memory(struct mover *m);
void source_detach_disks(struct mover *m);
void source_continue_copy(struct mover *m);
void source_cancel(struct mover *m);
void source_drop_disks(struct mover *m);

/* After each round of answers: progress and time limits. */
void source_observed(struct mover *m);

/* QEMU's migration, without what an earlier one left behind; whether the guest is this QEMU's to run. */
enum copy_state source_copy_state(const struct mover *m);
bool source_guest_runs(const struct mover *m);

/* source_handover.c */
void source_note_granted(struct mover *m);
void source_send_grant(struct mover *m);
void source_note_closed(struct mover *m);
void source_take_back(struct mover *m);
void source_record_close(struct mover *m);
void source_request_return(struct mover *m);
void source_record_figures(struct mover *m);
void source_quit(struct mover *m);

/* The connection to the target's agent and the proof that goes over it, if they are not there yet. */
void source_open_channel(struct mover *m);

/* Gives up for the reason of whoever wanted it: the user, or the target with what it told. otherwise: when nobody did.
 */
void source_fail(struct mover *m, const char *otherwise);

#include "migration/source.h"

#include <assert.h>

#include "base/cleanup.h"

static const char *const names[] = {
    [SOURCE_WAIT] = "wait",
    [SOURCE_NOTE_OPEN] = "note open",
    [SOURCE_GET_CREDENTIALS] = "get credentials",
    [SOURCE_RECORD_START] = "record start",
    [SOURCE_MIRROR_DISKS] = "mirror disks",
    [SOURCE_COPY_MEMORY] = "copy memory",
    [SOURCE_DETACH_DISKS] = "detach disks",
    [SOURCE_CONTINUE] = "continue",
    [SOURCE_CANCEL] = "cancel",
    [SOURCE_DROP_DISKS] = "drop disks",
    [SOURCE_NOTE_GRANTED] = "note granted",
    [SOURCE_SEND_GRANT] = "send grant",
    [SOURCE_NOTE_CLOSED] = "note closed",
    [SOURCE_TAKE_BACK] = "take back",
    [SOURCE_RECORD_CLOSE] = "record close",
    [SOURCE_REQUEST_RETURN] = "request return",
    [SOURCE_RECORD_FIGURES] = "record figures",
    [SOURCE_QUIT] = "quit",
    [SOURCE_DONE] = "done",
};
static_assert(ARRAY_SIZE(names) == SOURCE_ACTION_MAX, "each action needs its name");

const char *source_action_string(enum source_action action)
{
    return names[action];
}

static bool jobs_left(const struct source_view *v)
{
    return v->disks != DISKS_NONE && v->disks != DISKS_IDLE;
}

/* Somebody wants this migration not to happen, and it still can be stopped. */
static bool unwanted(const struct source_view *v)
{
    return v->abort_requested || v->withdrawn || v->given_up || v->disks == DISKS_FAILED ||
           v->epoch == EPOCH_RETURNED || v->epoch == EPOCH_CLOSED;
}

/* The target runs the guest. What QEMU can tell of the migration is written down before it goes. */
static enum source_action claimed(const struct source_view *v)
{
    if (!v->qemu_alive)
        return SOURCE_DONE;
    return v->figures_recorded || v->copy != COPY_COMPLETED ? SOURCE_QUIT : SOURCE_RECORD_FIGURES;
}

/* The guest was given away: only a return changes that. */
static enum source_action granted(const struct source_view *v)
{
    return v->epoch == EPOCH_RETURNED ? SOURCE_NOTE_CLOSED : SOURCE_SEND_GRANT;
}

/* The guest stays here: QEMU must run it, without remains of the copy, and the failure must be told. */
static enum source_action closed(const struct source_view *v)
{
    if (v->qemu_alive && v->copy == COPY_COMPLETED && !v->guest_runs)
        return SOURCE_TAKE_BACK;
    if (v->qemu_alive && jobs_left(v))
        return SOURCE_DROP_DISKS;
    return v->close_recorded ? SOURCE_DONE : SOURCE_RECORD_CLOSE;
}

/* QEMU died and no grant is out. Whether the target may still come to run the guest is for the target to deny. */
static enum source_action died(const struct source_view *v)
{
    if (v->epoch == EPOCH_RETURNED || v->epoch == EPOCH_CLOSED)
        return SOURCE_NOTE_CLOSED;
    return v->withdrawn ? SOURCE_WAIT : SOURCE_REQUEST_RETURN;
}

/* The guest stands still. Memory goes on only when the target has all of the disks. */
static enum source_action switch_over(const struct source_view *v)
{
    switch (v->disks) {
    case DISKS_NONE:
    case DISKS_DETACHED:
        return SOURCE_CONTINUE;
    case DISKS_READY:
        return SOURCE_DETACH_DISKS;
    case DISKS_COPYING: /* the jobs are ending */
        return SOURCE_WAIT;
    default:
        return SOURCE_CANCEL;
    }
}

/* Before the copy: everything that it needs, in order. */
static enum source_action prepare(const struct source_view *v)
{
    if (unwanted(v))
        return SOURCE_NOTE_CLOSED;
    if (!v->credentials)
        return SOURCE_GET_CREDENTIALS; /* while the target prepares */
    if (!v->target_ready)
        return SOURCE_WAIT;
    if (!v->start_recorded)
        return SOURCE_RECORD_START;
    switch (v->disks) {
    case DISKS_IDLE:
        return SOURCE_MIRROR_DISKS;
    case DISKS_COPYING:
        return SOURCE_WAIT;
    default:
        return v->disks_behind ? SOURCE_WAIT : SOURCE_COPY_MEMORY;
    }
}

static enum source_action copying(const struct source_view *v)
{
    switch (v->copy) {
    case COPY_NONE:
        return prepare(v);
    case COPY_ACTIVE:
        return unwanted(v) ? SOURCE_CANCEL : SOURCE_WAIT;
    case COPY_PRE_SWITCHOVER:
        return unwanted(v) ? SOURCE_CANCEL : switch_over(v);
    case COPY_COMPLETED:
        /* Too late for a cancel: the guest is moved, as in KubeVirt. */
        return v->epoch == EPOCH_RETURNED || v->epoch == EPOCH_CLOSED ? SOURCE_NOTE_CLOSED : SOURCE_NOTE_GRANTED;
    default:
        return SOURCE_NOTE_CLOSED;
    }
}

enum source_action source_next(const struct source_view *v)
{
    if (v->epoch == EPOCH_CLAIMED)
        return claimed(v);
    /* A grant that this side does not remember (granted in its place, section 6) binds it all the same. */
    if (v->epoch == EPOCH_GRANTED && (v->note == NOTE_NONE || v->note == NOTE_OPEN))
        return SOURCE_NOTE_GRANTED;
    switch (v->note) {
    case NOTE_GRANTED:
        return granted(v);
    case NOTE_CLOSED:
        return closed(v);
    case NOTE_OPEN:
        return v->qemu_alive ? copying(v) : died(v);
    default:
        return epoch_settled(v->epoch) ? SOURCE_DONE : SOURCE_NOTE_OPEN;
    }
}

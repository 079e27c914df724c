#include "migration/target.h"

#include <assert.h>

#include "base/cleanup.h"

static const char *const names[] = {
    [TARGET_WAIT] = "wait",
    [TARGET_NOTE_PREPARED] = "note prepared",
    [TARGET_GET_CREDENTIALS] = "get credentials",
    [TARGET_LISTEN] = "listen",
    [TARGET_PUBLISH] = "publish",
    [TARGET_NOTE_CLAIMED] = "note claimed",
    [TARGET_RUN] = "run",
    [TARGET_RECORD_CLAIM] = "record claim",
    [TARGET_TELL_RECEIVED] = "tell received",
    [TARGET_NOTE_DESTROYED] = "note destroyed",
    [TARGET_DESTROY] = "destroy",
    [TARGET_RETURN] = "return",
    [TARGET_DONE] = "done",
};
static_assert(ARRAY_SIZE(names) == TARGET_ACTION_MAX, "each action needs its name");

const char *target_action_string(enum target_action action)
{
    return names[action];
}

static bool has_grant(const struct target_view *v)
{
    return v->epoch == EPOCH_GRANTED || (v->epoch == EPOCH_OPEN && v->direct_grant);
}

/* The guest is ours: run it, then say so. */
static enum target_action claimed(const struct target_view *v)
{
    if (v->qemu == WAITING_COMPLETE)
        return TARGET_RUN;
    if (v->qemu == WAITING_DEAD && !v->cont_sent && v->epoch != EPOCH_CLAIMED)
        return TARGET_NOTE_DESTROYED;
    return v->epoch == EPOCH_CLAIMED ? TARGET_DONE : TARGET_RECORD_CLAIM;
}

static enum target_action destroyed(const struct target_view *v)
{
    if (v->qemu != WAITING_DEAD)
        return TARGET_DESTROY;
    return v->epoch == EPOCH_OPEN || v->epoch == EPOCH_GRANTED ? TARGET_RETURN : TARGET_DONE;
}

static enum target_action prepared(const struct target_view *v)
{
    if (v->qemu == WAITING_DEAD || v->epoch == EPOCH_CLOSED || v->epoch == EPOCH_RETURNED)
        return TARGET_NOTE_DESTROYED;
    if (v->qemu == WAITING_COMPLETE && has_grant(v))
        return TARGET_NOTE_CLAIMED;
    if (v->withdrawn && !has_grant(v))
        return TARGET_NOTE_DESTROYED;
    switch (v->qemu) {
    case WAITING_IDLE:
        return v->credentials ? TARGET_LISTEN : TARGET_GET_CREDENTIALS;
    case WAITING_LISTENING:
        return v->published ? TARGET_WAIT : TARGET_PUBLISH;
    default:
        return v->complete_ms >= TARGET_RECEIVED_AFTER_MS && !v->received_told ? TARGET_TELL_RECEIVED : TARGET_WAIT;
    }
}

enum target_action target_next(const struct target_view *v)
{
    switch (v->note) {
    case NOTE_PREPARED:
        return prepared(v);
    case NOTE_CLAIMED:
        return claimed(v);
    case NOTE_DESTROYED:
        return destroyed(v);
    default:
        if (v->epoch != EPOCH_OPEN)
            return TARGET_DONE;
        return v->withdrawn || v->qemu == WAITING_DEAD ? TARGET_NOTE_DESTROYED : TARGET_NOTE_PREPARED;
    }
}

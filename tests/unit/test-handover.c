/* Explores every interleaving of the two deciding functions with crashes, deaths, losses and cancels: the same world as
 * docs/model/handover.pml, but with the functions that the agents really run in place of the model's agents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"
#include "migration/source.h"
#include "migration/target.h"

enum qs { QS_RUNNING, QS_SENDING, QS_STOPPED, QS_COMPLETED, QS_FAILED, QS_TAKEN_BACK, QS_DEAD };

/* The whole world in bytes, so that equal worlds are equal in memory. */
struct world {
    uint8_t qs, qt;
    uint8_t s_note, t_note;
    uint8_t s_credentials, t_credentials, published, start_recorded, close_recorded, figures;
    uint8_t grant, claim, returned, withdraw, received, abort; /* the VMI's status */
    uint8_t direct;      /* a direct grant on its way */
    uint8_t t_direct;    /* a direct grant in the target agent's memory */
    uint8_t t_proof;     /* ... and in its note */
    uint8_t t_cont_sent; /* in memory */
    uint8_t diverged;    /* the guest ran on at the source after its state was sent */
    uint8_t ran;         /* the guest ran at the target */
    uint8_t lost;        /* a death explains that the guest runs nowhere */
    uint8_t deaths, losses, cancels;
};

VEC_DEFINE(world_vec, struct world);

static struct {
    struct map *seen;
    struct world_vec todo;
    size_t ends;
} search;

static void visit(struct world w)
{
    char key[2 * sizeof(w) + 1];

    for (size_t i = 0; i < sizeof(w); i++)
        sprintf(key + 2 * i, "%02x", ((uint8_t *)&w)[i]);
    if (map_has(search.seen, key))
        return;
    map_put(search.seen, key, search.seen);
    world_vec_push(&search.todo, w);
}

static bool source_runs(const struct world *w)
{
    return w->qs == QS_RUNNING || w->qs == QS_SENDING || w->qs == QS_FAILED || w->qs == QS_TAKEN_BACK;
}

static void check(const struct world *w)
{
    assert_false(source_runs(w) && w->qt == WAITING_RUNS);
    assert_false(w->diverged && w->ran);
    assert_false(w->claim && w->returned);
    assert_false(w->claim && w->close_recorded);
}

static enum epoch_state epoch_of(const struct world *w)
{
    if (w->claim)
        return EPOCH_CLAIMED;
    if (w->close_recorded)
        return EPOCH_CLOSED;
    if (w->returned)
        return EPOCH_RETURNED;
    return w->grant ? EPOCH_GRANTED : EPOCH_OPEN;
}

static enum copy_state copy_of(const struct world *w)
{
    static const enum copy_state map[] = {
        [QS_RUNNING] = COPY_NONE,        [QS_SENDING] = COPY_ACTIVE,  [QS_STOPPED] = COPY_ACTIVE,
        [QS_COMPLETED] = COPY_COMPLETED, [QS_FAILED] = COPY_FAILED,   [QS_TAKEN_BACK] = COPY_COMPLETED,
        [QS_DEAD] = COPY_NONE,
    };
    return map[w->qs];
}

static struct source_view source_sees(const struct world *w)
{
    return (struct source_view){
        .note = w->s_note,
        .epoch = epoch_of(w),
        .copy = copy_of(w),
        .disks = DISKS_NONE,
        .qemu_alive = w->qs != QS_DEAD,
        .guest_runs = source_runs(w),
        .target_ready = w->published,
        .credentials = w->s_credentials,
        .start_recorded = w->start_recorded,
        .figures_recorded = w->figures,
        .close_recorded = w->close_recorded,
        .abort_requested = w->abort,
        .withdrawn = w->withdraw,
    };
}

static struct target_view target_sees(const struct world *w)
{
    return (struct target_view){
        .note = w->t_note,
        .epoch = epoch_of(w),
        .qemu = w->qt,
        .direct_grant = w->t_direct || w->t_proof,
        .credentials = w->t_credentials,
        .published = w->published,
        .withdrawn = w->withdraw,
        .received_told = w->received,
        .cont_sent = w->t_cont_sent,
        .complete_ms = w->qt == WAITING_COMPLETE ? TARGET_RECEIVED_AFTER_MS : -1,
    };
}

/* The server takes a grant or a close only while the epoch is open (or returned, for the close). */
static void send_grant(struct world w)
{
    struct world recorded = w, told = w;

    if (epoch_of(&w) == EPOCH_OPEN) {
        recorded.grant = 1;
        visit(recorded);
    }
    if (!w.direct && !w.t_direct && !w.t_proof && w.losses) {
        told.direct = 1;
        visit(told);
    }
}

static void source_step(struct world w)
{
    struct source_view v = source_sees(&w);

    switch (source_next(&v)) {
    case SOURCE_NOTE_OPEN:
        w.s_note = NOTE_OPEN;
        break;
    case SOURCE_GET_CREDENTIALS:
        w.s_credentials = 1;
        break;
    case SOURCE_RECORD_START:
        w.start_recorded = 1;
        break;
    case SOURCE_COPY_MEMORY:
        assert_int_equal(w.qs, QS_RUNNING);
        w.qs = QS_SENDING;
        break;
    case SOURCE_CANCEL:
        if (w.qs == QS_SENDING || w.qs == QS_STOPPED) {
            w.diverged = w.diverged || w.qs == QS_STOPPED;
            w.qs = QS_FAILED;
        }
        break;
    case SOURCE_NOTE_GRANTED:
        w.s_note = NOTE_GRANTED;
        break;
    case SOURCE_SEND_GRANT:
        send_grant(w);
        return;
    case SOURCE_NOTE_CLOSED:
        w.s_note = NOTE_CLOSED;
        break;
    case SOURCE_TAKE_BACK:
        w.qs = QS_TAKEN_BACK;
        w.diverged = 1;
        break;
    case SOURCE_RECORD_CLOSE:
        if (epoch_of(&w) == EPOCH_OPEN || epoch_of(&w) == EPOCH_RETURNED)
            w.close_recorded = 1;
        break;
    case SOURCE_REQUEST_RETURN:
        w.withdraw = 1;
        break;
    case SOURCE_RECORD_FIGURES:
        w.figures = 1;
        break;
    case SOURCE_QUIT:
        assert_false(source_runs(&w));
        w.qs = QS_DEAD;
        break;
    default:
        return;
    }
    visit(w);
}

static void target_step(struct world w)
{
    struct target_view v = target_sees(&w);

    switch (target_next(&v)) {
    case TARGET_NOTE_PREPARED:
        w.t_note = NOTE_PREPARED;
        break;
    case TARGET_GET_CREDENTIALS:
        w.t_credentials = 1;
        break;
    case TARGET_LISTEN:
        w.qt = WAITING_LISTENING;
        break;
    case TARGET_PUBLISH:
        w.published = 1;
        break;
    case TARGET_NOTE_CLAIMED:
        w.t_note = NOTE_CLAIMED;
        w.t_proof = w.t_direct;
        w.t_cont_sent = 0;
        break;
    case TARGET_RUN:
        w.qt = WAITING_RUNS;
        w.ran = 1;
        w.t_cont_sent = 1;
        break;
    case TARGET_RECORD_CLAIM:
        if (w.grant || (w.t_proof && epoch_of(&w) == EPOCH_OPEN))
            w.claim = !w.returned && !w.close_recorded;
        break;
    case TARGET_TELL_RECEIVED:
        w.received = 1;
        break;
    case TARGET_NOTE_DESTROYED:
        w.t_note = NOTE_DESTROYED;
        break;
    case TARGET_DESTROY:
        assert_int_not_equal(w.qt, WAITING_RUNS);
        w.lost = w.lost || w.qs == QS_DEAD;
        w.qt = WAITING_DEAD;
        break;
    case TARGET_RETURN:
        w.returned = !w.claim && !w.close_recorded;
        break;
    default:
        return;
    }
    visit(w);
}

/* QEMU's own part. */
static void qemu_step(struct world w)
{
    struct world failed = w;

    failed.qs = QS_FAILED;
    failed.diverged = 1;
    if (w.qs == QS_SENDING) {
        visit(failed);
        if (w.qt == WAITING_LISTENING) {
            w.qs = QS_STOPPED;
            w.qt = WAITING_COMPLETE;
            visit(w);
        }
    } else if (w.qs == QS_STOPPED) {
        visit(failed); /* the acknowledgement is lost: it resumes by itself */
        if (w.qt != WAITING_DEAD) {
            w.qs = QS_COMPLETED;
            visit(w);
        }
    }
    if (w.direct) {
        w.direct = 0;
        w.t_direct = 1;
        visit(w);
    }
}

static void kill_qs(struct world w)
{
    bool given = w.s_note == NOTE_GRANTED && !w.returned && w.qt != WAITING_DEAD;

    w.lost = w.lost || (!given && !w.claim);
    w.qs = QS_DEAD;
    w.deaths--;
    visit(w);
}

static void kill_qt(struct world w)
{
    w.lost = w.lost || w.t_note == NOTE_CLAIMED || w.qs == QS_DEAD;
    w.qt = WAITING_DEAD;
    w.deaths--;
    visit(w);
}

/* A restarted target agent has only its note, and must assume that it had sent cont. */
static void crash_target(struct world w)
{
    w.t_direct = 0;
    w.t_cont_sent = w.t_note == NOTE_CLAIMED;
    w.deaths--;
    visit(w);
}

static void fate_step(struct world w)
{
    struct world x = w;

    if (w.deaths) {
        if (w.qs != QS_DEAD)
            kill_qs(w);
        if (w.qt != WAITING_DEAD)
            kill_qt(w);
        crash_target(w);
    }
    if (w.losses && w.direct) {
        x.direct = 0;
        x.losses--;
        visit(x);
    }
    if (w.cancels) {
        x = w;
        x.abort = 1;
        x.cancels--;
        visit(x);
    }
}

/* Where nothing but fate can move: one owner, and the epoch is settled, or a death explains it. */
static void check_end(const struct world *w)
{
    struct source_view s = source_sees(w);
    struct target_view t = target_sees(w);
    enum source_action sa = source_next(&s);
    enum target_action ta = target_next(&t);
    bool quiet = (sa == SOURCE_WAIT || sa == SOURCE_DONE) && (ta == TARGET_WAIT || ta == TARGET_DONE);

    if (!quiet || w->direct || w->qs == QS_SENDING || w->qs == QS_STOPPED)
        return;
    search.ends++;
    if (!w->claim && !w->close_recorded)
        print_message("unsettled: Qs %d Qt %d, notes %s %s, grant %d returned %d withdraw %d abort %d lost %d\n", w->qs, w->qt,
                      note_string(w->s_note), note_string(w->t_note), w->grant, w->returned, w->withdraw, w->abort, w->lost);
    assert_true(w->lost || source_runs(w) != (w->qt == WAITING_RUNS));
    assert_true(w->claim || w->close_recorded);
}

static void test_every_interleaving(void **state)
{
    struct world first = {.qs = QS_RUNNING, .qt = WAITING_IDLE, .deaths = 6, .losses = 3, .cancels = 2};

    search.seen = map_new(NULL);
    visit(first);
    while (search.todo.len) {
        struct world w = search.todo.items[--search.todo.len];
        check(&w);
        check_end(&w);
        source_step(w);
        target_step(w);
        qemu_step(w);
        fate_step(w);
    }
    print_message("%zu worlds, %zu ends\n", map_len(search.seen), search.ends);
    assert_true(map_len(search.seen) > 10000);
    assert_true(search.ends > 100);
    world_vec_done(&search.todo);
    map_free(search.seen);
}

static void test_source_copies_disks_in_step(void **state)
{
    struct source_view v = {.note = NOTE_OPEN, .epoch = EPOCH_OPEN, .qemu_alive = true, .guest_runs = true,
                            .credentials = true, .target_ready = true, .start_recorded = true, .disks = DISKS_IDLE};

    assert_int_equal(source_next(&v), SOURCE_MIRROR_DISKS);
    v.disks = DISKS_COPYING;
    assert_int_equal(source_next(&v), SOURCE_WAIT);
    v.disks = DISKS_READY;
    v.disks_behind = true;
    assert_int_equal(source_next(&v), SOURCE_WAIT);
    v.disks_behind = false;
    assert_int_equal(source_next(&v), SOURCE_COPY_MEMORY);
    v.copy = COPY_PRE_SWITCHOVER;
    assert_int_equal(source_next(&v), SOURCE_DETACH_DISKS);
    v.disks = DISKS_COPYING; /* the jobs are ending: memory must not go ahead of them */
    assert_int_equal(source_next(&v), SOURCE_WAIT);
    v.disks = DISKS_IDLE; /* the jobs are gone, nobody knows how they ended */
    assert_int_equal(source_next(&v), SOURCE_CANCEL);
    v.disks = DISKS_DETACHED;
    assert_int_equal(source_next(&v), SOURCE_CONTINUE);
    v.disks = DISKS_NONE;
    assert_int_equal(source_next(&v), SOURCE_CONTINUE);
    v.disks = DISKS_FAILED;
    assert_int_equal(source_next(&v), SOURCE_CANCEL);
    v.copy = COPY_FAILED;
    assert_int_equal(source_next(&v), SOURCE_NOTE_CLOSED);
    v.note = NOTE_CLOSED;
    assert_int_equal(source_next(&v), SOURCE_DROP_DISKS);
    v.disks = DISKS_DETACHED; /* of a guest that was taken back */
    assert_int_equal(source_next(&v), SOURCE_DROP_DISKS);
    v.disks = DISKS_IDLE;
    assert_int_equal(source_next(&v), SOURCE_RECORD_CLOSE);
}

static void test_cancel_after_completion_is_too_late(void **state)
{
    struct source_view v = {.note = NOTE_OPEN, .epoch = EPOCH_OPEN, .qemu_alive = true, .copy = COPY_COMPLETED,
                            .abort_requested = true};

    assert_int_equal(source_next(&v), SOURCE_NOTE_GRANTED);
    v.epoch = EPOCH_RETURNED;
    assert_int_equal(source_next(&v), SOURCE_NOTE_CLOSED);
}

static void test_actions_have_names(void **state)
{
    for (enum source_action a = SOURCE_WAIT; a < SOURCE_ACTION_MAX; a++)
        assert_non_null(source_action_string(a));
    for (enum target_action a = TARGET_WAIT; a < TARGET_ACTION_MAX; a++)
        assert_non_null(target_action_string(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_interleaving),
        cmocka_unit_test(test_source_copies_disks_in_step),
        cmocka_unit_test(test_cancel_after_completion_is_too_late),
        cmocka_unit_test(test_actions_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the migration controller does next, from each state; and its queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "migration/phase.h"
#include "migration/queue.h"

/* A view in which nothing is wrong. */
static struct migration_view fine(enum migration_phase phase)
{
    return (struct migration_view){
        .phase = phase, .migrant = MIGRANT_RUNNING, .slot = true, .target = phase >= MIGRATION_SCHEDULING ? TARGET_POD_READY : TARGET_POD_NONE,
        .unschedulable_limit_ms = MIGRATION_UNSCHEDULABLE_MS, .pending_limit_ms = MIGRATION_POD_PENDING_MS,
        .epoch = phase >= MIGRATION_PREPARING_TARGET ? EPOCH_OPEN : EPOCH_NONE,
    };
}

#define EXPECT(view, want) \
    do { \
        struct migration_step step_ = migration_next(&(view)); \
        if (step_.action != (want)) \
            fail_msg("%s instead of %s", migration_action_string(step_.action), migration_action_string(want)); \
    } while (0)

#define EXPECT_ENTER(view, want) \
    do { \
        struct migration_step entered_ = migration_next(&(view)); \
        assert_string_equal(migration_action_string(entered_.action), "enter"); \
        assert_string_equal(migration_phase_string(entered_.phase), migration_phase_string(want)); \
    } while (0)

#define EXPECT_FAIL(view, want) \
    do { \
        struct migration_step failed_ = migration_next(&(view)); \
        assert_int_equal(failed_.action, MIGRATION_ENTER); \
        assert_int_equal(failed_.phase, MIGRATION_FAILED); \
        assert_string_equal(migration_cause_string(failed_.cause), migration_cause_string(want)); \
    } while (0)

static void test_the_way_of_a_good_one(void **state)
{
    struct migration_view v = fine(MIGRATION_NONE);
    EXPECT_ENTER(v, MIGRATION_PENDING);
    v = fine(MIGRATION_PENDING);
    EXPECT(v, MIGRATION_CREATE_POD);
    v.target = TARGET_POD_PENDING;
    EXPECT_ENTER(v, MIGRATION_SCHEDULING);
    v = fine(MIGRATION_SCHEDULING);
    EXPECT_ENTER(v, MIGRATION_SCHEDULED);
    v = fine(MIGRATION_SCHEDULED);
    EXPECT(v, MIGRATION_HAND_OFF);
    v.epoch = EPOCH_OPEN; /* handed off, but the phase was not written */
    EXPECT_ENTER(v, MIGRATION_PREPARING_TARGET);
    v = fine(MIGRATION_PREPARING_TARGET);
    EXPECT(v, MIGRATION_WAIT);
    v.published = true;
    EXPECT_ENTER(v, MIGRATION_TARGET_READY);
    v = fine(MIGRATION_TARGET_READY);
    EXPECT(v, MIGRATION_WAIT);
    v.started = true;
    EXPECT_ENTER(v, MIGRATION_RUNNING);
    v = fine(MIGRATION_RUNNING);
    v.started = true;
    EXPECT(v, MIGRATION_WAIT);
    v.epoch = EPOCH_GRANTED;
    EXPECT(v, MIGRATION_WAIT);
    v.epoch = EPOCH_CLAIMED;
    EXPECT(v, MIGRATION_WAIT);
    v.figures = true;
    EXPECT_ENTER(v, MIGRATION_SUCCEEDED);
    v.phase = MIGRATION_SUCCEEDED;
    EXPECT(v, MIGRATION_WAIT);
}

/* A migration that was faster than its controller passes through all phases. */
static void test_phases_are_not_skipped(void **state)
{
    static const enum migration_phase way[] = {MIGRATION_SCHEDULED, MIGRATION_PREPARING_TARGET, MIGRATION_TARGET_READY,
                                               MIGRATION_RUNNING, MIGRATION_SUCCEEDED};

    for (size_t i = 0; i + 1 < ARRAY_SIZE(way); i++) {
        struct migration_view v = fine(way[i]);
        v.epoch = EPOCH_CLAIMED;
        v.figures = true;
        EXPECT_ENTER(v, way[i + 1]);
    }
}

static void test_waits_before_the_pod(void **state)
{
    struct migration_view v = fine(MIGRATION_PENDING);
    v.slot = false;
    EXPECT(v, MIGRATION_WAIT);
    v = fine(MIGRATION_PENDING);
    v.busy = true;
    EXPECT(v, MIGRATION_WAIT);
    v = fine(MIGRATION_PENDING);
    v.migrant = MIGRANT_STARTING;
    EXPECT(v, MIGRATION_WAIT);
    v = fine(MIGRATION_SCHEDULED);
    v.busy = true;
    EXPECT(v, MIGRATION_WAIT);
}

/* The agents get it with all disks at rest: neither the target pod nor the hand-off comes before. */
static void test_waits_for_volumes_on_their_way(void **state)
{
    static const enum migration_phase phases[] = {MIGRATION_PENDING, MIGRATION_SCHEDULED};

    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        struct migration_view v = fine(phases[i]);
        v.plugging = true;
        EXPECT(v, MIGRATION_WAIT);
        v.plugging = false;
        EXPECT(v, phases[i] == MIGRATION_PENDING ? MIGRATION_CREATE_POD : MIGRATION_HAND_OFF);
    }
}

static void test_failures_before_the_hand_off(void **state)
{
    struct migration_view v = fine(MIGRATION_NONE);
    v.rival = true;
    EXPECT_FAIL(v, CAUSE_OTHER_JOB);
    for (enum migration_phase p = MIGRATION_NONE; p <= MIGRATION_SCHEDULED; p++) {
        v = fine(p);
        v.migrant = MIGRANT_ABSENT;
        EXPECT_FAIL(v, CAUSE_NO_VMI);
        v.migrant = MIGRANT_OVER;
        EXPECT_FAIL(v, CAUSE_VMI_SHUTDOWN);
        v.migrant = MIGRANT_ENDING;
        EXPECT_FAIL(v, CAUSE_VMI_SHUTDOWN);
        v = fine(p);
        v.deleting = true;
        EXPECT_FAIL(v, CAUSE_CANCELED);
    }
    v = fine(MIGRATION_PENDING);
    v.not_migratable = true;
    EXPECT_FAIL(v, CAUSE_NOT_MIGRATABLE);
    v = fine(MIGRATION_PENDING);
    v.refused = true;
    EXPECT_FAIL(v, CAUSE_POD_REFUSED);
    v = fine(MIGRATION_SCHEDULING);
    v.target = TARGET_POD_NONE;
    EXPECT_FAIL(v, CAUSE_TARGET_REMOVED);
    v.target = TARGET_POD_OVER;
    EXPECT_FAIL(v, CAUSE_TARGET_SHUTDOWN);
    v = fine(MIGRATION_RUNNING);
    v.epoch = EPOCH_NONE;
    EXPECT_FAIL(v, CAUSE_STATE_CLEARED);
    v.busy = true;
    EXPECT_FAIL(v, CAUSE_TAKEN_OVER);
}

static void test_pod_timeouts(void **state)
{
    struct migration_view v = fine(MIGRATION_SCHEDULING);

    v.target = TARGET_POD_PENDING;
    v.target_age_ms = MIGRATION_POD_PENDING_MS - 1;
    EXPECT(v, MIGRATION_WAIT);
    assert_int_equal(migration_next(&v).look_again_ms, 1);
    v.target_age_ms++;
    EXPECT_FAIL(v, CAUSE_PENDING_TIMEOUT);
    v.target_age_ms = MIGRATION_UNSCHEDULABLE_MS;
    EXPECT(v, MIGRATION_WAIT);
    v.unschedulable = true;
    EXPECT_FAIL(v, CAUSE_UNSCHEDULABLE);
}

static void test_cancel_after_the_hand_off(void **state)
{
    static const enum migration_phase all[] = {MIGRATION_SCHEDULED, MIGRATION_PREPARING_TARGET, MIGRATION_TARGET_READY, MIGRATION_RUNNING};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct migration_view v = fine(all[i]);
        v.epoch = EPOCH_OPEN;
        v.deleting = true;
        EXPECT(v, MIGRATION_ABORT);
        v.abort_requested = true;
        assert_true(migration_next(&v).action != MIGRATION_ABORT);
        v.epoch = EPOCH_GRANTED; /* too late */
        v.abort_requested = false;
        assert_true(migration_next(&v).action != MIGRATION_ABORT);
        v.epoch = EPOCH_CLOSED;
        EXPECT_FAIL(v, CAUSE_CANCELED);
    }
}

static void test_lost_target_is_aborted(void **state)
{
    struct migration_view v = fine(MIGRATION_PREPARING_TARGET);

    v.target = TARGET_POD_OVER;
    EXPECT(v, MIGRATION_ABORT);
    assert_int_equal(migration_next(&v).cause, CAUSE_TARGET_SHUTDOWN);
    v.target = TARGET_POD_READY;
    v.phase_ms = MIGRATION_PREPARE_MS;
    EXPECT(v, MIGRATION_ABORT);
    v.started = true;
    v.published = true;
    EXPECT_ENTER(v, MIGRATION_TARGET_READY);
}

static void test_dead_source(void **state)
{
    struct migration_view v = fine(MIGRATION_RUNNING);

    v.source_dead = true;
    EXPECT(v, MIGRATION_WAIT);
    v.received = true;
    EXPECT(v, MIGRATION_GRANT);
    v.shared_disk = true; /* it may be newer than the target's memory */
    EXPECT(v, MIGRATION_WITHDRAW);
    v.withdrawn = true;
    EXPECT(v, MIGRATION_WAIT);
    v.withdrawn = v.received = v.shared_disk = false;
    v.waited_ms = MIGRATION_RECEIVED_MS;
    EXPECT(v, MIGRATION_WITHDRAW);
    v.epoch = EPOCH_RETURNED;
    EXPECT(v, MIGRATION_CLOSE);
    v.epoch = EPOCH_CLOSED;
    EXPECT_FAIL(v, CAUSE_SOURCE_DEAD);
    v.epoch = EPOCH_GRANTED; /* the target claims by itself */
    EXPECT(v, MIGRATION_WAIT);
    v.epoch = EPOCH_OPEN;
    v.target_gone = true;
    EXPECT(v, MIGRATION_CLOSE);
}

/* The pod is being deleted, or its object is away while its node is silent: its QEMU may have a grant that only it
 * knows of. */
static void test_dead_source_with_a_target_that_leaves(void **state)
{
    static const enum target_pod_state leaving[] = {TARGET_POD_OVER, TARGET_POD_NONE};

    for (size_t i = 0; i < ARRAY_SIZE(leaving); i++) {
        struct migration_view v = fine(MIGRATION_RUNNING);
        v.source_dead = true;
        v.target = leaving[i];
        EXPECT(v, MIGRATION_WITHDRAW);
        v.received = true;
        EXPECT(v, MIGRATION_WITHDRAW);
        v.withdrawn = true;
        EXPECT(v, MIGRATION_WAIT);
        v.target_gone = true;
        EXPECT(v, MIGRATION_CLOSE);
    }
}

/* Nothing may be granted for a source that was not declared dead. */
static void test_source_without_a_pod_is_not_granted_for(void **state)
{
    struct migration_view v = fine(MIGRATION_RUNNING);

    v.source_gone = true;
    v.received = true;
    EXPECT(v, MIGRATION_WITHDRAW);
}

static void test_dead_target(void **state)
{
    struct migration_view v = fine(MIGRATION_RUNNING);

    v.target_dead = true;
    EXPECT(v, MIGRATION_RETURN);
    v.epoch = EPOCH_GRANTED;
    EXPECT(v, MIGRATION_RETURN);
    v.epoch = EPOCH_RETURNED;
    EXPECT(v, MIGRATION_WAIT); /* the source takes the guest back */
    v.source_dead = true;
    EXPECT(v, MIGRATION_CLOSE);
    v.epoch = EPOCH_CLAIMED;
    v.figures = true;
    EXPECT_ENTER(v, MIGRATION_SUCCEEDED);
}

/* Every view there is: what must never happen. */
static void test_invariants(void **state)
{
    for (unsigned bits = 0; bits < 1u << 15; bits++)
        for (int phase = 0; phase < MIGRATION_PHASE_MAX; phase++)
            for (int epoch = 0; epoch < EPOCH_STATE_MAX; epoch++)
                for (int target = TARGET_POD_NONE; target <= TARGET_POD_OVER; target++) {
                    struct migration_view v = fine((enum migration_phase)phase);
                    v.epoch = (enum epoch_state)epoch;
                    v.target = (enum target_pod_state)target;
                    v.deleting = bits & 1;
                    v.busy = bits & 2;
                    v.slot = bits & 4;
                    v.abort_requested = bits & 8;
                    v.withdrawn = bits & 16;
                    v.received = bits & 32;
                    v.source_dead = bits & 64;
                    v.target_dead = bits & 128;
                    v.source_gone = bits & 256;
                    v.shared_disk = bits & 512;
                    v.started = bits & 1024;
                    v.figures = bits & 2048;
                    v.migrant = bits & 4096 ? MIGRANT_ENDING : MIGRANT_RUNNING;
                    v.waited_ms = bits & 8192 ? 20000 : 0;
                    v.target_gone = bits & 16384;
                    struct migration_step step = migration_next(&v);
                    bool settled = epoch_settled(v.epoch), open = v.epoch == EPOCH_OPEN;
                    if (migration_phase_final(v.phase))
                        assert_int_equal(step.action, MIGRATION_WAIT);
                    if (step.action == MIGRATION_ENTER && step.phase != MIGRATION_FAILED)
                        assert_int_equal(step.phase, v.phase + 1);
                    if (step.action == MIGRATION_ENTER && step.phase == MIGRATION_FAILED)
                        assert_true(settled && v.epoch != EPOCH_CLAIMED);
                    if (step.action == MIGRATION_ENTER && step.phase == MIGRATION_SUCCEEDED)
                        assert_int_equal(v.epoch, EPOCH_CLAIMED);
                    if (step.action == MIGRATION_HAND_OFF || step.action == MIGRATION_CREATE_POD)
                        assert_true(v.epoch == EPOCH_NONE && !v.busy && !v.deleting);
                    if (step.action == MIGRATION_CREATE_POD)
                        assert_true(v.slot && target == TARGET_POD_NONE);
                    if (step.action == MIGRATION_GRANT)
                        assert_true(open && v.source_dead && v.received && !v.shared_disk && !v.withdrawn && !v.target_dead);
                    if (step.action == MIGRATION_WITHDRAW || step.action == MIGRATION_ABORT)
                        assert_true(open);
                    if (step.action == MIGRATION_RETURN)
                        assert_true(v.target_dead && (open || v.epoch == EPOCH_GRANTED));
                    if (step.action == MIGRATION_CLOSE)
                        assert_true((v.source_dead || v.source_gone) && (v.epoch == EPOCH_RETURNED || (open && v.target_gone)));
                }
}

static void test_names(void **state)
{
    for (int p = 0; p < MIGRATION_PHASE_MAX; p++)
        assert_int_equal(migration_phase_from(migration_phase_string((enum migration_phase)p)), p);
    assert_int_equal(migration_phase_from(NULL), MIGRATION_NONE);
    assert_int_equal(migration_phase_from("Sideways"), MIGRATION_NONE);
}

/* --- the queue --- */

static void put(struct queue *q, const char *key, enum queue_class class, const char *node, int priority, int64_t created)
{
    struct queue_item item = {class, node, priority, created, key};

    (void)queue_set(q, key, &item);
}

static void test_queue_order(void **state)
{
    struct queue *q = queue_new();
    const struct queue_limits limits = {2, 1};

    put(q, "c", QUEUE_WAITING, "n1", 0, 30);
    put(q, "a", QUEUE_WAITING, "n1", 0, 10);
    put(q, "b", QUEUE_WAITING, "n2", 0, 20);
    put(q, "urgent", QUEUE_WAITING, "n3", queue_priority("system-critical"), 99);
    assert_int_equal(queue_place(q, "urgent"), 1);
    assert_int_equal(queue_place(q, "a"), 2);
    assert_int_equal(queue_place(q, "c"), 4);
    assert_string_equal(queue_at(q, 3), "b");
    assert_null(queue_at(q, 5));
    assert_string_equal(queue_next(q, &limits), "urgent");
    put(q, "urgent", QUEUE_ACTIVE, "n3", 0, 99);
    assert_string_equal(queue_next(q, &limits), "a");
    put(q, "a", QUEUE_ACTIVE, "n1", 0, 10);
    assert_null(queue_next(q, &limits)); /* the cluster's limit */
    put(q, "urgent", QUEUE_NONE, NULL, 0, 99);
    assert_string_equal(queue_next(q, &limits), "b");
    put(q, "b", QUEUE_ACTIVE, "n2", 0, 20);
    put(q, "b", QUEUE_NONE, NULL, 0, 20);
    assert_null(queue_next(q, &limits)); /* the node's limit holds c, and only c */
    put(q, "d", QUEUE_WAITING, "n2", 0, 40);
    assert_string_equal(queue_next(q, &limits), "d");
    assert_int_equal(queue_active(q), 1);
    assert_int_equal(queue_active_on(q, "n1"), 1);
    assert_int_equal(queue_waiting(q), 2);
    queue_free(q);
}

static void test_queue_tells_whether_others_are_concerned(void **state)
{
    struct queue *q = queue_new();
    struct queue_item item = {QUEUE_WAITING, "n1", 0, 1, "u"};

    assert_false(queue_set(q, "a", &item));
    assert_false(queue_set(q, "a", &item));
    item.class = QUEUE_ACTIVE;
    assert_true(queue_set(q, "a", &item)); /* those behind move up */
    item.class = QUEUE_NONE;
    assert_true(queue_set(q, "a", &item));
    assert_false(queue_set(q, "a", &item));
    assert_int_equal(queue_class(q, "a"), QUEUE_NONE);
    queue_free(q);
}

/* Thousands of random changes against a plain count. */
static void test_queue_at_random(void **state)
{
    enum { N = 300, NODES = 7 };
    struct queue *q = queue_new();
    const struct queue_limits limits = {20, 4};
    enum queue_class class[N] = {0};
    int node[N], priority[N], created[N];
    uint32_t seed = 1;

    for (int i = 0; i < N; i++) {
        seed = seed * 1664525 + 1013904223;
        node[i] = (int)(seed >> 8) % NODES;
        priority[i] = (int)(seed >> 16) % 2 * 50;
        created[i] = (int)(seed >> 20) % 40;
    }
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        int i = (int)(seed >> 8) % N, best = -1;
        size_t active = 0, on[NODES] = {0};
        char key[16], name[16];
        class[i] = (enum queue_class)((seed >> 24) % 3);
        snprintf(key, sizeof(key), "k%03d", i);
        snprintf(name, sizeof(name), "n%d", node[i]);
        put(q, key, class[i], name, priority[i], created[i]);
        for (int k = 0; k < N; k++)
            if (class[k] == QUEUE_ACTIVE) {
                active++;
                on[node[k]]++;
            }
        for (int k = 0; k < N; k++)
            if (class[k] == QUEUE_WAITING && active < 20 && on[node[k]] < 4 &&
                (best < 0 || priority[k] > priority[best] || (priority[k] == priority[best] && created[k] < created[best])))
                best = k;
        const char *next = queue_next(q, &limits);
        snprintf(key, sizeof(key), "k%03d", best);
        assert_int_equal(next != NULL, best >= 0);
        if (next)
            assert_string_equal(next, key);
        assert_int_equal(queue_active(q), active);
    }
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_way_of_a_good_one),
        cmocka_unit_test(test_phases_are_not_skipped),
        cmocka_unit_test(test_waits_before_the_pod),
        cmocka_unit_test(test_waits_for_volumes_on_their_way),
        cmocka_unit_test(test_failures_before_the_hand_off),
        cmocka_unit_test(test_pod_timeouts),
        cmocka_unit_test(test_cancel_after_the_hand_off),
        cmocka_unit_test(test_lost_target_is_aborted),
        cmocka_unit_test(test_dead_source),
        cmocka_unit_test(test_dead_source_with_a_target_that_leaves),
        cmocka_unit_test(test_source_without_a_pod_is_not_granted_for),
        cmocka_unit_test(test_dead_target),
        cmocka_unit_test(test_invariants),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_queue_order),
        cmocka_unit_test(test_queue_tells_whether_others_are_concerned),
        cmocka_unit_test(test_queue_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the agent does next for a pod: single decisions, and whole lives with restarts at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/steps.h"

static void assert_next(struct pod_view v, enum pod_action expected)
{
    assert_string_equal(pod_action_string(pod_next(&v)), pod_action_string(expected));
}

static void test_a_start_in_order(void **state)
{
    struct pod_view v = {.object = OBJECT_PRESENT, .may_run = true};

    assert_next(v, POD_DO_GET_VMI);
    v.has_vmi = true;
    assert_next(v, POD_DO_GET_OBJECTS);
    v.has_objects = true;
    assert_next(v, POD_DO_PREPARE_VOLUMES);
    v.has_volumes = true;
    assert_next(v, POD_DO_MAKE_NETWORK);
    v.has_network = true;
    assert_next(v, POD_DO_LAUNCH);
    v.launcher = LAUNCHER_ALIVE;
    v.step = POD_LAUNCHING;
    assert_next(v, POD_DO_CONNECT);
    v.session = v.prelaunch = true;
    assert_next(v, POD_DO_RUN);
    v.step = POD_UP;
    v.prelaunch = false;
    assert_next(v, POD_DO_WAIT);
}

static void test_whoever_is_busy_waits(void **state)
{
    for (enum pod_step s = POD_NEW; s < POD_STEP_MAX; s++)
        for (int stop = 0; stop < 2; stop++)
            assert_next((struct pod_view){.step = s, .busy = true, .stop_wanted = stop, .launcher = LAUNCHER_DEAD},
                        POD_DO_WAIT);
}

static void test_a_target_is_not_run(void **state)
{
    struct pod_view v = {.step = POD_UP,
                         .object = OBJECT_PRESENT,
                         .has_vmi = true,
                         .launcher = LAUNCHER_ALIVE,
                         .session = true,
                         .prelaunch = true};

    assert_next(v, POD_DO_WAIT);
    v.may_run = true;
    assert_next(v, POD_DO_RUN);
}

/* startStrategy Paused: got ready once in each life of the agent, and then left to its user. */
static void test_a_held_guest_is_not_run(void **state)
{
    struct pod_view v = {.step = POD_UP,
                         .object = OBJECT_PRESENT,
                         .has_vmi = true,
                         .launcher = LAUNCHER_ALIVE,
                         .session = true,
                         .may_run = true,
                         .prelaunch = true};

    assert_next(v, POD_DO_RUN);
    v.held = true;
    assert_next(v, POD_DO_WAIT);
    v.stop_wanted = true; /* there is nobody to ask */
    assert_next(v, POD_DO_KILL);
}

static void test_stops(void **state)
{
    struct pod_view up = {.step = POD_UP,
                          .object = OBJECT_DELETING,
                          .has_vmi = true,
                          .launcher = LAUNCHER_ALIVE,
                          .session = true,
                          .may_run = true,
                          .stop_wanted = true},
                    v;

    assert_next(up, POD_DO_POWERDOWN);
    v = up, v.powerdown_sent = true;
    assert_next(v, POD_DO_WAIT);
    v = up, v.powerdown_sent = v.grace_over = true;
    assert_next(v, POD_DO_KILL);
    v.quits = true;
    assert_next(v, POD_DO_WAIT);
    v = up, v.prelaunch = true; /* it has never run: there is nobody to ask */
    assert_next(v, POD_DO_KILL);
    v = up, v.may_run = false; /* a target that waits */
    assert_next(v, POD_DO_KILL);
    v = up, v.session = false, v.control = true; /* QMP is away: the launcher can press the button */
    assert_next(v, POD_DO_POWERDOWN);
    v.control = false; /* after a restart: the button is pressed by nobody yet */
    assert_next(v, POD_DO_CONNECT);
    v.powerdown_sent = true; /* and nobody would tell of the end */
    assert_next(v, POD_DO_CONNECT);
    v = (struct pod_view){.object = OBJECT_DELETING, .stop_wanted = true};
    for (enum pod_step s = POD_NEW; s <= POD_LAUNCHING; s++) {
        v.step = s;
        assert_next(v, POD_DO_GIVE_UP);
    }
}

static void test_ends(void **state)
{
    struct pod_view v = {.step = POD_UP, .object = OBJECT_PRESENT, .has_vmi = true, .launcher = LAUNCHER_DEAD};

    assert_next(v, POD_DO_READ_EXIT);
    v.stop_wanted = true;
    assert_next(v, POD_DO_READ_EXIT);
    v.step = POD_ENDED;
    assert_next(v, POD_DO_WAIT); /* the VMI that is known may be of before its migration */
    v.heard = true;
    assert_next(v, POD_DO_CONCLUDE);
    v.concluded = true;
    assert_next(v, POD_DO_RELEASE);
    v.step = POD_RELEASED;
    for (int told = 0; told < 2; told++) {
        v.told = told;
        v.object = OBJECT_PRESENT;
        assert_next(v, POD_DO_WAIT);
        v.object = OBJECT_UNKNOWN;
        assert_next(v, POD_DO_WAIT);
        v.object = OBJECT_DELETING;
        assert_next(v, told ? POD_DO_DELETE_OBJECT : POD_DO_WAIT);
        v.object = OBJECT_GONE;
        assert_next(v, told ? POD_DO_FORGET : POD_DO_WAIT);
    }
}

/* A world with one pod: actions take effect, QEMU may die at any time, the agent may restart at any time. */
struct world {
    struct pod_view v;
    bool qemu, exit_noted, resources, forgotten, guest_ran;
    bool told; /* the server knows how it ended */
    int launches;
};

static void restart(struct world *w)
{
    struct pod_view *v = &w->v;
    enum launcher_state launcher = w->qemu                        ? LAUNCHER_ALIVE
                                   : w->launches || w->exit_noted ? LAUNCHER_DEAD
                                                                  : LAUNCHER_NONE;

    *v = (struct pod_view){.step = v->step,
                           .object = v->object,
                           .has_vmi = v->has_vmi,
                           .launcher = launcher,
                           .may_run = true,
                           .stop_wanted = v->stop_wanted,
                           .grace_over = v->grace_over,
                           .concluded = v->concluded,
                           .has_network = w->resources};
}

static void apply(struct world *w, enum pod_action a)
{
    struct pod_view *v = &w->v;

    if (pod_step_after(a) != POD_STEP_MAX && pod_step_after(a) > v->step)
        v->step = pod_step_after(a);
    switch (a) {
    case POD_DO_GET_VMI:
        v->has_vmi = true;
        break;
    case POD_DO_GET_OBJECTS:
        v->has_objects = true;
        break;
    case POD_DO_PREPARE_VOLUMES:
        v->has_volumes = true;
        break;
    case POD_DO_MAKE_NETWORK:
        v->has_network = w->resources = true;
        break;
    case POD_DO_LAUNCH:
        assert_false(w->qemu);
        w->launches++;
        w->qemu = true;
        v->launcher = LAUNCHER_ALIVE;
        break;
    case POD_DO_CONNECT:
        v->session = v->control = w->qemu;
        v->prelaunch = !w->guest_ran;
        if (!w->qemu)
            v->launcher = LAUNCHER_DEAD;
        break;
    case POD_DO_RUN:
        v->prelaunch = false;
        w->guest_ran = true;
        break;
    case POD_DO_POWERDOWN:
        assert_true(v->session || v->control);
        v->powerdown_sent = true;
        break;
    case POD_DO_KILL:
        v->quits = true;
        w->qemu = false;
        v->launcher = LAUNCHER_DEAD;
        break;
    case POD_DO_GIVE_UP:
        w->exit_noted = true;
        break;
    case POD_DO_CONCLUDE:
        v->concluded = true;
        v->told = false;
        break;
    case POD_DO_RELEASE:
        assert_false(w->qemu);
        w->resources = false;
        v->has_network = false;
        break;
    case POD_DO_DELETE_OBJECT:
        assert_true(w->told);
        v->object = OBJECT_GONE;
        break;
    case POD_DO_FORGET:
        assert_true(w->told);
        w->forgotten = true;
        break;
    default:
        break;
    }
}

static void disturb(struct world *w, unsigned dice)
{
    struct pod_view *v = &w->v;

    if (dice % 8 == 0)
        restart(w);
    if (dice % 16 == 1 && w->qemu) {
        w->qemu = false;
        v->launcher = LAUNCHER_DEAD;
        v->session = v->control = false;
    }
    if (dice % 8 == 2)
        v->heard = true;
    if (dice % 8 == 4) {
        v->told = true;
        w->told = v->concluded;
    }
    if (dice % 16 == 3) {
        v->stop_wanted = true;
        v->object = v->object == OBJECT_GONE ? OBJECT_GONE : OBJECT_DELETING;
    }
    if (dice % 32 == 5)
        v->grace_over = v->stop_wanted;
    v->powerdown_sent = v->powerdown_sent && dice % 4;
}

/* However the world turns: QEMU is started at most once, and in the end nothing is left. */
static void test_every_life_ends_clean(void **state)
{
    srandom(7);
    for (int life = 0; life < 20000; life++) {
        struct world w = {.v = {.object = OBJECT_PRESENT, .may_run = true, .heard = true}};
        int i = 0;
        for (; i < 400 && !w.forgotten; i++) {
            disturb(&w, (unsigned)random());
            if (i == 200) { /* in the end everything is stopped, and the grace period over */
                w.v.stop_wanted = w.v.grace_over = true;
                w.v.object = w.v.object == OBJECT_GONE ? OBJECT_GONE : OBJECT_DELETING;
            }
            apply(&w, pod_next(&w.v));
        }
        assert_true(w.forgotten);
        assert_false(w.qemu || w.resources);
        assert_true(w.launches <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_in_order),
        cmocka_unit_test(test_whoever_is_busy_waits),
        cmocka_unit_test(test_a_target_is_not_run),
        cmocka_unit_test(test_a_held_guest_is_not_run),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_every_life_ends_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

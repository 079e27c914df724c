/* An `unpause` that meets the end of a migration, with a real QEMU that completes by itself: `cont` would run a guest whose
 * state somebody else has (QEMU's `postmigrate`), that is, run it twice. A gate in the QMP session holds a `cont` back, if
 * one comes, until QEMU is there: what a slow socket or a busy QEMU may do at any time. Needs root. */
#include "stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/migration/script.h"
#include "base/log.h"
#include "base/str.h"
#include "gate.h"

#define SLOW (32 << 10) /* bytes in a second: nothing completes until the limit is lifted */

static bool copies(void *data)
{
    return streq(((struct stage *)data)->nodes[0].machine->status, "active");
}

/* A paused guest in mid-copy, with the gate in the source's session. */
static struct stage *begin(struct gate **ret_gate)
{
    struct stage *s = stage_paused(SLOW);
    struct node *source = &s->nodes[0];

    node_kill_agent(source);
    *ret_gate = gate_new(source->machine, "cont", "postmigrate");
    node_start_agent(source);
    return s;
}

static void end(struct stage *s, struct gate *g)
{
    stage_free(s);
    gate_free(g);
}

static void lift_the_limit(struct stage *s)
{
    yyjson_mut_doc *fast = json_object();

    json_set_int(fast, "/max-bandwidth", 1 << 30);
    qmp_command(s->nodes[0].machine->qmp, "migrate-set-parameters", fast, NULL, NULL);
}

static void never_ran_at_the_source(struct stage *s, struct gate *g)
{
    if (gate_was_met(g) || s->nodes[0].machine->resumed)
        fail_msg("the source was let run where its migration was complete");
}

/* And the user's wish is for the one that has it. */
static void ends_on_target(struct stage *s, struct gate *g)
{
    lift_the_limit(s);
    assert_true(stage_settles(s, 30));
    never_ran_at_the_source(s, g);
    assert_string_equal(stage_text(s, "/status/nodeName"), "node-b");
    assert_true(machine_is(s->nodes[1].machine, "paused"));
    assert_int_equal(node_ask(&s->nodes[1], "unpause"), 200);
    assert_true(machine_is(s->nodes[1].machine, "running"));
}

static void in_mid_migration(void **state)
{
    struct gate *g;
    struct stage *s = begin(&g);

    assert_true(lab_wait(s->lab, 30, copies, s));
    assert_int_equal(node_ask(&s->nodes[0], "unpause"), 503);
    ends_on_target(s, g);
    end(s, g);
}

/* What the restarted agent knows of the VMI is older than the migration: only QEMU tells of it. */
static void of_an_earlier_life(void **state)
{
    struct gate *g;
    struct stage *s = begin(&g);
    struct node *source = &s->nodes[0];
    _cleanup_mut_doc_ yyjson_mut_doc *old = NULL;

    assert_true(lab_wait(s->lab, 30, copies, s));
    node_kill_agent(source);
    old = json_copy(yyjson_doc_get_root(source->pod.vmi));
    json_remove(old, "/status/migrationState");
    yyjson_doc_free(source->pod.vmi);
    source->pod.vmi = yyjson_mut_doc_imut_copy(old, NULL);
    source->deaf = true;
    node_start_agent(source);
    assert_int_equal(node_ask(source, "unpause"), 503);
    source->deaf = false;
    stage_patch(s, "{}"); /* it hears */
    ends_on_target(s, g);
    end(s, g);
}

/* As the driver would, which waits for its target here: on the same session, behind the question whether there is a migration. */
static void migrate(struct stage *s)
{
    static const char events[] = "{\"capabilities\":[{\"capability\":\"events\",\"state\":true}]}";
    struct qmp *q = s->nodes[0].machine->qmp;
    yyjson_mut_doc *slow = json_object();
    _cleanup_doc_ yyjson_doc *doc = NULL;

    json_set_int(slow, "/max-bandwidth", SLOW);
    qmp_command(q, "migrate-set-parameters", slow, NULL, NULL);
    assert_int_equal(json_parse(events, strlen(events), &doc, NULL), 0);
    qmp_command(q, "migrate-set-capabilities", json_copy(yyjson_doc_get_root(doc)), NULL, NULL);
    qmp_command(q, "migrate", script_args("/uri", "exec:cat >/dev/null", NULL), NULL, NULL);
}

static void that_begins_behind_the_question(void **state)
{
    struct gate *g;
    struct stage *s = begin(&g);

    node_kill_agent(&s->nodes[1]);
    s->on_request = migrate;
    assert_int_equal(node_ask(&s->nodes[0], "unpause"), 503);
    assert_null(s->on_request);
    lift_the_limit(s);
    assert_true(machine_reaches(s->nodes[0].machine, "completed", 20));
    lab_pass(s->lab, 200);
    never_ran_at_the_source(s, g);
    end(s, g);
}

static void kill_target(struct stage *s)
{
    s->on_forward = NULL;
    node_kill_agent(&s->nodes[1]); /* before the grant can be read */
    node_kill_qemu(&s->nodes[1]);
}

/* Between grant and return nobody may run it, and then it is its user's again. */
static void of_a_guest_that_comes_back(void **state)
{
    struct stage *s = stage_paused(0);
    struct machine *source = s->nodes[0].machine;

    s->on_forward = kill_target;
    assert_true(stage_reaches(s, "Granted", 30));
    lab_pass(s->lab, 200);
    assert_int_equal(node_ask(&s->nodes[0], "unpause"), 503);
    node_start_agent(&s->nodes[1]);
    assert_true(stage_settles(s, 30));
    assert_string_equal(stage_text(s, "/status/nodeName"), "node-a");
    assert_true(machine_is(source, "postmigrate"));
    assert_true(source->resumed == 0);
    assert_int_equal(node_ask(&s->nodes[0], "unpause"), 200);
    assert_true(machine_is(source, "running"));
    stage_free(s);
}

/* The gate and the commands work: without a migration nothing is put off but by the gate. */
static void without_a_migration(void **state)
{
    struct gate *g;
    struct stage *s = stage_paused(SLOW);
    struct node *source = &s->nodes[0];

    node_kill_agent(&s->nodes[1]);
    node_kill_agent(source);
    stage_patch(s, "{\"status\":{\"migrationState\":null}}");
    g = gate_new(source->machine, "cont", "paused");
    node_start_agent(source);
    assert_int_equal(node_ask(source, "unpause"), 200);
    assert_true(gate_was_met(g) && source->machine->resumed);
    assert_true(machine_is(source->machine, "running"));
    assert_int_equal(node_ask(source, "pause"), 200);
    assert_int_equal(node_ask(source, "pause"), 409);
    end(s, g);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_migration),
        cmocka_unit_test(in_mid_migration),
        cmocka_unit_test(of_an_earlier_life),
        cmocka_unit_test(that_begins_behind_the_question),
        cmocka_unit_test(of_a_guest_that_comes_back),
    };

    if (getenv("GODWIT_DEBUG"))
        log_init("unpause", LOG_DEBUG_);
    if (geteuid() != 0)
        return 77; /* skipped */
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The migration drivers of two agents against real QEMUs: a guest moves, and every part is killed at the moments that
 * docs/handover.md names. In the end exactly one guest runs, and it is the one the VMI's status names. Needs root. */
#include "stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/migration/direct.h"
#include "agent/migration/mover.h"
#include "agent/network/pod_network.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define SLOW (32 << 10)

static bool runs(struct node *n)
{
    return n->machine->qmp && machine_lives(n->machine) && machine_is(n->machine, "running");
}

static void counts_on(struct node *n)
{
    unsigned before = machine_counter(n->machine);

    lab_pass(n->stage->lab, 300);
    assert_true(machine_counter(n->machine) > before);
}

static bool has_figures(void *data)
{
    yyjson_val *progress = json_at(yyjson_doc_get_root(((struct stage *)data)->vmi), "/status/migrationState/progress");

    return json_int(progress, "/downtimeMs", -1) >= 0 && json_int(progress, "/totalTimeMs", -1) > 0 && json_int(progress, "/percent", 0) == 100;
}

static void ends_on_target(struct stage *s)
{
    assert_true(stage_settles(s, 30));
    if (!s->source_died)
        assert_true(lab_wait(s->lab, 2, has_figures, s));
    assert_string_equal(stage_text(s, "/status/nodeName"), "node-b");
    assert_false(machine_lives(s->nodes[0].machine));
    assert_true(s->nodes[0].succeeded);
    assert_false(s->nodes[0].pod.owner);
    assert_true(s->nodes[1].pod.owner);
    assert_true(runs(&s->nodes[1]));
    assert_int_equal(s->nodes[0].pod.network->state, ADDRESS_FORWARDING);
    assert_int_equal(s->nodes[1].pod.network->state, ADDRESS_ACTIVE);
    assert_int_equal(s->nodes[1].pod.network->epoch, 1);
    counts_on(&s->nodes[1]);
}

static void ends_on_source(struct stage *s, const char *reason)
{
    assert_true(stage_settles(s, 30));
    assert_string_equal(stage_text(s, "/status/nodeName"), "node-a");
    assert_false(machine_lives(s->nodes[1].machine));
    assert_true(s->nodes[0].pod.owner);
    assert_false(s->nodes[1].pod.owner);
    assert_int_equal(s->nodes[0].pod.network->state, ADDRESS_ACTIVE);
    assert_int_equal(s->nodes[1].pod.network->state, ADDRESS_HOLDING);
    assert_true(runs(&s->nodes[0]));
    counts_on(&s->nodes[0]);
    if (!strstr(stage_text(s, "/status/migrationState/failureReason"), reason))
        fail_msg("the reason is '%s', not '%s'", stage_text(s, "/status/migrationState/failureReason"), reason);
}

static bool copies(void *data)
{
    return streq(((struct stage *)data)->nodes[0].machine->status, "active");
}

/* Until memory is on its way, behind the disk. */
static struct stage *in_mid_copy(void)
{
    struct stage *s = stage_new(SLOW);

    assert_true(lab_wait(s->lab, 30, copies, s));
    return s;
}

static void a_guest_moves(void **state)
{
    struct stage *s = stage_new(0);

    ends_on_target(s);
    print_message("blackout %.1f ms\n", (double)(s->nodes[1].machine->resumed - s->nodes[0].machine->stopped) / 1000);
    assert_true(s->refusals <= 1); /* the record of the grant, if the claim was faster */
    stage_free(s);
}

static void a_cancelled_migration_leaves_the_guest(void **state)
{
    struct stage *s = in_mid_copy();

    stage_patch(s, "{\"status\":{\"migrationState\":{\"abortRequested\":true}}}");
    ends_on_source(s, "aborted");
    assert_string_equal(stage_text(s, "/status/migrationState/abortStatus"), "Succeeded");
    stage_free(s);
}

static void a_target_that_dies_in_the_copy_fails_it(void **state)
{
    struct stage *s = in_mid_copy();

    node_kill_qemu(&s->nodes[1]);
    ends_on_source(s, "");
    stage_free(s);
}

static void a_source_that_dies_in_the_copy_is_lost(void **state)
{
    struct stage *s = in_mid_copy();

    node_kill_qemu(&s->nodes[0]);
    assert_true(stage_settles(s, 30));
    assert_true(s->nodes[0].finished);
    assert_false(s->nodes[0].succeeded);
    assert_false(machine_lives(s->nodes[1].machine));
    stage_free(s);
}

static void kill_source(struct stage *s)
{
    s->source_died = true;
    node_kill_qemu(&s->nodes[0]);
}

static void a_source_that_dies_after_its_grant_does_not_matter(void **state)
{
    struct stage *s = stage_new(0);

    s->on_forward = kill_source;
    ends_on_target(s);
    stage_free(s);
}

static void kill_target(struct stage *s)
{
    s->on_forward = NULL;
    node_kill_agent(&s->nodes[1]); /* before the grant can be read */
    node_kill_qemu(&s->nodes[1]);
}

static void a_target_that_dies_after_the_grant_gives_it_back(void **state)
{
    struct stage *s = stage_new(0);

    s->on_forward = kill_target;
    assert_true(stage_reaches(s, "Granted", 30));
    lab_pass(s->lab, 300);
    assert_true(machine_is(s->nodes[0].machine, "postmigrate"));
    node_start_agent(&s->nodes[1]);
    ends_on_source(s, "the target gave up");
    stage_free(s);
}

static void stop_server(struct stage *s)
{
    s->server_dead = true;
}

static void without_the_server_the_direct_grant_does(void **state)
{
    struct stage *s = stage_new(0);

    s->on_forward = stop_server;
    for (int i = 0; i < 500 && !s->nodes[1].machine->resumed; i++)
        lab_pass(s->lab, 20);
    assert_true(s->nodes[1].machine->resumed != 0);
    lab_pass(s->lab, 500);
    assert_string_equal(stage_text(s, "/status/nodeName"), "node-a"); /* as the server knows it */
    s->server_dead = false;
    ends_on_target(s);
    stage_free(s);
}

static void without_the_direct_channel_the_record_does(void **state)
{
    struct stage *s = in_mid_copy();

    stage_patch(s, "{\"status\":{\"migrationState\":{\"targetState\":{\"syncAddress\":\"127.0.0.1:1\"}}}}");
    node_kill_agent(&s->nodes[0]); /* and with it the open channel */
    node_start_agent(&s->nodes[0]);
    yyjson_mut_doc *fast = json_object();
    json_set_int(fast, "/max-bandwidth", 1 << 30);
    qmp_command(s->nodes[0].machine->qmp, "migrate-set-parameters", fast, NULL, NULL);
    ends_on_target(s);
    stage_free(s);
}

/* Agents die at a moment, and are started again a little later. */
static void restarted(int64_t after_ms, bool source, bool target)
{
    struct stage *s = stage_new(SLOW * 8);

    lab_pass(s->lab, after_ms);
    if (source)
        node_kill_agent(&s->nodes[0]);
    if (target)
        node_kill_agent(&s->nodes[1]);
    lab_pass(s->lab, 300);
    if (source)
        node_start_agent(&s->nodes[0]);
    if (target)
        node_start_agent(&s->nodes[1]);
    ends_on_target(s);
    stage_free(s);
}

static void restarted_agents_go_on(void **state)
{
    static const int64_t moments[] = {5, 40, 120, 250, 450, 700, 1000};

    for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
        print_message("after %lld ms\n", (long long)moments[i]);
        restarted(moments[i], i % 3 != 1, i % 3 != 0);
    }
}

static void kill_target_agent(struct stage *s)
{
    s->on_forward = NULL;
    node_kill_agent(&s->nodes[1]);
}

static void a_target_agent_that_misses_the_grant_finds_it(void **state)
{
    struct stage *s = stage_new(0);

    s->on_forward = kill_target_agent;
    assert_true(stage_reaches(s, "Granted", 30));
    lab_pass(s->lab, 700);
    assert_true(machine_is(s->nodes[0].machine, "postmigrate"));
    node_kill_agent(&s->nodes[0]);
    node_start_agent(&s->nodes[1]);
    assert_true(stage_reaches(s, "Claimed", 10));
    node_start_agent(&s->nodes[0]);
    ends_on_target(s);
    stage_free(s);
}

/* Killed between the guest's first step and the address's, an agent has the address to move in its next life. */
static void the_address_follows_the_guest(void **state)
{
    struct stage *s = stage_new(0);
    const struct pod_network *target = s->nodes[1].pod.network;

    s->no_routes = true;
    assert_true(stage_reaches(s, "Claimed", 30));
    lab_pass(s->lab, 300);
    assert_true(runs(&s->nodes[1]));
    assert_int_equal(target->state, ADDRESS_HOLDING);
    node_kill_agent(&s->nodes[1]);
    s->no_routes = false;
    node_start_agent(&s->nodes[1]);
    ends_on_target(s);
    stage_free(s);
}

static void a_stop_waits_until_the_guest_is_somewhere(void **state)
{
    struct stage *s = in_mid_copy();

    assert_true(node_stop(&s->nodes[0]));
    assert_true(stage_settles(s, 30));
    lab_pass(s->lab, 300);
    assert_true(s->nodes[0].stops);
    assert_true(runs(&s->nodes[0]));
    assert_false(node_stop(&s->nodes[0]));
    stage_free(s);
}

/* A grant as As makes it, with a proof by a certificate of this name; and who brings it. */
static void send_grant(struct stage *s, const struct pki_ca *carrier_ca, const char *carrier, const struct pki_ca *proof_ca,
                       const char *proof_cn, int64_t epoch)
{
    _cleanup_free_ char *text = epoch_grant_text("vmi-uid", "mig-uid", epoch, "node-b"), *cert = NULL, *proof_cert = NULL, *signature = NULL;
    _cleanup_key_ char *key = NULL, *proof_key = NULL;
    _cleanup_free_ char *address = NULL, *json = NULL;

    assert_int_equal(pki_issue_with_key(carrier_ca, &(struct pki_subject){.cn = carrier}, PKI_CLIENT, 3600, &cert, &key, NULL), 0);
    assert_int_equal(pki_issue_with_key(proof_ca, &(struct pki_subject){.cn = proof_cn}, PKI_CLIENT, 3600, &proof_cert, &proof_key, NULL), 0);
    assert_int_equal(pki_sign(proof_key, text, strlen(text), &signature, NULL), 0);
    yyjson_mut_doc *d = script_args("/vmiUid", "vmi-uid", "/migrationUid", "mig-uid", "/proof/certificate", proof_cert,
                                    "/proof/signature", signature, NULL);
    json_set_int(d, "/epoch", epoch);
    json = json_text(yyjson_mut_doc_get_root(d));
    yyjson_mut_doc_free(d);
    struct agent as = s->nodes[0].agent;
    as.cert_pem = cert;
    as.key_pem = key;
    address = xasprintf("127.0.0.1:%d", endpoint_port(s->nodes[1].agent.endpoint));
    struct direct_channel *c = direct_open(&as, address);
    direct_send_grant(c, json);
    lab_pass(s->lab, 300);
    direct_close(c);
}

static bool has_grant(struct stage *s)
{
    return ((struct mover *)s->nodes[1].pod.migration)->direct_proof != NULL;
}

static void the_direct_channel_takes_grants_of_the_source_only(void **state)
{
    struct stage *s = in_mid_copy();
    struct pki_ca *own = s->cluster_ca, *migration = s->lab->ca, *other = NULL;

    assert_int_equal(pki_ca_new("other", 3600, &other, NULL), 0);
    send_grant(s, other, "system:node:node-a", migration, "mig-uid:source", 1);
    assert_false(has_grant(s));
    send_grant(s, own, "alice", migration, "mig-uid:source", 1);
    assert_false(has_grant(s));
    send_grant(s, own, "system:node:node-c", migration, "mig-uid:source", 1);
    assert_false(has_grant(s));
    send_grant(s, own, "system:node:node-a", other, "mig-uid:source", 1);
    assert_false(has_grant(s));
    send_grant(s, own, "system:node:node-a", migration, "mig-uid:target", 1);
    assert_false(has_grant(s));
    send_grant(s, own, "system:node:node-a", migration, "mig-uid:source", 2);
    assert_false(has_grant(s));
    send_grant(s, own, "system:node:node-a", migration, "mig-uid:source", 1);
    assert_true(has_grant(s));
    assert_true(machine_is(s->nodes[1].machine, "inmigrate")); /* without the complete state it runs nothing */
    pki_ca_free(other);
    stage_free(s);
}

static void measure(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct stage *s = stage_new(0);
        ends_on_target(s);
        print_message("agents: blackout %.1f ms, QEMU's downtime %lld ms\n",
                      (double)(s->nodes[1].machine->resumed - s->nodes[0].machine->stopped) / 1000,
                      (long long)json_int(yyjson_doc_get_root(s->vmi), "/status/migrationState/progress/downtimeMs", -1));
        stage_free(s);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_moves),
        cmocka_unit_test(a_cancelled_migration_leaves_the_guest),
        cmocka_unit_test(a_target_that_dies_in_the_copy_fails_it),
        cmocka_unit_test(a_source_that_dies_in_the_copy_is_lost),
        cmocka_unit_test(a_source_that_dies_after_its_grant_does_not_matter),
        cmocka_unit_test(a_target_that_dies_after_the_grant_gives_it_back),
        cmocka_unit_test(without_the_server_the_direct_grant_does),
        cmocka_unit_test(without_the_direct_channel_the_record_does),
        cmocka_unit_test(restarted_agents_go_on),
        cmocka_unit_test(a_target_agent_that_misses_the_grant_finds_it),
        cmocka_unit_test(the_direct_channel_takes_grants_of_the_source_only),
        cmocka_unit_test(the_address_follows_the_guest),
        cmocka_unit_test(a_stop_waits_until_the_guest_is_somewhere),
    };

    if (getenv("GODWIT_DEBUG"))
        log_init("mover", LOG_DEBUG_);
    if (geteuid() != 0)
        return 77; /* skipped */
    if (argc == 3 && streq(argv[1], "--measure")) {
        measure(atoi(argv[2]));
        return 0;
    }
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

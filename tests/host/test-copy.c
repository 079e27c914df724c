/* The commands of a live migration against two real QEMUs: memory and a disk over TLS, what is refused, what a restarted agent
 * reads. Needs root. */
#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/migration/mirror.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"

#define LOCAL "127.0.0.1"
#define UID "7b1e"
#define EPOCH 7

/* One migration of the test: its two machines, names and ports. */
struct pair {
    struct lab *lab;
    struct machine *source, *target;
    char *source_tls, *target_tls;
    struct copy_names source_names, target_names;
    int port, nbd_port;
    struct migration_settings settings;
};

static struct pair *pair_new(void)
{
    struct pair *p = xnew(struct pair);

    p->lab = lab_new();
    p->source = machine_start(p->lab, "source", false);
    p->target = machine_start(p->lab, "target", true);
    p->source_tls = lab_side(p->lab, UID, "source");
    p->target_tls = lab_side(p->lab, UID, "target");
    p->source_names = (struct copy_names){EPOCH, UID, p->source_tls};
    p->target_names = (struct copy_names){EPOCH, UID, p->target_tls};
    p->port = lab_port();
    p->nbd_port = lab_port();
    return p;
}

static void pair_free(struct pair *p)
{
    lab_free(p->lab);
    free(p->source_tls);
    free(p->target_tls);
    free(p);
}

static void run(struct machine *m, struct script *s)
{
    _cleanup_free_ char *fault = machine_script(m, s);

    if (fault)
        fail_msg("%s: %s", m->name, fault);
}

static bool counts(void *data)
{
    return machine_counter(data) > 20;
}

static enum disks_state disks_now(struct pair *p, int64_t *ret_total, int64_t *ret_done)
{
    _cleanup_doc_ yyjson_doc *jobs = machine_call(p->source, "query-jobs", NULL, NULL);
    int64_t total, done;

    return mirror_read(yyjson_doc_get_root(jobs), &p->source_names, &p->source->disks, ret_total ? ret_total : &total,
                       ret_done ? ret_done : &done, NULL);
}

static bool disks_ready(void *data)
{
    return disks_now(data, NULL, NULL) == DISKS_READY;
}

static bool disks_detached(void *data)
{
    return disks_now(data, NULL, NULL) == DISKS_DETACHED;
}

static struct copy_report copy_now(struct machine *m)
{
    _cleanup_doc_ yyjson_doc *answer = machine_call(m, "query-migrate", NULL, NULL);
    struct copy_report report;

    copy_read(yyjson_doc_get_root(answer), &report);
    report.error = NULL;
    return report;
}

static void listen_at_target(struct pair *p)
{
    struct script *s = script_new(p->target->qmp);

    copy_add_credentials(s, &p->target_names, false);
    mirror_export(s, &p->target_names, &p->target->disks, LOCAL, p->nbd_port);
    copy_listen(s, &p->target_names, LOCAL, p->port);
    run(p->target, s);
}

static void mirror_from_source(struct pair *p)
{
    struct script *s = script_new(p->source->qmp);

    copy_add_credentials(s, &p->source_names, true);
    mirror_start(s, &p->source_names, &p->source->disks, LOCAL, p->nbd_port);
    run(p->source, s);
    assert_true(lab_wait(p->lab, 30, disks_ready, p));
}

static void copy_from_source(struct pair *p)
{
    struct script *s = script_new(p->source->qmp);

    copy_start(s, &p->source_names, &p->settings, true, LOCAL, p->port);
    run(p->source, s);
}

static void switch_over(struct pair *p)
{
    struct script *s = script_new(p->source->qmp);

    assert_true(machine_reaches(p->source, "pre-switchover", 60));
    mirror_detach(s, &p->source_names, &p->source->disks);
    run(p->source, s);
    assert_true(lab_wait(p->lab, 10, disks_detached, p));
    s = script_new(p->source->qmp);
    script_add(s, "migrate-continue", script_args("/state", "pre-switchover", NULL));
    run(p->source, s);
    assert_true(machine_reaches(p->source, "completed", 30));
}

static void move_up_to_completed(struct pair *p)
{
    assert_true(lab_wait(p->lab, 20, counts, p->source));
    listen_at_target(p);
    mirror_from_source(p);
    copy_from_source(p);
    switch_over(p);
}

static void run_target(struct pair *p)
{
    struct script *s = script_new(p->target->qmp);

    script_try(s, "nbd-server-stop", NULL);
    script_add(s, "cont", NULL);
    run(p->target, s);
}

/* The disk's sector for this count holds it. */
static void disk_has(struct machine *m, unsigned count)
{
    unsigned found = 0;
    FILE *f = fopen(m->disks.items[0].path, "r");

    assert_non_null(f);
    assert_int_equal(fseek(f, (1 + (long)(count % LAB_SECTORS)) * 512, SEEK_SET), 0);
    assert_int_equal(fread(&found, sizeof(found), 1, f), 1);
    fclose(f);
    assert_int_equal(found, count);
}

static void goes_on(struct machine *m)
{
    unsigned before = machine_counter(m);

    assert_true(machine_is(m, "running"));
    lab_pass(m->lab, 200);
    assert_true(machine_counter(m) > before);
}

static void moves_memory_and_disk(void **state)
{
    struct pair *p = pair_new();

    move_up_to_completed(p);
    assert_true(machine_reaches(p->target, "completed", 10));
    assert_int_equal(copy_now(p->source).state, COPY_COMPLETED);
    assert_int_equal(copy_now(p->target).state, COPY_COMPLETED);
    assert_true(machine_is(p->source, "postmigrate"));
    assert_true(machine_is(p->target, "paused") || machine_is(p->target, "prelaunch"));

    unsigned count = machine_counter(p->source);
    assert_int_equal(machine_counter(p->target), count);
    _cleanup_free_ char *compare =
        xasprintf("qemu-img compare -U -q -f raw -F raw %s %s", p->source->disks.items[0].path, p->target->disks.items[0].path);
    assert_int_equal(lab_run(compare), 0);
    disk_has(p->target, count - 1);

    run_target(p);
    goes_on(p->target);
    assert_true(machine_is(p->source, "postmigrate"));
    assert_true(copy_now(p->source).downtime_ms >= 0);
    pair_free(p);
}

static void a_lost_target_gives_the_guest_back(void **state)
{
    struct pair *p = pair_new();

    move_up_to_completed(p);
    machine_kill(p->target);
    unsigned count = machine_counter(p->source);
    yyjson_doc_free(machine_call(p->source, "cont", NULL, NULL));
    goes_on(p->source);
    disk_has(p->source, count);

    /* What the copy needed goes, and the next migration is not taken for this one. */
    for (int i = 0; i < 3; i++) {
        struct script *s = script_new(p->source->qmp);
        mirror_drop(s, &p->source_names, &p->source->disks);
        run(p->source, s);
    }
    assert_int_equal(disks_now(p, NULL, NULL), DISKS_IDLE);
    _cleanup_doc_ yyjson_doc *nodes = machine_call(p->source, "query-named-block-nodes", NULL, NULL);
    _cleanup_blob_ struct blob *text = json_encode_val(yyjson_doc_get_root(nodes));
    assert_null(strstr(text->data, "\"nbd\""));
    goes_on(p->source);
    pair_free(p);
}

/* In half a second. */
static unsigned writes(struct machine *m)
{
    unsigned before = machine_counter(m);

    lab_pass(m->lab, 500);
    return machine_counter(m) - before;
}

/* The guest writes 512 bytes per count. */
static void writes_are_held_until_the_end(void **state)
{
    struct pair *p = pair_new();

    assert_true(lab_wait(p->lab, 20, counts, p->source));
    listen_at_target(p);
    mirror_from_source(p);
    struct script *s = script_new(p->source->qmp);
    mirror_brake(s, &p->source_names, &p->source->disks, 8 << 10);
    run(p->source, s);
    lab_pass(p->lab, 500);
    unsigned held = writes(p->source);
    assert_in_range(held, 1, 16);
    s = script_new(p->source->qmp);
    mirror_drop(s, &p->source_names, &p->source->disks);
    run(p->source, s);
    assert_true(writes(p->source) > 2 * held);
    pair_free(p);
}

static bool failed(void *data)
{
    return copy_now(data).state == COPY_FAILED;
}

/* This QEMU cannot start a copy to the target; its own guest does not notice. */
static void refused(struct pair *p, struct machine *m, const char *tls_dir, const char *why)
{
    const struct copy_names names = {EPOCH, UID, tls_dir};
    struct script *s = script_new(m->qmp);
    char *fault;

    copy_add_credentials(s, &names, true);
    run(m, s);
    s = script_new(m->qmp);
    mirror_start(s, &names, &m->disks, LOCAL, p->nbd_port);
    fault = machine_script(m, s);
    if (!fault)
        fail_msg("disk: %s was let in", why);
    free(fault);
    s = script_new(m->qmp);
    copy_start(s, &names, &p->settings, false, LOCAL, p->port);
    run(m, s);
    if (!lab_wait(p->lab, 10, failed, m))
        fail_msg("memory: %s was let in", why);
    goes_on(m);
}

/* And is there for the right one afterwards. */
static void only_the_right_source_is_let_in(void **state)
{
    static const struct {
        const char *why, *cn, *dns;
        bool foreign_ca;
    } rows[] = {
        {"another migration", "9999:source", "source.9999.migration.godwit.io", false},
        {"the target's own name", UID ":target", "target." UID ".migration.godwit.io", false},
        {"another authority", UID ":source", "source." UID ".migration.godwit.io", true},
    };
    struct pair *p = pair_new();
    struct pki_ca *other = NULL;

    assert_int_equal(pki_ca_new("other", 3600, &other, NULL), 0);
    assert_true(lab_wait(p->lab, 20, counts, p->source));
    listen_at_target(p);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *name = xasprintf("intruder%zu", i);
        _cleanup_free_ char *dir = lab_credentials(p->lab, name, rows[i].foreign_ca ? other : p->lab->ca, rows[i].cn, rows[i].dns, "source");
        struct machine *intruder = machine_start(p->lab, name, false);

        assert_true(lab_wait(p->lab, 20, counts, intruder));
        refused(p, intruder, dir, rows[i].why);
        assert_true(machine_lives(p->target));
        assert_int_equal(copy_now(p->target).state, COPY_ACTIVE); /* "setup": listening */
        machine_kill(intruder);
    }
    mirror_from_source(p);
    copy_from_source(p);
    switch_over(p);
    assert_true(machine_reaches(p->target, "completed", 10));
    run_target(p);
    goes_on(p->target);
    pki_ca_free(other);
    pair_free(p);
}

static bool cleaned_up(void *data)
{
    _cleanup_doc_ yyjson_doc *doc = machine_call(data, "query-yank", NULL, NULL);

    return !copy_is_left(yyjson_doc_get_root(doc));
}

static void only_the_right_target_gets_the_guest(void **state)
{
    static const struct {
        const char *why, *cn, *dns;
        bool foreign_ca;
    } rows[] = {
        {"another migration", "9999:target", "target.9999.migration.godwit.io", false},
        {"the source's own name", UID ":source", "source." UID ".migration.godwit.io", false},
        {"another authority", UID ":target", "target." UID ".migration.godwit.io", true},
    };
    struct pki_ca *other = NULL;

    assert_int_equal(pki_ca_new("other", 3600, &other, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pair *p = pair_new();
        _cleanup_free_ char *dir = lab_credentials(p->lab, "wrong", rows[i].foreign_ca ? other : p->lab->ca, rows[i].cn, rows[i].dns, "target");
        p->target_names.tls_dir = dir;
        assert_true(lab_wait(p->lab, 20, counts, p->source));
        listen_at_target(p);
        refused(p, p->source, p->source_tls, rows[i].why);
        assert_true(lab_wait(p->lab, 10, cleaned_up, p->source));
        pair_free(p);
    }
    pki_ca_free(other);
}

static void a_cancelled_copy_leaves_the_guest_alone(void **state)
{
    struct pair *p = pair_new();

    p->settings.bandwidth = 32 << 10;
    assert_true(lab_wait(p->lab, 20, counts, p->source));
    listen_at_target(p);
    mirror_from_source(p);
    copy_from_source(p);
    lab_pass(p->lab, 1000);
    assert_int_equal(copy_now(p->source).state, COPY_ACTIVE);
    yyjson_doc_free(machine_call(p->source, "migrate_cancel", NULL, NULL));
    assert_true(lab_wait(p->lab, 10, failed, p->source));
    for (int i = 0; i < 50 && disks_now(p, NULL, NULL) != DISKS_IDLE; i++) {
        struct script *s = script_new(p->source->qmp);
        mirror_drop(s, &p->source_names, &p->source->disks);
        run(p->source, s);
    }
    assert_int_equal(disks_now(p, NULL, NULL), DISKS_IDLE);
    goes_on(p->source);
    pair_free(p);
}

static void a_restarted_agent_reads_the_same_state(void **state)
{
    struct pair *p = pair_new();
    int64_t total = 0, done = 0;

    p->settings.bandwidth = 32 << 10;
    listen_at_target(p);
    mirror_from_source(p);
    copy_from_source(p);
    lab_pass(p->lab, 500);
    machine_reopen(p->source);
    machine_reopen(p->target);

    struct copy_report report = copy_now(p->source);
    assert_int_equal(report.state, COPY_ACTIVE);
    assert_int_equal(report.error, NULL);
    assert_true(report.sample.ram_total >= 64 << 20);
    assert_int_equal(disks_now(p, &total, &done), DISKS_READY);
    assert_true(total >= 32 << 20 && done > 0);

    _cleanup_doc_ yyjson_doc *objects = machine_call(p->source, "qom-list", script_args("/path", "/objects", NULL), NULL);
    assert_true(copy_has_credentials(yyjson_doc_get_root(objects), EPOCH));
    assert_false(copy_has_credentials(yyjson_doc_get_root(objects), EPOCH + 1));
    _cleanup_doc_ yyjson_doc *parameters = machine_call(p->source, "query-migrate-parameters", NULL, NULL);
    _cleanup_free_ char *name = epoch_dns_name(UID, "target");
    assert_string_equal(json_str(yyjson_doc_get_root(parameters), "/tls-hostname"), name);
    assert_int_equal(copy_now(p->target).state, COPY_ACTIVE);
    pair_free(p);
}

/* From the stop of the source's guest to the start of the target's: as a bare client does it, "cont" on the event. */
static void measure(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct pair *p = pair_new();
        move_up_to_completed(p);
        assert_true(machine_reaches(p->target, "completed", 10));
        run_target(p);
        lab_pass(p->lab, 50);
        print_message("bare: blackout %.1f ms, QEMU's downtime %lld ms\n", (double)(p->target->resumed - p->source->stopped) / 1000,
                      (long long)copy_now(p->source).downtime_ms);
        pair_free(p);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_memory_and_disk),
        cmocka_unit_test(a_lost_target_gives_the_guest_back),
        cmocka_unit_test(writes_are_held_until_the_end),
        cmocka_unit_test(only_the_right_source_is_let_in),
        cmocka_unit_test(only_the_right_target_gets_the_guest),
        cmocka_unit_test(a_cancelled_copy_leaves_the_guest_alone),
        cmocka_unit_test(a_restarted_agent_reads_the_same_state),
    };

    if (geteuid() != 0)
        return 77; /* skipped */
    if (argc == 3 && streq(argv[1], "--measure")) {
        measure(atoi(argv[2]));
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

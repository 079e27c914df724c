/* The launcher's parts that need no QEMU: its files, and what an ending is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/launcher/ending.h"
#include "agent/launcher/identity.h"
#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/fs.h"

#define EXITED(code) ((code) << 8)
#define SIGNALLED(sig) (sig)

static int make_folder(void **state)
{
    char folder[] = "/tmp/test-launcher-XXXXXX";

    assert_non_null(mkdtemp(folder));
    *state = xstrdup(folder);
    return 0;
}

static int remove_folder(void **state)
{
    fs_remove_tree(*state, NULL);
    free(*state);
    return 0;
}

static void test_a_spec_is_read_as_it_was_written(void **state)
{
    _cleanup_free_ char *path = xasprintf("%s/spec", (char *)*state);
    _cleanup_launcher_spec_ struct launcher_spec s =
                                                     {
                                                         .dir = xstrdup("/d"),
                                                         .run_dir = xstrdup("/d/run"),
                                                         .netns = xstrdup("/n"),
                                                         .uid = 107,
                                                         .gid = 36,
                                                         .cgroup = xstrdup("godwit/u"),
                                                         .memory_max = 1LL << 40,
                                                         .cpu_milli = 1500,
                                                         .console_log_max = 77,
                                                         .dhcp = {.interface = xstrdup("tap0"),
                                                                  .mac = xstrdup("02:00:00:00:00:01"),
                                                                  .address = xstrdup("10.0.2.2"),
                                                                  .gateway = xstrdup("10.0.2.1"),
                                                                  .prefix_len = 24,
                                                                  .mtu = 1400,
                                                                  .hostname = xstrdup("h")},
                                                     },
                                                 got = {0};

    strv_push(&s.argv, "/usr/bin/qemu");
    strv_push(&s.argv, "with \"quotes\" and, commas");
    strv_push(&s.read_only, "/img");
    strv_push(&s.devices, "kvm");
    strv_push(&s.dhcp.dns, "1.2.3.4");
    assert_return_code(launcher_spec_write(&s, path, NULL), 0);
    assert_return_code(launcher_spec_read(path, &got, NULL), 0);
    assert_string_equal(got.argv.items[1], "with \"quotes\" and, commas");
    assert_int_equal(got.argv.len, 2);
    assert_null(got.argv.items[2]);
    assert_string_equal(got.netns, "/n");
    assert_int_equal(got.memory_max, 1LL << 40);
    assert_int_equal(got.gid, 36);
    assert_string_equal(got.dhcp.dns.items[0], "1.2.3.4");
    assert_int_equal(got.dhcp.mtu, 1400);
    assert_null(got.dhcp.search);
    assert_string_equal(got.devices.items[0], "kvm");
    assert_int_equal(got.writable.len, 0);
    launcher_spec_done(&got);
}

static void test_a_spec_for_root_is_refused(void **state)
{
    _cleanup_free_ char *path = xasprintf("%s/root-spec", (char *)*state);
    static const char text[] = "{\"dir\":\"/d\",\"runDir\":\"/d\",\"argv\":[\"x\"],\"uid\":0}";
    struct launcher_spec got;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_return_code(fs_write(path, text, strlen(text), 0600, NULL), 0);
    assert_true(launcher_spec_read(path, &got, &err) < 0);
    assert_non_null(strstr(gw_error_message(&err), "uid"));
}

static void test_endings_have_true_names(void **state)
{
    assert_string_equal(ending_reason("guest-shutdown", NULL, true, EXITED(0)), "guest-shutdown");
    assert_string_equal(ending_reason("host-qmp-quit", NULL, true, EXITED(0)), "host-qmp-quit");
    assert_string_equal(ending_reason(NULL, "grace-period-over", true, SIGNALLED(SIGKILL)), "grace-period-over");
    /* it ended by itself just before we would have killed it */
    assert_string_equal(ending_reason("guest-shutdown", "grace-period-over", true, EXITED(0)), "guest-shutdown");
    assert_string_equal(ending_reason(NULL, NULL, true, SIGNALLED(SIGKILL)), "crashed");
    assert_string_equal(ending_reason(NULL, NULL, true, EXITED(1)), "crashed");
    assert_string_equal(ending_reason(NULL, NULL, false, EXITED(1)), "start-failed");
    assert_string_equal(ending_reason(NULL, NULL, false, SIGNALLED(SIGSEGV)), "crashed");
}

static void test_an_ending_is_read_as_it_was_written(void **state)
{
    struct ending e = {.reason = "crashed", .code = -1, .signal = 11, .message = "line\n\"x\"", .at_ms = 123}, got;

    assert_int_equal(ending_read(*state, &got, NULL), -ENOENT);
    assert_return_code(ending_write(&e, *state, NULL), 0);
    assert_return_code(ending_read(*state, &got, NULL), 0);
    assert_string_equal(got.reason, "crashed");
    assert_int_equal(got.signal, 11);
    assert_int_equal(got.code, -1);
    assert_string_equal(got.message, "line\n\"x\"");
    ending_done(&got);
}

static void test_processes_are_told_apart(void **state)
{
    pid_t child = fork();

    if (child == 0) {
        pause();
        _exit(0);
    }
    struct process_identity p = {child, process_start_ticks(child)}, earlier = {child, p.start_ticks - 1};
    assert_true(p.start_ticks > 0);
    assert_true(process_is(&p));
    assert_false(process_is(&earlier));
    kill(child, SIGKILL);
    siginfo_t info;
    assert_return_code(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), errno);
    assert_false(process_is(&p)); /* a zombie is not alive */
    waitpid(child, NULL, 0);
    assert_false(process_is(&p));
    assert_int_equal(process_start_ticks(child), 0);
}

static void *wait_for_ever(void *arg)
{
    pause();
    return arg;
}

/* A child whose first thread has ended and whose second has not: what a killed QEMU is for a moment. */
static void be_half_dead(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, wait_for_ever, NULL);
    pthread_exit(NULL);
}

static void test_a_process_lives_until_its_last_thread_ends(void **state)
{
    pid_t child = fork();

    if (child == 0)
        be_half_dead();
    struct process_identity p = {child, process_start_ticks(child)};
    usleep(50000); /* the check holds before and after its first thread ends */
    assert_true(process_is(&p));
    kill(child, SIGKILL);
    siginfo_t info;
    assert_return_code(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), errno);
    assert_false(process_is(&p));
    waitpid(child, NULL, 0);
}

static void test_the_note(void **state)
{
    struct launcher_note n = {.launcher = {10, 1000}, .qemu = {11, 1001}, .cgroup_note = "no cpu\n"}, got;

    assert_int_equal(launcher_note_read(*state, &got, NULL), -ENOENT);
    boot_id(n.boot_id);
    assert_int_equal(strlen(n.boot_id), 36);
    assert_return_code(launcher_note_write(&n, *state, NULL), 0);
    assert_return_code(launcher_note_read(*state, &got, NULL), 0);
    assert_string_equal(got.boot_id, n.boot_id);
    assert_int_equal(got.launcher.pid, n.launcher.pid);
    assert_int_equal(got.launcher.start_ticks, n.launcher.start_ticks);
    assert_int_equal(got.qemu.pid, n.qemu.pid);
    assert_int_equal(got.qemu.start_ticks, n.qemu.start_ticks);
    assert_string_equal(got.cgroup_note, "no cpu\n");
    launcher_note_done(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_spec_is_read_as_it_was_written),
        cmocka_unit_test(test_a_spec_for_root_is_refused),
        cmocka_unit_test(test_endings_have_true_names),
        cmocka_unit_test(test_an_ending_is_read_as_it_was_written),
        cmocka_unit_test(test_processes_are_told_apart),
        cmocka_unit_test(test_a_process_lives_until_its_last_thread_ends),
        cmocka_unit_test(test_the_note),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/* What was acknowledged survives: kill -9 at any instant, and loss of everything that was not synced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "store/store.h"

#define THREADS "8"

static char folder[64], *path;

static int set_up(void **state)
{
    strcpy(folder, "/tmp/godwit-test-crash-XXXXXX");
    assert_non_null(mkdtemp(folder));
    path = xasprintf("%s/store.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)fs_remove_tree(folder, NULL);
    free(path);
    return 0;
}

static unsigned random_below(unsigned n)
{
    unsigned r;

    random_bytes(&r, sizeof(r));
    return r % n;
}

struct child {
    pid_t pid;
    int out;
};

/* cut_ms: when to cut the power, 0 = not at all. */
static struct child start_writer(unsigned cut_ms, bool unsafe)
{
    const char *program = getenv("GODWIT_STORE_WRITER"), *preload = getenv("GODWIT_POWERLOSS");
    char after[16];
    int out[2];

    assert_non_null(program);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();

    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        if (cut_ms) {
            snprintf(after, sizeof(after), "%u", cut_ms);
            setenv("LD_PRELOAD", preload, 1);
            setenv("POWERLOSS_DIR", folder, 1);
            setenv("POWERLOSS_AFTER_MS", after, 1);
            setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
        }
        execl(program, program, path, THREADS, unsafe ? "unsafe" : NULL, NULL);
        _exit(127);
    }
    close(out[1]);
    return (struct child){.pid = pid, .out = out[0]};
}

/* Reads until the child is gone; kill_ms: after that time it is killed, 0 = not by us. */
static char *read_until_end(struct child c, unsigned kill_ms, int *ret_status)
{
    struct str text = {0};
    char buf[65536];
    ssize_t n;
    pid_t killer = kill_ms ? fork() : 0;

    if (kill_ms && killer == 0) {
        usleep(kill_ms * 1000);
        kill(c.pid, SIGKILL);
        _exit(0);
    }
    while ((n = read(c.out, buf, sizeof(buf))) > 0)
        str_add(&text, buf, (size_t)n);
    close(c.out);
    waitpid(c.pid, ret_status, 0);
    if (kill_ms)
        waitpid(killer, NULL, 0);
    return str_take(&text);
}

struct verdict {
    unsigned acknowledged, lost;
    int64_t highest;
};

static void check_line(struct store *s, const char *line, struct verdict *v)
{
    _cleanup_store_item_ struct store_item item = {0};
    char key[64];
    long long revision;

    if (sscanf(line, "%63s %lld", key, &revision) != 2)
        return;
    v->acknowledged++;
    v->highest = MAX(v->highest, revision);
    if (store_get(s, key, 0, &item, NULL) < 0 || item.revision != revision)
        v->lost++;
}

/* Opens what is left and compares it with what was acknowledged: if it does not open, all is lost. The last line may be
 * torn: it does not count. */
static struct verdict judge(char *acknowledged)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_blob_ struct blob *b = blob_text("after");
    struct verdict v = {0};
    struct store *s;
    int64_t revision;

    if (store_open_sqlite(path, &s, &err) < 0) {
        for (const char *line = acknowledged; (line = strchr(line, '\n')); line++)
            v.acknowledged = ++v.lost;
        return v;
    }
    for (char *line = acknowledged, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        check_line(s, line, &v);
    }
    if (v.lost == 0) { /* else the file may be damaged as well */
        assert_true(store_revision(s, NULL) >= v.highest);
        assert_int_equal(store_put(s, "/after", b, STORE_ANY, &revision, NULL), 0);
        assert_true(revision > v.highest);
    }
    store_close(s);
    return v;
}

static void test_killed_at_any_instant(void **state)
{
    unsigned acknowledged = 0;

    for (int round = 0; round < 15; round++) {
        int status;
        _cleanup_free_ char *lines = read_until_end(start_writer(0, false), 5 + random_below(120), &status);
        struct verdict v = judge(lines);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(v.lost, 0);
        acknowledged += v.acknowledged;
    }
    assert_true(acknowledged > 100);
}

static void test_power_cut(void **state)
{
    unsigned acknowledged = 0;

    for (int round = 0; round < 10; round++) {
        int status;
        _cleanup_free_ char *lines = read_until_end(start_writer(30 + random_below(200), false), 0, &status);
        struct verdict v = judge(lines);

        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
        assert_int_equal(v.lost, 0);
        acknowledged += v.acknowledged;
    }
    assert_true(acknowledged > 100);
}

/* The test above proves something only if such cuts do lose what is not synced. One alone may fall right behind a
 * checkpoint, which syncs by itself, when the writer had no turn in between. */
static void test_power_cut_without_syncs_loses(void **state)
{
    unsigned acknowledged = 0, lost = 0;

    for (int round = 0; round < 20 && lost == 0; round++) {
        int status;
        _cleanup_free_ char *lines = read_until_end(start_writer(100 + random_below(200), true), 0, &status);
        struct verdict v = judge(lines);

        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
        acknowledged += v.acknowledged;
        lost += v.lost;
    }
    assert_true(acknowledged > 10);
    assert_true(lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_at_any_instant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_cut_without_syncs_loses, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

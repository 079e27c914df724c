/* The client of a guest's agent against a scripted one over a socketpair, hostile ones among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "qmp/ga.h"

struct scene {
    sd_event *loop;
    struct ga *ga;
    int guest;      /* the other end */
    struct str log; /* one line per callback */
    bool free_in_reply;
};

static void on_closed(void *userdata, const char *why)
{
    struct scene *s = userdata;

    str_printf(&s->log, "closed %s\n", why);
    s->ga = ga_free(s->ga);
}

static void on_reply(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    static const char *const failures[] = {"refused", "silent", "lost"};
    struct scene *s = userdata;

    if (fault)
        str_printf(&s->log, "%s%s %s\n", failures[fault->failure], fault->sent ? ", sent:" : ":", fault->text);
    else
        str_printf(&s->log, "result %s\n", json_str_or(result, "/v", "{}"));
    if (s->free_in_reply)
        s->ga = ga_free(s->ga);
}

static int begin(void **state)
{
    struct scene *s = xnew(struct scene);
    int fds[2];

    assert_return_code(sd_event_new(&s->loop), 0);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    s->guest = fds[0];
    assert_return_code(ga_new(s->loop, fds[1], on_closed, s, &s->ga, NULL), 0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct scene *s = *state;

    ga_free(s->ga);
    if (s->guest >= 0)
        close(s->guest);
    sd_event_unref(s->loop);
    str_done(&s->log);
    free(s);
    return 0;
}

static void turns(struct scene *s, int n)
{
    for (int i = 0; i < n; i++)
        (void)sd_event_run(s->loop, 0);
}

static void say(struct scene *s, const void *data, size_t len)
{
    assert_int_equal(send(s->guest, data, len, 0), (ssize_t)len);
    turns(s, 4);
}

#define SAY(s, text) say(s, text, sizeof(text) - 1)

/* What the client has sent since. */
static const char *heard(struct scene *s)
{
    static char buf[4096];

    turns(s, 4);
    ssize_t n = recv(s->guest, buf, sizeof(buf) - 1, MSG_DONTWAIT);
    buf[MAX(n, 0)] = '\0';
    return buf;
}

/* Answers guest-sync-delimited, with noise before it. */
static void get_in_step(struct scene *s)
{
    const char *sync = strchr(heard(s), '\xff'), *id = sync ? strstr(sync, "\"id\":") : NULL;
    _cleanup_free_ char *text = NULL;

    assert_true(sync && id);
    assert_non_null(strstr(sync, "{\"execute\":\"guest-sync-delimited\","));
    text = xasprintf("{\"return\": {\"v\": \"noise\"}}\nhalf a line\xff{\"return\": 1}\n\xff{\"return\": %d}\n", atoi(id + 5));
    say(s, text, strlen(text));
}

static void assert_log(struct scene *s, const char *expected)
{
    turns(s, 4);
    assert_string_equal(str_text(&s->log), expected);
    s->log.len = 0;
}

static void test_commands_in_order(void **state)
{
    struct scene *s = *state;
    yyjson_mut_doc *args = json_object();

    json_set_str(args, "/mode", "reboot");
    ga_command(s->ga, "guest-shutdown", args, 5000, on_reply, s);
    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    get_in_step(s);
    assert_string_equal(heard(s), "{\"execute\":\"guest-shutdown\",\"arguments\":{\"mode\":\"reboot\"}}\n");
    SAY(s, "{\"return\": {\"v\"");
    assert_log(s, "");
    SAY(s, ": \"one\"}}\n");
    assert_log(s, "result one\n");
    get_in_step(s);
    assert_string_equal(heard(s), "{\"execute\":\"guest-ping\"}\n");
    SAY(s, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"has been disabled\"}}\n");
    assert_log(s, "refused, sent: has been disabled\n");
    close(s->guest);
    s->guest = -1;
    assert_log(s, "closed QEMU closed the guest agent's channel\n");
}

static void test_nonsense_is_no_answer(void **state)
{
    struct scene *s = *state;

    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    get_in_step(s);
    SAY(s, "{\"event\": 1}\n[]\nhello\n");
    turns(s, 4);
    assert_true(str_starts(str_text(&s->log), "silent, sent: invalid JSON"));
    s->log.len = 0;
    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    get_in_step(s);
    for (int i = 0; i < 300; i++)
        SAY(s, "{\"return\":");
    SAY(s, "1\n");
    assert_log(s, "silent, sent: JSON is nested deeper than 200 levels\n");
}

static void test_silence_ends_the_session(void **state)
{
    struct scene *s = *state;
    int64_t from = clock_monotonic_ms();

    ga_command(s->ga, "guest-fsfreeze-freeze", NULL, 50, on_reply, s);
    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    get_in_step(s);
    while (s->ga && clock_monotonic_ms() < from + 2000)
        (void)sd_event_run(s->loop, 10000);
    assert_log(s, "silent, sent: no answer to guest-fsfreeze-freeze within 0 s\n"
                  "lost: no answer to guest-fsfreeze-freeze within 0 s\n"
                  "closed no answer to guest-fsfreeze-freeze within 0 s\n");
}

/* As much as the socket takes; whether that was all. */
static size_t flood(struct scene *s, size_t len)
{
    static const char noise[65536];
    size_t sent = 0;
    ssize_t n;

    while (sent < len && s->ga && (n = send(s->guest, noise, MIN(sizeof(noise), len - sent), MSG_NOSIGNAL)) > 0)
        sent += (size_t)n;
    return sent;
}

static void test_a_flood_is_not_read(void **state)
{
    struct scene *s = *state;
    size_t taken = flood(s, 64 << 20);

    assert_true(taken < 8 << 20);
    turns(s, 50);
    assert_int_equal(flood(s, 1), 0); /* nobody has read any of it */
    assert_log(s, "");
    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    for (int i = 0; i < 1000 && s->ga; i++) {
        turns(s, 1);
        taken += flood(s, 64 << 20);
    }
    assert_log(s, "lost: the guest's agent sends more than 1048576 bytes for one answer\n"
                  "closed the guest's agent sends more than 1048576 bytes for one answer\n");
    assert_true(taken < 16 << 20);
}

static void test_freed_in_a_reply(void **state)
{
    struct scene *s = *state;

    s->free_in_reply = true;
    ga_command(s->ga, "guest-ping", NULL, 5000, on_reply, s);
    ga_command(s->ga, "guest-info", NULL, 5000, on_reply, s);
    get_in_step(s);
    SAY(s, "{\"return\": {}}\n{\"return\": {}}\n");
    assert_log(s, "result {}\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commands_in_order, begin, end),
        cmocka_unit_test_setup_teardown(test_nonsense_is_no_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_silence_ends_the_session, begin, end),
        cmocka_unit_test_setup_teardown(test_a_flood_is_not_read, begin, end),
        cmocka_unit_test_setup_teardown(test_freed_in_a_reply, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

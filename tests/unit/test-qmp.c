/* The client against a scripted peer over a socketpair, and against a listener that comes late. What a real QEMU does
 * with it is in tests/host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/unix.h"
#include "qmp/frames.h"
#include "base/random.h"
#include "qmp/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 10}}, \"capabilities\": [\"oob\"]}}\r\n"

struct seen {
    struct str log; /* one line per callback */
    struct qmp *qmp;
    bool free_in_event, free_in_reply;
};

static void on_ready(void *userdata, yyjson_val *greeting)
{
    struct seen *s = userdata;

    str_printf(&s->log, "ready %d\n", (int)json_int(greeting, "/version/qemu/major", -1));
}

static void on_event(void *userdata, const char *name, yyjson_val *data, int64_t time_us)
{
    struct seen *s = userdata;

    str_printf(&s->log, "event %s %s %lld\n", name, json_str_or(data, "/status", "-"), (long long)time_us);
    if (s->free_in_event)
        s->qmp = qmp_free(s->qmp);
}

static void on_closed(void *userdata, const char *why)
{
    str_printf(&((struct seen *)userdata)->log, "closed %s\n", why);
}

static const struct qmp_handlers handlers = {on_ready, on_event, on_closed};

static void on_reply(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct seen *s = userdata;

    if (fault)
        str_printf(&s->log, "fault %s %s\n", fault->class, fault->desc);
    else
        str_printf(&s->log, "result %s\n", json_str_or(result, "/v", "{}"));
    if (s->free_in_reply)
        s->qmp = qmp_free(s->qmp);
}

struct peer {
    sd_event *loop;
    int fd;
    struct seen seen;
    char inbox[65536];
};

/* Ids count from 1. */
static void zeros(void *userdata, void *buf, size_t len)
{
    memset(buf, 0, len);
}

static void spin(sd_event *loop)
{
    for (int i = 0; i < 50; i++)
        assert_true(sd_event_run(loop, 1000) >= 0);
}

static void peer_start(struct peer *p)
{
    int fds[2];

    *p = (struct peer){0};
    assert_return_code(sd_event_new(&p->loop), 0);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    p->fd = fds[0];
    assert_return_code(qmp_new_fd(p->loop, fds[1], &handlers, &p->seen, &p->seen.qmp, NULL), 0);
}

static void peer_end(struct peer *p)
{
    qmp_free(p->seen.qmp);
    if (p->fd >= 0)
        close(p->fd);
    sd_event_unref(p->loop);
    str_done(&p->seen.log);
}

static void say(struct peer *p, const char *text)
{
    assert_int_equal(write(p->fd, text, strlen(text)), strlen(text));
    spin(p->loop);
}

static const char *hear(struct peer *p)
{
    ssize_t n = recv(p->fd, p->inbox, sizeof(p->inbox) - 1, MSG_DONTWAIT);

    p->inbox[n > 0 ? n : 0] = '\0';
    return p->inbox;
}

static void peer_ready(struct peer *p)
{
    peer_start(p);
    say(p, GREETING);
    assert_string_equal(hear(p), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
    say(p, "{\"return\": {}, \"id\": 1}\r\n");
    assert_string_equal(str_text(&p->seen.log), "ready 10\n");
    p->seen.log.len = 0;
}

static void test_frames_cut_lines_in_any_portions(void **state)
{
    const char *stream = "{\"a\":1}\r\n\r\n\n{\"b\":2}\nrest";

    for (size_t portion = 1; portion < strlen(stream); portion++) {
        struct frames f = {0};
        _cleanup_str_ struct str seen = {0};
        const char *line;
        size_t len;
        for (size_t at = 0; at < strlen(stream); at += portion) {
            assert_true(frames_feed(&f, stream + at, MIN(portion, strlen(stream) - at)));
            while (frames_next(&f, &line, &len))
                str_printf(&seen, "[%.*s]", (int)len, line);
        }
        assert_string_equal(str_text(&seen), "[{\"a\":1}][{\"b\":2}]");
        frames_done(&f);
    }
}

static void test_frames_refuse_an_endless_line(void **state)
{
    struct frames f = {0};
    _cleanup_free_ char *mib = xcalloc(1, 1 << 20);
    unsigned fed = 0;

    memset(mib, 'x', 1 << 20);
    while (fed < 100 && frames_feed(&f, mib, 1 << 20))
        fed++;
    assert_int_equal(fed, FRAMES_MAX >> 20);
    frames_done(&f);
}

static void test_commands_wait_for_the_session(void **state)
{
    struct peer p;

    peer_start(&p);
    qmp_command(p.seen.qmp, "query-status", NULL, on_reply, &p.seen);
    spin(p.loop);
    assert_string_equal(hear(&p), "");
    say(&p, GREETING);
    assert_string_equal(hear(&p), "{\"execute\":\"qmp_capabilities\",\"id\":2}\n");
    say(&p, "{\"return\": {}, \"id\": 2}\n");
    assert_string_equal(hear(&p), "{\"execute\":\"query-status\",\"id\":1}\n");
    say(&p, "{\"id\": 1, \"return\": {\"v\": \"yes\"}}\n");
    assert_string_equal(str_text(&p.seen.log), "ready 10\nresult yes\n");
    peer_end(&p);
}

static void test_replies_find_their_command(void **state)
{
    struct peer p;

    peer_ready(&p);
    qmp_command_str(p.seen.qmp, "first", on_reply, &p.seen, "k", "v", NULL);
    qmp_command(p.seen.qmp, "second", NULL, on_reply, &p.seen);
    assert_string_equal(hear(&p), "{\"execute\":\"first\",\"arguments\":{\"k\":\"v\"},\"id\":2}\n"
                                  "{\"execute\":\"second\",\"id\":3}\n");
    say(&p, "{\"id\": 3, \"return\": {\"v\": \"two\"}}\n"
            "{\"id\": 99, \"return\": {}}\n{\"error\": {\"desc\": \"stray\"}}\n"
            "{\"id\": 2, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no such\"}}\n");
    assert_string_equal(str_text(&p.seen.log), "result two\nfault DeviceNotFound no such\n");
    peer_end(&p);
}

static void test_events_come_with_their_time(void **state)
{
    struct peer p;

    peer_ready(&p);
    say(&p, "{\"timestamp\": {\"seconds\": 2, \"microseconds\": 7}, \"event\": \"MIGRATION\", "
            "\"data\": {\"status\": \"active\"}}\n{\"event\": \"STOP\"}\n");
    assert_string_equal(str_text(&p.seen.log), "event MIGRATION active 2000007\nevent STOP - 0\n");
    peer_end(&p);
}

static void test_a_lost_connection_answers_everybody_once(void **state)
{
    struct peer p;

    peer_ready(&p);
    qmp_command(p.seen.qmp, "a", NULL, on_reply, &p.seen);
    qmp_command(p.seen.qmp, "b", NULL, on_reply, &p.seen);
    close(TAKE_FD(p.fd));
    spin(p.loop);
    assert_string_equal(str_text(&p.seen.log), "fault ConnectionLost QEMU closed the QMP connection\n"
                                               "fault ConnectionLost QEMU closed the QMP connection\n"
                                               "closed QEMU closed the QMP connection\n");
    assert_true(qmp_is_closed(p.seen.qmp));
    p.seen.log.len = 0;
    qmp_command(p.seen.qmp, "c", NULL, on_reply, &p.seen);
    assert_int_equal(p.seen.log.len, 0);
    spin(p.loop);
    assert_string_equal(str_text(&p.seen.log), "fault ConnectionLost QEMU closed the QMP connection\n");
    peer_end(&p);
}

#define BLOCK (1 << 20)

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2(); /* all zero where a sanitizer has the heap, which tells of leaks itself */

    return m.uordblks + m.hblkhd;
}

static void count_answers(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    unsigned **answers = userdata;

    ++**answers;
}

static void ask(struct peer *p, unsigned *answers)
{
    unsigned **block = xmalloc(BLOCK);

    *block = answers;
    qmp_ask(p->seen.qmp, "query-status", count_answers, block);
}

/* The first is answered, the second lost, the third given up with the session. */
static void test_a_question_s_block_goes_with_or_without_an_answer(void **state)
{
    size_t before = in_use();
    unsigned answers = 0;
    struct peer p;

    peer_ready(&p);
    ask(&p, &answers);
    say(&p, "{\"id\": 2, \"return\": {}}\n");
    assert_int_equal(answers, 1);
    ask(&p, &answers);
    close(TAKE_FD(p.fd));
    spin(p.loop);
    assert_int_equal(answers, 2);
    ask(&p, &answers);
    peer_end(&p);
    assert_int_equal(answers, 2);
    assert_true(in_use() < before + BLOCK);
}

static void test_garbage_ends_the_session(void **state)
{
    struct peer p;

    peer_ready(&p);
    say(&p, "{\"event\": \n");
    assert_non_null(strstr(str_text(&p.seen.log), "closed QMP message: invalid JSON"));
    peer_end(&p);
}

/* The rest of a reply, replies and events of the client before: QEMU gives them to the one that is connected by then. */
static void test_the_words_to_an_earlier_client_are_dropped(void **state)
{
    struct peer p;

    peer_start(&p);
    say(&p, "tus\": \"active\"}, \"id\": 1}\r\n{\"return\": {}, \"id\": 1}\r\n{\"event\": \"STOP\"}\r\n");
    assert_string_equal(hear(&p), "");
    say(&p, GREETING "{\"return\": {}, \"id\": 1}\n");
    assert_string_equal(str_text(&p.seen.log), "ready 10\n");
    peer_end(&p);
}

static void test_no_two_sessions_count_alike(void **state)
{
    struct peer p;
    _cleanup_free_ char *first = NULL;

    random_replace(NULL, NULL);
    peer_start(&p);
    say(&p, GREETING);
    first = xstrdup(hear(&p));
    peer_end(&p);
    peer_start(&p);
    say(&p, GREETING);
    assert_string_not_equal(hear(&p), first);
    say(&p, "{\"return\": {}, \"id\": 1}\n");
    assert_false(qmp_is_ready(p.seen.qmp));
    peer_end(&p);
    random_replace(zeros, NULL);
}

static void test_freeing_in_a_callback_is_the_last_callback(void **state)
{
    struct peer p;

    peer_ready(&p);
    p.seen.free_in_event = true;
    say(&p, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n");
    assert_string_equal(str_text(&p.seen.log), "event A - 0\n");
    peer_end(&p);

    peer_ready(&p);
    p.seen.free_in_reply = true;
    qmp_command(p.seen.qmp, "a", NULL, on_reply, &p.seen);
    qmp_command(p.seen.qmp, "b", NULL, on_reply, &p.seen);
    close(TAKE_FD(p.fd));
    spin(p.loop);
    assert_string_equal(str_text(&p.seen.log), "fault ConnectionLost QEMU closed the QMP connection\n");
    peer_end(&p);
}

static int receive_fd(int socket)
{
    char byte[256], room[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {byte, sizeof(byte)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    int fd = -1;

    assert_true(recvmsg(socket, &msg, MSG_DONTWAIT) > 0);
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    assert_non_null(h);
    memcpy(&fd, CMSG_DATA(h), sizeof(int));
    return fd;
}

static void test_descriptors_travel_with_their_command(void **state)
{
    struct peer p;
    struct stat a, b;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    peer_ready(&p);
    yyjson_mut_doc *d = json_object();
    json_set_str(d, "/fdname", "mig0");
    qmp_command_fd(p.seen.qmp, "getfd", d, fd, on_reply, &p.seen);
    int got = receive_fd(p.fd);
    assert_return_code(fstat(fd, &a), 0);
    assert_return_code(fstat(got, &b), 0);
    assert_int_equal(a.st_rdev, b.st_rdev);
    close(got);
    close(fd);
    peer_end(&p);
}

/* More than the socket's buffer takes at once: nothing is lost or reordered. */
static void test_a_slow_reader_gets_everything_in_order(void **state)
{
    struct peer p;
    _cleanup_str_ struct str heard = {0};

    peer_ready(&p);
    _cleanup_free_ char *big = xcalloc(1, 20001);
    memset(big, 'x', 20000);
    for (int i = 0; i < 100; i++)
        qmp_command_str(p.seen.qmp, "put", NULL, NULL, "data", big, NULL);
    for (int i = 0; i < 1000 && heard.len < 100 * 20000; i++) {
        str_puts(&heard, hear(&p));
        assert_true(sd_event_run(p.loop, 1000) >= 0);
    }
    const char *at = heard.data;
    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *id = xasprintf("\"id\":%d}\n", i + 2);
        at = strstr(at, id);
        assert_non_null(at);
    }
    peer_end(&p);
}

static void test_connecting_waits_for_the_listener_and_gives_up_in_time(void **state)
{
    char folder[] = "/tmp/test-qmp-XXXXXX";
    struct peer p = {.fd = -1};

    assert_non_null(mkdtemp(folder));
    /* 150 characters do not fit into sun_path */
    _cleanup_free_ char *deep = xasprintf("%s/%0100d", folder, 7), *path = xasprintf("%s/%040d", deep, 1);
    assert_return_code(fs_mkdirs(deep, 0700, NULL), 0);
    assert_return_code(sd_event_new(&p.loop), 0);
    assert_return_code(qmp_new(p.loop, path, 5000, &handlers, &p.seen, &p.seen.qmp, NULL), 0);
    spin(p.loop);
    assert_false(qmp_is_closed(p.seen.qmp));
    int listener = unix_listen(path, 0600, NULL);
    assert_true(listener >= 0);
    for (int i = 0; i < 100 && p.fd < 0; i++) {
        spin(p.loop);
        p.fd = accept(listener, NULL, NULL);
    }
    assert_true(p.fd >= 0);
    say(&p, GREETING "{\"return\": {}, \"id\": 1}\n");
    assert_true(qmp_is_ready(p.seen.qmp));
    peer_end(&p);
    close(listener);

    p = (struct peer){.fd = -1};
    assert_return_code(sd_event_new(&p.loop), 0);
    assert_return_code(qmp_new(p.loop, path, 20, &handlers, &p.seen, &p.seen.qmp, NULL), 0);
    for (int i = 0; i < 20 && !qmp_is_closed(p.seen.qmp); i++)
        spin(p.loop);
    spin(p.loop);
    assert_non_null(strstr(str_text(&p.seen.log), "closed nobody answers at"));
    peer_end(&p);
    fs_remove_tree(folder, NULL);
}

static void test_another_protocol_gets_no_session(void **state)
{
    static const char words[] = "SSH-2.0-OpenSSH\n{\"hello\": 1}\n";
    struct peer p = {.fd = -1};
    char folder[] = "/tmp/godwit-qmp.XXXXXX";

    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *path = xasprintf("%s/ssh", folder);
    _cleanup_close_ int listener = unix_listen(path, 0600, NULL);
    assert_return_code(sd_event_new(&p.loop), 0);
    assert_return_code(qmp_new(p.loop, path, 500, &handlers, &p.seen, &p.seen.qmp, NULL), 0);
    spin(p.loop);
    p.fd = accept(listener, NULL, NULL);
    assert_true(p.fd >= 0);
    (void)send(p.fd, words, strlen(words), MSG_NOSIGNAL); /* a busy machine may be too late: it ends alike */
    for (int i = 0; i < 100 && !qmp_is_closed(p.seen.qmp); i++)
        spin(p.loop);
    spin(p.loop);
    assert_non_null(strstr(str_text(&p.seen.log), "closed no QMP greeting"));
    peer_end(&p);
    fs_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_cut_lines_in_any_portions),
        cmocka_unit_test(test_frames_refuse_an_endless_line),
        cmocka_unit_test(test_commands_wait_for_the_session),
        cmocka_unit_test(test_replies_find_their_command),
        cmocka_unit_test(test_events_come_with_their_time),
        cmocka_unit_test(test_a_lost_connection_answers_everybody_once),
        cmocka_unit_test(test_a_question_s_block_goes_with_or_without_an_answer),
        cmocka_unit_test(test_garbage_ends_the_session),
        cmocka_unit_test(test_the_words_to_an_earlier_client_are_dropped),
        cmocka_unit_test(test_no_two_sessions_count_alike),
        cmocka_unit_test(test_freeing_in_a_callback_is_the_last_callback),
        cmocka_unit_test(test_descriptors_travel_with_their_command),
        cmocka_unit_test(test_a_slow_reader_gets_everything_in_order),
        cmocka_unit_test(test_connecting_waits_for_the_listener_and_gives_up_in_time),
        cmocka_unit_test(test_another_protocol_gets_no_session),
    };

    random_replace(zeros, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

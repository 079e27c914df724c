/* What a client may not do to the server, nor to others: too much, nonsense, too slowly, half, too often. */
#include "http-fixture.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void oversized_bodies_are_refused(void **state)
{
    struct fixture f = {.config.max_body = 1000};
    _cleanup_free_ char *announced = NULL, *chunked = NULL;
    _cleanup_str_ struct str request = {0};

    server_start(&f);
    announced = exchange(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "limit is 1000");
    assert_non_null(strstr(announced, " 413 "));
    str_puts(&request, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++)
        str_puts(&request, "8\r\n01234567\r\n");
    str_puts(&request, "0\r\n\r\n");
    chunked = exchange(&f, request.data, "limit is 1000");
    assert_non_null(strstr(chunked, " 413 "));
    server_stop(&f);
}

static void oversized_headers_are_refused(void **state)
{
    struct fixture f = {.config.max_header = 8192};
    _cleanup_str_ struct str request = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    str_puts(&request, "GET /echo HTTP/1.1\r\nHost: h\r\nX-Long: ");
    for (int i = 0; i < 2000; i++)
        str_puts(&request, "aaaaaaaa");
    str_puts(&request, "\r\n\r\n");
    got = exchange(&f, request.data, " 431 ");
    assert_non_null(strstr(got, " 431 "));
    server_stop(&f);
}

static void malformed_requests_do_not_reach_the_handler(void **state)
{
    static const char *const bad[] = {
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: nonsense\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /echo HTTP/1.1\r\n\r\n", /* no Host */
        "GET /echo HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    };
    struct fixture f = {0};

    server_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_close_ int fd = dial(&f);
        _cleanup_free_ char *got = NULL;

        say(fd, bad[i]);
        got = listen_for(fd, "\r\n\r\n", 500);
        if (strstr(got, " 200 "))
            fail_msg("\"%s\" was answered: %s", bad[i], got);
    }
    server_stop(&f);
}

static void slow_clients_are_cut(void **state)
{
    struct fixture f = {.config = {.idle_timeout_s = 2, .body_timeout_s = 2}};
    int header, body, silent, idle;
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    header = dial(&f), body = dial(&f), silent = dial(&f), idle = dial(&f);
    say(header, "GET /echo HTTP/1.1\r\nX-");
    say(body, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    say(idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    got = listen_for(idle, "GET /echo", 1000);
    assert_non_null(strstr(got, "200 OK"));
    for (int i = 0; i < 16; i++) { /* a byte every 250 ms keeps neither alive */
        (void)!send(header, "a", 1, MSG_NOSIGNAL);
        (void)!send(body, "a", 1, MSG_NOSIGNAL);
        usleep(250000);
    }
    assert_true(ends(header, 2000));
    assert_true(ends(body, 2000));
    assert_true(ends(silent, 2000));
    assert_true(ends(idle, 2000));
    close(header), close(body), close(silent), close(idle);
    server_stop(&f);
}

static bool comes_down_to(const struct fixture *f, uint64_t connections)
{
    int64_t end = clock_monotonic_ms() + 6000; /* who left is looked for every two seconds */

    while (http_server_counters(f->s).connections > connections && clock_monotonic_ms() < end)
        usleep(10000);
    return http_server_counters(f->s).connections == connections;
}

static void connections_per_client_are_limited(void **state)
{
    struct fixture f = {.config.max_per_client = 3};
    int fds[4];

    server_start(&f);
    for (int i = 0; i < 4; i++)
        fds[i] = dial(&f);
    assert_true(ends(fds[3], 2000));
    assert_false(ends(fds[2], 100));
    close(fds[2]); /* makes room for another one, which is served */
    assert_true(comes_down_to(&f, 2));
    fds[2] = dial(&f);
    say(fds[2], "GET /echo/room HTTP/1.1\r\nHost: h\r\n\r\n");
    _cleanup_free_ char *got = listen_for(fds[2], "/echo/room", 2000);
    assert_non_null(strstr(got, " 200 "));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    server_stop(&f);
}

/* Sends the same request on n connections of one user. */
static void flood(const struct fixture *f, const char *user, int *fds, int n)
{
    _cleanup_free_ char *hello = xasprintf("GET /echo HTTP/1.1\r\nHost: h\r\nX-User: %s\r\n\r\n", user);

    for (int i = 0; i < n; i++) {
        fds[i] = dial(f);
        say(fds[i], hello);
        free(listen_for(fds[i], "GET /echo", 2000));
    }
    for (int i = 0; i < n; i++)
        say(fds[i], "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
}

static void users_take_turns(void **state)
{
    static const char *const urgent_targets[] = {"/echo/urgent", NULL};
    struct fixture f = {.config = {.workers = 6, .max_waiting = 8, .urgent = urgent_targets}};
    int many[16], one, fast, refused = 0, served = 0;
    _cleanup_free_ char *got = NULL, *urgent = NULL;
    int64_t begin;

    server_start(&f);
    flood(&f, "a", many, 16); /* up to 4 run, 8 wait, the others are too many */
    usleep(50000);
    fast = dial(&f);
    say(fast, "GET /echo HTTP/1.1\r\nHost: h\r\nX-User: a\r\n\r\n");
    free(listen_for(fast, "GET /echo", 2000));
    say(fast, "GET /echo/urgent HTTP/1.1\r\nHost: h\r\n\r\n"); /* of the user whose lane is full */
    urgent = listen_for(fast, "GET /echo/urgent", 2000);
    assert_non_null(strstr(urgent, " 200 "));
    close(fast);
    begin = clock_monotonic_ms();
    flood(&f, "b", &one, 1);
    got = listen_for(one, "slow", 2000);
    assert_non_null(strstr(got, " 200 "));
    assert_in_range(clock_monotonic_ms() - begin, 250, 850); /* its own 300 ms, not the 900 of those before it */
    for (int i = 0; i < 16; i++) {
        _cleanup_free_ char *answer = listen_for(many[i], "\r\n\r\n", 3000);

        served += strstr(answer, " 200 ") != NULL;
        refused += strstr(answer, " 429 ") != NULL;
        close(many[i]);
    }
    assert_in_range(served, 8, 12);
    assert_int_equal(served + refused, 16);
    close(one);
    server_stop(&f);
}

/* Others are served while somebody misbehaves. */
static void expect_service(const struct fixture *f)
{
    _cleanup_free_ char *got = exchange(f, "GET /echo/other HTTP/1.1\r\nHost: h\r\n\r\n", "/echo/other");

    assert_non_null(strstr(got, " 200 "));
}

static void truncated_requests_reach_no_handler(void **state)
{
    static const char request[] = "POST /echo/half HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n12345678",
                      chunked[] = "POST /echo/half HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    static const char *const whole[] = {request, chunked};
    struct fixture f = {0};

    server_start(&f);
    for (size_t k = 0; k < 2; k++)
        for (size_t len = 1; len < strlen(whole[k]); len++) {
            _cleanup_free_ char *part = xstrndup(whole[k], len);
            _cleanup_close_ int fd = dial(&f);

            say(fd, part);
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
            _cleanup_free_ char *got = listen_for(fd, NULL, 50);
            if (strstr(got, " 200 "))
                fail_msg("the first %zu bytes were answered: %s", len, got);
        }
    assert_true(comes_down_to(&f, 0));
    expect_service(&f);
    server_stop(&f);
}

/* Bytes that drip in under every time limit of their own, on many connections at once. */
static void slow_clients_do_not_hold_up_others(void **state)
{
    static const char *const heads[] = {"GET /echo HTTP/1.1\r\nX-", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n"};
    struct fixture f = {.config = {.workers = 2, .idle_timeout_s = 2, .body_timeout_s = 2}};
    int fds[200];

    server_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = dial(&f);
        say(fds[i], heads[i % 2]);
    }
    for (int i = 0; i < 14; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(fds); k++)
            (void)!send(fds[k], "a", 1, MSG_NOSIGNAL);
        int64_t begin = clock_monotonic_ms();
        expect_service(&f);
        assert_in_range(clock_monotonic_ms() - begin, 0, 1000);
        usleep(250000);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_true(ends(fds[i], 4000));
        close(fds[i]);
    }
    server_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oversized_bodies_are_refused),
        cmocka_unit_test(oversized_headers_are_refused),
        cmocka_unit_test(malformed_requests_do_not_reach_the_handler),
        cmocka_unit_test(truncated_requests_reach_no_handler),
        cmocka_unit_test(slow_clients_are_cut),
        cmocka_unit_test(slow_clients_do_not_hold_up_others),
        cmocka_unit_test(connections_per_client_are_limited),
        cmocka_unit_test(users_take_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

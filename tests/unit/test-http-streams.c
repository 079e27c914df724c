/* Streams and upgrades. */
#include "http-fixture.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pki/pki.h"

static void streams_carry_what_is_sent_later(void **state)
{
    struct fixture f = {0};
    struct http_stream *st;
    struct http_part part = text_part("later\n");
    _cleanup_free_ char *got = NULL;
    int fd;

    server_start(&f);
    fd = dial(&f);
    st = open_stream(fd);
    usleep(20000);
    assert_int_equal(http_stream_send(st, &part, 1), 0);
    free(listen_for(fd, "later", 2000));
    http_stream_close(st);
    part = text_part("too late");
    assert_int_equal(http_stream_send(st, &part, 1), -EPIPE);
    got = listen_for(fd, "0\r\n\r\n", 2000);
    assert_non_null(strstr(got, "0\r\n\r\n"));
    /* The connection lives on. */
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    free(got);
    got = listen_for(fd, "/echo", 2000);
    assert_non_null(strstr(got, "200 OK"));
    close(fd);
    server_stop(&f);
}

static void a_stream_may_end_before_its_handler_returns(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(&f, "GET /stream?end HTTP/1.1\r\nHost: h\r\n\r\n", "0\r\n\r\n");
    assert_non_null(strstr(got, "hello"));
    assert_non_null(strstr(got, "0\r\n\r\n"));
    server_stop(&f);
}

static bool becomes_closed(unsigned before)
{
    for (int i = 0; i < 2000; i++) {
        if (__atomic_load_n(&closed_streams, __ATOMIC_SEQ_CST) > before)
            return true;
        usleep(1000);
    }
    return false;
}

static void a_client_that_leaves_an_idle_stream_is_noticed(void **state)
{
    struct fixture f = {0};
    struct http_stream *st;
    struct http_part part = text_part("x");
    unsigned before = closed_streams;
    int fd;

    server_start(&f);
    fd = dial(&f);
    st = open_stream(fd);
    usleep(50000); /* suspended by now */
    close(fd);
    assert_true(becomes_closed(before));
    assert_int_equal(http_stream_send(st, &part, 1), -EPIPE);
    assert_int_equal(http_server_counters(f.s).streams, 0);
    server_stop(&f);
}

static void slow_readers_of_streams_are_cut(void **state)
{
    struct fixture f = {.config.max_backlog = 1 << 20};
    struct http_stream *st;
    unsigned before = closed_streams;
    int fd, r = 0;

    server_start(&f);
    fd = dial(&f);
    st = open_stream(fd);
    for (int i = 0; i < 1000 && r == 0; i++) {
        struct http_part part = {blob_new(NULL, 65536), 0, 65536};

        memset(part.blob->data, 'x', 65536);
        r = http_stream_send(st, &part, 1);
        usleep(100);
    }
    assert_int_equal(r, -EPIPE);
    assert_true(becomes_closed(before));
    assert_true(ends(fd, 3000));
    assert_int_equal(http_server_counters(f.s).cut, 1);
    close(fd);
    server_stop(&f);
}

static void bulk_waits_for_its_reader(void **state)
{
    struct fixture f = {.config.max_backlog = 1 << 20};
    struct http_stream *st;
    size_t total = 0;
    int fd;

    server_start(&f);
    fd = dial(&f);
    st = open_stream(fd);
    for (int i = 0; i < 400; i++) { /* 25 MiB through a backlog of 1 MiB */
        struct http_part part = {blob_new(NULL, 65536), 0, 65536};
        char buf[262144];
        ssize_t n;

        memset(part.blob->data, 'x', 65536);
        assert_int_equal(http_stream_send(st, &part, 1), 0);
        while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
            total += (size_t)n;
        assert_int_equal(http_stream_wait(st, 512 << 10, 2000), 0);
    }
    assert_true(total > 20 << 20);
    /* Nobody reads any more: the sockets' buffers fill, however large the kernel makes them, and then nothing drains. */
    int waited = 0;
    for (int i = 0; i < 1000 && waited == 0; i++) {
        struct http_part part = {blob_new(NULL, 65536), 0, 65536};

        assert_int_equal(http_stream_send(st, &part, 1), 0);
        waited = http_stream_wait(st, 512 << 10, 200);
    }
    assert_int_equal(waited, -ETIMEDOUT);
    close(fd);
    server_stop(&f);
}

static void draining_ends_streams_and_finishes_requests(void **state)
{
    struct fixture f = {.drain = true};
    int stream_fd, slow_fd;
    _cleanup_free_ char *slow = NULL;
    int64_t before;

    server_start(&f);
    stream_fd = dial(&f);
    slow_fd = dial(&f);
    open_stream(stream_fd);
    say(slow_fd, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    usleep(100000);
    before = clock_monotonic_ms();
    server_stop(&f);
    assert_in_range(clock_monotonic_ms() - before, 100, 1500);
    slow = listen_for(slow_fd, NULL, 1000);
    assert_non_null(strstr(slow, "slow"));
    assert_non_null(strstr(slow, "Connection: close"));
    assert_true(ends(stream_fd, 1000));
    close(stream_fd), close(slow_fd);
}

#define UPGRADE "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

static void upgraded_connections_carry_bytes(struct fixture *f)
{
    _cleanup_free_ char *head = NULL, *other = NULL, *rest = NULL;

    ended_upgrades = 0;
    server_start(f);
    int fd = dial(f), idle = dial(f);
    say(fd, UPGRADE);
    head = listen_for(fd, "\r\n\r\n", 3000);
    assert_non_null(strstr(head, "101 Switching"));
    assert_non_null(strstr(head, "Upgrade: echo"));
    say(fd, "and bye");
    rest = listen_for(fd, NULL, 3000); /* until the server closes */
    assert_string_equal(rest, "and bye");
    say(idle, UPGRADE);
    other = listen_for(idle, "\r\n\r\n", 3000);
    assert_non_null(strstr(other, "101 "));
    server_stop(f); /* with one open */
    assert_int_equal(ended_upgrades, 2);
    close(fd);
    close(idle);
}

static void upgrades_work_from_workers_and_on_the_loop(void **state)
{
    upgraded_connections_carry_bytes(&(struct fixture){0});
    upgraded_connections_carry_bytes(&(struct fixture){.config.on_loop = true});
    upgraded_connections_carry_bytes(&(struct fixture){.config.on_loop = true, .drain = true});
}

/* Plain and over TLS: through the window of a slow reader, the chunks that we frame ourselves are those that were sent. */
static void check_bulk(struct fixture *f, CURL *c, struct str *got)
{
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 4096L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, got);
    for (int i = 1; i <= 2; i++) { /* the connection is good for another one */
        assert_int_equal(curl_easy_perform(c), CURLE_OK);
        assert_int_equal(got->len, i * 5000000);
    }
    for (size_t i = 0; i < got->len; i++)
        if (got->data[i] != (char)('a' + i % 50000 % 23))
            fail_msg("byte %zu is wrong", i);
    assert_int_equal(http_server_counters(f->s).connections, 1);
    curl_easy_cleanup(c);
    str_done(got);
}

static void bulk_arrives_as_it_was_sent(void **state)
{
    _cleanup_str_ struct str got = {0};
    struct fixture f = {0};
    CURL *c = curl_easy_init();

    server_start(&f);
    _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u/bulk", http_server_port(f.s));
    curl_easy_setopt(c, CURLOPT_URL, url);
    check_bulk(&f, c, &got);
    server_stop(&f);
}

static void bulk_arrives_over_tls(void **state)
{
    static const char *const sans[] = {"127.0.0.1", NULL};
    const struct pki_subject server = {"server", NULL, sans};
    _cleanup_str_ struct str got = {0};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    struct pki_ca *ca = NULL;
    struct fixture f = {0};
    CURL *c = curl_easy_init();

    assert_int_equal(pki_ca_new("ca", 86400, &ca, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &server, PKI_SERVER, 3600, &cert, &key, NULL), 0);
    f.config.cert_pem = cert;
    f.config.key_pem = key;
    server_start(&f);
    _cleanup_free_ char *url = xasprintf("https://127.0.0.1:%u/bulk", http_server_port(f.s));
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    check_bulk(&f, c, &got);
    server_stop(&f);
    pki_ca_free(ca);
}

/* HTTP/1.0 knows no chunks: the end of the connection is the end of the stream. */
static void old_clients_get_streams_too(void **state)
{
    struct fixture f = {0};
    struct http_part part = text_part("later\n");

    server_start(&f);
    int fd = dial(&f);
    say(fd, "GET /stream HTTP/1.0\r\n\r\n");
    _cleanup_free_ char *got = listen_for(fd, "hello\n", 2000);
    assert_null(strstr(got, "chunked"));
    while (!__atomic_load_n(&last_stream, __ATOMIC_ACQUIRE))
        usleep(1000);
    assert_int_equal(http_stream_send(last_stream, &part, 1), 0);
    http_stream_close(last_stream);
    _cleanup_free_ char *rest = listen_for(fd, NULL, 2000);
    assert_string_equal(rest, "later\n");
    close(fd);
    server_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_carry_what_is_sent_later),
        cmocka_unit_test(a_stream_may_end_before_its_handler_returns),
        cmocka_unit_test(a_client_that_leaves_an_idle_stream_is_noticed),
        cmocka_unit_test(slow_readers_of_streams_are_cut),
        cmocka_unit_test(bulk_waits_for_its_reader),
        cmocka_unit_test(bulk_arrives_as_it_was_sent),
        cmocka_unit_test(bulk_arrives_over_tls),
        cmocka_unit_test(old_clients_get_streams_too),
        cmocka_unit_test(draining_ends_streams_and_finishes_requests),
        cmocka_unit_test(upgrades_work_from_workers_and_on_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

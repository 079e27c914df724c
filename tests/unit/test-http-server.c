/* The server with real sockets: a loop in its own thread, raw TCP for what no proper client sends, libcurl for TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/http_server.h"
#include "pki/pki.h"

struct fixture {
    struct http_config config;
    struct http_server *s;
    pthread_t thread;
    pthread_barrier_t ready;
    int stop_fd;
    const char *new_cert, *new_key; /* to be taken over when stop_fd is written 2 */
    bool drain;
};

static struct http_stream *last_stream; /* atomic */
static unsigned closed_streams;

static void on_closed(struct http_stream *st, void *userdata)
{
    __atomic_add_fetch(&closed_streams, 1, __ATOMIC_SEQ_CST);
}

static struct http_part text_part(const char *text)
{
    return (struct http_part){blob_text(text), 0, strlen(text)};
}

static void answer_echo(struct http_request *r)
{
    size_t len;
    const char *body = http_body(r, &len);
    _cleanup_free_ char *head = xasprintf("%s %s %s %s|", http_method(r), http_target(r),
                                          http_header(r, "x-test") ?: "-", http_bearer_token(r) ?: "-");
    struct http_part parts[] = {text_part(head), {blob_new(body, len), 0, len}};

    http_add_header(r, "X-Answer", "42");
    http_answer(r, 200, "text/plain", parts, 2);
}

/* 100,000 parts of 50 bytes, all of one blob. */
static void answer_many(struct http_request *r)
{
    struct blob *b = blob_text("....-0123456789012345678901234567890123456789012345678\n");
    struct http_part *parts = xnew_n(struct http_part, 100000);

    for (size_t i = 0; i < 100000; i++)
        parts[i] = (struct http_part){blob_ref(b), 5, 50};
    http_answer(r, 200, "text/plain", parts, 100000);
    free(parts);
    blob_unref(b);
}

static void answer_peer(struct http_request *r)
{
    struct http_der chain[4];
    size_t n = http_peer_chain(r, chain, 4);
    struct pki_info info = {0};
    char text[200] = "nobody";

    if (n && pki_cert_read_der(chain[0].data, chain[0].len, &info, NULL) == 0)
        snprintf(text, sizeof(text), "%s %s", info.cn, http_connection_data(r) ? "again" : "first");
    if (!http_connection_data(r))
        http_set_connection_data(r, xstrdup("seen"), free);
    pki_info_done(&info);
    http_answer_text(r, 200, "text/plain", text);
}

static void start_stream(struct http_request *r)
{
    struct http_part hello = text_part("hello\n");
    bool end = streq(http_target(r), "/stream?end");
    struct http_stream *st = http_stream_start(r, 200, "text/event", on_closed, NULL);

    http_stream_send(st, &hello, 1);
    if (end) {
        http_stream_close(st);
        http_stream_unref(st);
    } else {
        __atomic_store_n(&last_stream, st, __ATOMIC_RELEASE);
    }
}

/* --- Upgrades: what comes is sent back until the client leaves, or "bye" comes --- */

static unsigned ended_upgrades;

struct echo {
    struct http_upgrade *u;
    sd_event_source *io;
};
static sd_event *echo_loop; /* of the one server that runs */

static void echo_end(struct echo *e)
{
    sd_event_source_disable_unref(e->io);
    if (e->u)
        http_upgrade_end(e->u);
    free(e);
    __atomic_add_fetch(&ended_upgrades, 1, __ATOMIC_SEQ_CST);
}

static int on_echo(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct echo *e = userdata;
    char buf[4096];
    ssize_t n;

    while ((n = http_upgrade_read(e->u, buf, sizeof(buf))) > 0) {
        assert_int_equal(http_upgrade_write(e->u, buf, (size_t)n), n);
        if (memmem(buf, (size_t)n, "bye", 3)) {
            echo_end(e);
            return 0;
        }
    }
    if (n != -EAGAIN)
        echo_end(e);
    return 0;
}

static void echo_open(void *userdata, struct http_upgrade *u)
{
    struct echo *e = userdata;

    e->u = u;
    if (!u) {
        echo_end(e);
        return;
    }
    sd_event_add_io(echo_loop, &e->io, http_upgrade_fd(u), EPOLLIN, on_echo, e);
}

static void echo_cut(void *userdata)
{
    echo_end(userdata);
}

static const struct http_upgrade_handlers echo_handlers = {echo_open, echo_cut};

/* --- Answers that are put off --- */

static int on_later(sd_event_source *source, uint64_t usec, void *userdata)
{
    http_answer_text(userdata, 200, "text/plain", "later");
    http_send(userdata);
    sd_event_source_unref(source);
    return 0;
}

static void put_off(struct http_request *r)
{
    sd_event_source *source;

    http_later(r);
    sd_event_add_time_relative(echo_loop, &source, CLOCK_MONOTONIC, 50000, 0, on_later, r);
}

static void handler(struct http_request *r, void *userdata)
{
    if (streq(http_target(r), "/upgrade")) {
        http_upgrade(r, "echo", &echo_handlers, xnew(struct echo));
        return;
    }
    if (streq(http_target(r), "/later")) {
        put_off(r);
        return;
    }
    if (http_header(r, "X-User"))
        http_set_user(r, http_header(r, "X-User"));
    if (http_fault(r))
        http_answer_text(r, gw_reason_code(http_fault(r)->reason), "text/plain", http_fault(r)->message);
    else if (str_starts(http_target(r), "/echo"))
        answer_echo(r);
    else if (streq(http_target(r), "/many"))
        answer_many(r);
    else if (streq(http_target(r), "/peer"))
        answer_peer(r);
    else if (str_starts(http_target(r), "/stream"))
        start_stream(r);
    else if (streq(http_target(r), "/slow")) {
        usleep(300000);
        http_answer_text(r, 200, "text/plain", "slow");
    } else if (!streq(http_target(r), "/nothing"))
        http_answer_text(r, 404, NULL, NULL);
}

static void exit_loop(void *userdata)
{
    sd_event_exit(userdata, 0);
}

static int on_stop(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct fixture *f = userdata;
    eventfd_t n;

    eventfd_read(fd, &n);
    if (n == 2)
        return http_server_set_identity(f->s, f->new_cert, f->new_key, NULL) < 0 ? -EINVAL : 0;
    if (f->drain)
        http_server_drain(f->s, 3000, exit_loop, sd_event_source_get_event(source));
    else
        exit_loop(sd_event_source_get_event(source));
    return 0;
}

static void *run(void *arg)
{
    struct fixture *f = arg;
    sd_event *loop = NULL;
    struct gw_error err = GW_ERROR_INIT;

    if (sd_event_new(&loop) < 0 || http_server_new(loop, &f->config, &f->s, &err) < 0) {
        fprintf(stderr, "%s\n", gw_error_message(&err));
        abort();
    }
    echo_loop = loop;
    sd_event_add_io(loop, NULL, f->stop_fd, POLLIN, on_stop, f);
    pthread_barrier_wait(&f->ready);
    sd_event_loop(loop);
    f->s = http_server_free(f->s);
    sd_event_unref(loop);
    return NULL;
}

static void start(struct fixture *f)
{
    f->config.address = f->config.address ?: "127.0.0.1";
    f->config.handler = handler;
    f->stop_fd = eventfd(0, 0);
    pthread_barrier_init(&f->ready, NULL, 2);
    pthread_create(&f->thread, NULL, run, f);
    pthread_barrier_wait(&f->ready);
}

static void stop(struct fixture *f)
{
    eventfd_write(f->stop_fd, 1);
    pthread_join(f->thread, NULL);
    pthread_barrier_destroy(&f->ready);
    close(f->stop_fd);
    if (last_stream)
        last_stream = http_stream_unref(last_stream);
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(http_server_port(f->s))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `until` was seen, the peer closed, or ms passed. */
static char *listen_for(int fd, const char *until, int ms)
{
    struct str got = {0};
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        char buf[4096];
        ssize_t n;

        if (until && strstr(str_text(&got), until))
            break;
        if (poll(&p, 1, (int)MAX(end - clock_monotonic_ms(), 0)) <= 0)
            break;
        n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0)
            break;
        str_add(&got, buf, (size_t)n);
    }
    return str_take(&got);
}

/* True when the server has closed the connection within ms. */
static bool ends(int fd, int ms)
{
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        char buf[65536];

        if (poll(&p, 1, (int)MAX(end - clock_monotonic_ms(), 0)) <= 0)
            return false;
        if (recv(fd, buf, sizeof(buf), 0) <= 0)
            return true;
    }
}

static char *exchange(const struct fixture *f, const char *request, const char *until)
{
    _cleanup_close_ int fd = dial(f);

    say(fd, request);
    return listen_for(fd, until, 3000);
}

static void requests_reach_the_handler_and_answers_the_client(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(&f,
                   "POST /echo/a%2Fb?x=%20 HTTP/1.1\r\nHost: h\r\nX-Test: t\r\nAuthorization: bearer  "
                   "tok\r\nContent-Length: 4\r\n\r\nbody",
                   "|body");
    assert_non_null(strstr(got, "200 OK"));
    assert_non_null(strstr(got, "X-Answer: 42"));
    assert_non_null(strstr(got, "POST /echo/a%2Fb?x=%20 t tok|body"));
    stop(&f);
}

static void chunked_bodies_are_joined(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(
        &f, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        "|abcdefg");
    assert_non_null(strstr(got, "|abcdefg"));
    stop(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(&f, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n", "/echo/2");
    assert_non_null(strstr(got, "slow"));
    assert_non_null(strstr(got, "/echo/2"));
    assert_true(strstr(got, "slow") < strstr(got, "/echo/2"));
    stop(&f);
}

static void a_handler_that_does_nothing_has_answered_500(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(&f, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", "no answer");
    assert_non_null(strstr(got, "500 Internal"));
    stop(&f);
}

static void oversized_bodies_are_refused(void **state)
{
    struct fixture f = {.config.max_body = 1000};
    _cleanup_free_ char *announced = NULL, *chunked = NULL;
    _cleanup_str_ struct str request = {0};

    start(&f);
    announced = exchange(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "limit is 1000");
    assert_non_null(strstr(announced, " 413 "));
    str_puts(&request, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++)
        str_puts(&request, "8\r\n01234567\r\n");
    str_puts(&request, "0\r\n\r\n");
    chunked = exchange(&f, request.data, "limit is 1000");
    assert_non_null(strstr(chunked, " 413 "));
    stop(&f);
}

static void oversized_headers_are_refused(void **state)
{
    struct fixture f = {.config.max_header = 8192};
    _cleanup_str_ struct str request = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    str_puts(&request, "GET /echo HTTP/1.1\r\nHost: h\r\nX-Long: ");
    for (int i = 0; i < 2000; i++)
        str_puts(&request, "aaaaaaaa");
    str_puts(&request, "\r\n\r\n");
    got = exchange(&f, request.data, " 431 ");
    assert_non_null(strstr(got, " 431 "));
    stop(&f);
}

static void malformed_requests_do_not_reach_the_handler(void **state)
{
    static const char *const bad[] = {
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: nonsense\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /echo HTTP/1.1\r\n\r\n", /* no Host */
    };
    struct fixture f = {0};

    start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_close_ int fd = dial(&f);
        _cleanup_free_ char *got = NULL;

        say(fd, bad[i]);
        got = listen_for(fd, "\r\n\r\n", 500);
        if (strstr(got, " 200 "))
            fail_msg("\"%s\" was answered: %s", bad[i], got);
    }
    stop(&f);
}

static size_t count_bytes(char *data, size_t size, size_t n, void *userdata)
{
    *(size_t *)userdata += size * n;
    return size * n;
}

/* Bytes of the body as curl sees it; with encoding NULL as they came over the wire. */
static size_t fetch(const struct fixture *f, const char *path, const char *header, const char *decode)
{
    _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u%s", http_server_port(f->s), path);
    struct curl_slist *headers = curl_slist_append(NULL, header);
    CURL *c = curl_easy_init();
    size_t bytes = 0;

    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, decode);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &bytes);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    return bytes;
}

static void large_answers_are_compressed_for_who_wants_it(void **state)
{
    struct fixture f = {0};
    size_t packed;

    start(&f);
    assert_int_equal(fetch(&f, "/many", "X-Test: plain", NULL), 5000000);
    packed = fetch(&f, "/many", "Accept-Encoding: deflate, gzip;q=0.5", NULL);
    assert_in_range(packed, 1000, 500000);
    assert_int_equal(fetch(&f, "/many", "X-Test: unpacked", "gzip"), 5000000);
    assert_int_equal(fetch(&f, "/many", "Accept-Encoding: gzip;q=0, identity", NULL), 5000000);
    assert_in_range(fetch(&f, "/echo", "Accept-Encoding: gzip", NULL), 10, 60); /* small ones go as they are */
    stop(&f);
}

static void slow_clients_are_cut(void **state)
{
    struct fixture f = {.config = {.idle_timeout_s = 2, .body_timeout_s = 2}};
    int header, body, silent, idle;
    _cleanup_free_ char *got = NULL;

    start(&f);
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
    stop(&f);
}

static void connections_per_client_are_limited(void **state)
{
    struct fixture f = {.config.max_per_client = 3};
    int fds[4];

    start(&f);
    for (int i = 0; i < 4; i++)
        fds[i] = dial(&f);
    assert_true(ends(fds[3], 2000));
    assert_false(ends(fds[2], 100));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    stop(&f);
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

    start(&f);
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
    stop(&f);
}

static struct http_stream *open_stream(int fd)
{
    _cleanup_free_ char *got = NULL;

    __atomic_store_n(&last_stream, NULL, __ATOMIC_RELEASE);
    say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    got = listen_for(fd, "hello", 2000);
    assert_non_null(strstr(got, "Transfer-Encoding: chunked"));
    assert_non_null(strstr(got, "hello"));
    while (!__atomic_load_n(&last_stream, __ATOMIC_ACQUIRE))
        usleep(1000);
    return last_stream;
}

static void streams_carry_what_is_sent_later(void **state)
{
    struct fixture f = {0};
    struct http_stream *st;
    struct http_part part = text_part("later\n");
    _cleanup_free_ char *got = NULL;
    int fd;

    start(&f);
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
    stop(&f);
}

static void a_stream_may_end_before_its_handler_returns(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(&f, "GET /stream?end HTTP/1.1\r\nHost: h\r\n\r\n", "0\r\n\r\n");
    assert_non_null(strstr(got, "hello"));
    assert_non_null(strstr(got, "0\r\n\r\n"));
    stop(&f);
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

    start(&f);
    fd = dial(&f);
    st = open_stream(fd);
    usleep(50000); /* suspended by now */
    close(fd);
    assert_true(becomes_closed(before));
    assert_int_equal(http_stream_send(st, &part, 1), -EPIPE);
    assert_int_equal(http_server_counters(f.s).streams, 0);
    stop(&f);
}

static void slow_readers_of_streams_are_cut(void **state)
{
    struct fixture f = {.config.max_backlog = 1 << 20};
    struct http_stream *st;
    unsigned before = closed_streams;
    int fd, r = 0;

    start(&f);
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
    stop(&f);
}

static void bulk_waits_for_its_reader(void **state)
{
    struct fixture f = {.config.max_backlog = 1 << 20};
    struct http_stream *st;
    size_t total = 0;
    int fd;

    start(&f);
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
    stop(&f);
}

static void draining_ends_streams_and_finishes_requests(void **state)
{
    struct fixture f = {.drain = true};
    int stream_fd, slow_fd;
    _cleanup_free_ char *slow = NULL;
    int64_t before;

    start(&f);
    stream_fd = dial(&f);
    slow_fd = dial(&f);
    open_stream(stream_fd);
    say(slow_fd, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    usleep(100000);
    before = clock_monotonic_ms();
    stop(&f);
    assert_in_range(clock_monotonic_ms() - before, 100, 1500);
    slow = listen_for(slow_fd, NULL, 1000);
    assert_non_null(strstr(slow, "slow"));
    assert_non_null(strstr(slow, "Connection: close"));
    assert_true(ends(stream_fd, 1000));
    close(stream_fd), close(slow_fd);
}

static void stopping_at_once_leaves_nothing_behind(void **state)
{
    struct fixture f = {0};
    int fds[12];

    start(&f);
    for (int i = 0; i < 12; i++)
        fds[i] = dial(&f);
    open_stream(fds[0]);
    for (int i = 1; i < 12; i++)
        say(fds[i], i % 2 ? "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" : "GET /slow HTTP/1.1\r\nHo");
    usleep(50000);
    stop(&f);
    for (int i = 0; i < 12; i++) {
        assert_true(ends(fds[i], 1000));
        close(fds[i]);
    }
}

static void an_address_in_use_is_named(void **state)
{
    struct fixture f = {0};
    struct http_server *second = NULL;
    struct http_config config = {.address = "127.0.0.1", .handler = handler};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    sd_event *loop = NULL;

    start(&f);
    config.port = http_server_port(f.s);
    sd_event_new(&loop);
    assert_int_equal(http_server_new(loop, &config, &second, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, "127.0.0.1"));
    config.address = "localhost";
    assert_true(http_server_new(loop, &config, &second, &err) < 0);
    assert_int_equal(err.reason, GW_INVALID);
    sd_event_unref(loop);
    stop(&f);
}

/* --- TLS --- */

static size_t collect(char *data, size_t size, size_t n, void *userdata)
{
    str_add(userdata, data, size * n);
    return size * n;
}

static CURL *https(const struct fixture *f, const char *path, const char *ca_pem, struct str *got)
{
    CURL *c = curl_easy_init();
    _cleanup_free_ char *url = xasprintf("https://127.0.0.1:%u%s", http_server_port(f->s), path);
    FILE *ca =
        fopen("test-http-server.ca", "w"); /* the GnuTLS build of libcurl 7.88 takes authorities from files only */

    fputs(ca_pem, ca);
    fclose(ca);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_CAINFO, "test-http-server.ca");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, got);
    return c;
}

static void use_client(CURL *c, const char *cert_pem, const char *key_pem)
{
    FILE *cert = fopen("test-http-server.crt", "w"), *key = fopen("test-http-server.key", "w");

    fputs(cert_pem, cert), fputs(key_pem, key);
    fclose(cert), fclose(key);
    curl_easy_setopt(c, CURLOPT_SSLCERT, "test-http-server.crt");
    curl_easy_setopt(c, CURLOPT_SSLKEY, "test-http-server.key");
}

static void tls_identifies_both_sides(void **state)
{
    static const char *const sans[] = {"127.0.0.1", NULL};
    const struct pki_subject server = {"server", NULL, sans}, client = {"alice", NULL, NULL};
    struct pki_ca *ca = NULL, *other = NULL;
    _cleanup_free_ char *cert = NULL, *cert2 = NULL, *client_cert = NULL;
    _cleanup_key_ char *key = NULL, *key2 = NULL, *client_key = NULL;
    _cleanup_str_ struct str got = {0};
    struct fixture f = {0};
    CURL *c;

    assert_int_equal(pki_ca_new("ca", 86400, &ca, NULL), 0);
    assert_int_equal(pki_ca_new("other", 86400, &other, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &server, PKI_SERVER, 3600, &cert, &key, NULL), 0);
    assert_int_equal(pki_issue_with_key(other, &server, PKI_SERVER, 3600, &cert2, &key2, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &client, PKI_CLIENT, 3600, &client_cert, &client_key, NULL), 0);
    f.config.cert_pem = cert;
    f.config.key_pem = key;
    start(&f);

    c = https(&f, "/peer", pki_ca_cert_pem(ca), &got);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_string_equal(got.data, "nobody");
    curl_easy_cleanup(c);

    str_done(&got);
    c = https(&f, "/peer", pki_ca_cert_pem(ca), &got);
    use_client(c, client_cert, client_key);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_string_equal(got.data, "alice firstalice again");
    curl_easy_cleanup(c);

    c = https(&f, "/peer", pki_ca_cert_pem(other), &got);
    assert_int_not_equal(curl_easy_perform(c), CURLE_OK);
    curl_easy_cleanup(c);

    f.new_cert = cert2;
    f.new_key = key2;
    eventfd_write(f.stop_fd, 2);
    usleep(100000);
    str_done(&got);
    c = https(&f, "/many", pki_ca_cert_pem(other), &got);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_int_equal(got.len, 5000000);
    for (size_t i = 0; i < got.len; i += 50)
        assert_memory_equal(got.data + i, "01234567890123456789", 20);
    curl_easy_cleanup(c);
    stop(&f);
    pki_ca_free(ca);
    pki_ca_free(other);
    remove("test-http-server.ca"), remove("test-http-server.crt"), remove("test-http-server.key");
}

#define UPGRADE "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

static void upgraded_connections_carry_bytes(struct fixture *f)
{
    _cleanup_free_ char *head = NULL, *other = NULL, *rest = NULL;

    ended_upgrades = 0;
    start(f);
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
    stop(f); /* with one open */
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

static void answers_can_be_put_off_on_the_loop(void **state)
{
    struct fixture f = {.config.on_loop = true};
    _cleanup_free_ char *got = NULL;

    start(&f);
    got = exchange(&f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n", "/echo/2");
    assert_non_null(strstr(got, "later"));
    assert_true(strstr(got, "later") < strstr(got, "/echo/2"));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_reach_the_handler_and_answers_the_client),
        cmocka_unit_test(chunked_bodies_are_joined),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_handler_that_does_nothing_has_answered_500),
        cmocka_unit_test(oversized_bodies_are_refused),
        cmocka_unit_test(oversized_headers_are_refused),
        cmocka_unit_test(malformed_requests_do_not_reach_the_handler),
        cmocka_unit_test(slow_clients_are_cut),
        cmocka_unit_test(connections_per_client_are_limited),
        cmocka_unit_test(users_take_turns),
        cmocka_unit_test(large_answers_are_compressed_for_who_wants_it),
        cmocka_unit_test(streams_carry_what_is_sent_later),
        cmocka_unit_test(a_stream_may_end_before_its_handler_returns),
        cmocka_unit_test(a_client_that_leaves_an_idle_stream_is_noticed),
        cmocka_unit_test(slow_readers_of_streams_are_cut),
        cmocka_unit_test(bulk_waits_for_its_reader),
        cmocka_unit_test(draining_ends_streams_and_finishes_requests),
        cmocka_unit_test(stopping_at_once_leaves_nothing_behind),
        cmocka_unit_test(an_address_in_use_is_named),
        cmocka_unit_test(upgrades_work_from_workers_and_on_the_loop),
        cmocka_unit_test(answers_can_be_put_off_on_the_loop),
        cmocka_unit_test(tls_identifies_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

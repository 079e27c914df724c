/* What the server of the tests serves. */
#include "http-fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pki/pki.h"

struct http_stream *last_stream;
unsigned closed_streams, ended_upgrades;
sd_event *served_loop;

static void on_closed(struct http_stream *st, void *userdata)
{
    __atomic_add_fetch(&closed_streams, 1, __ATOMIC_SEQ_CST);
}

struct http_part text_part(const char *text)
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

/* A body of 5 MB in chunks, as fast as its reader takes them. */
static void start_bulk(struct http_request *r)
{
    struct http_stream *st = http_stream_start(r, 200, "text/plain", on_closed, NULL);
    int left = 100;

    while (left-- > 0 && http_stream_wait(st, 200000, 5000) == 0) {
        struct http_part part = {blob_new(NULL, 50000), 0, 50000};

        for (size_t i = 0; i < 50000; i++)
            part.blob->data[i] = (char)('a' + i % 23);
        http_stream_send(st, &part, 1);
    }
    http_stream_close(st);
    http_stream_unref(st);
}

/* --- Upgrades: what comes is sent back until the client leaves, or "bye" comes --- */

struct echo {
    struct http_upgrade *u;
    sd_event_source *io;
};
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
    sd_event_add_io(served_loop, &e->io, http_upgrade_fd(u), EPOLLIN, on_echo, e);
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
    sd_event_add_time_relative(served_loop, &source, CLOCK_MONOTONIC, 50000, 0, on_later, r);
}

void serve(struct http_request *r, void *userdata)
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
    else if (streq(http_target(r), "/bulk"))
        start_bulk(r);
    else if (streq(http_target(r), "/slow")) {
        usleep(300000);
        http_answer_text(r, 200, "text/plain", "slow");
    } else if (!streq(http_target(r), "/nothing"))
        http_answer_text(r, 404, NULL, NULL);
}

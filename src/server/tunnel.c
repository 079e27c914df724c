/* A client's websocket on one side, an agent's channel on the other, on the loop. At most CHUNK bytes are taken in from
 * a side while what it sent before has not gone out at the other, so that a slow side slows the other and no session
 * takes more than a few chunks of memory. Pings find clients that have vanished; agents' sockets have keep-alive. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/http_server.h"
#include "http/websocket.h"
#include "server/guest.h"

#define PROTOCOL "plain.kubevirt.io"
#define CHUNK 8192
#define ROUNDS 16
#define PING_MS 10000
#define SILENCE_MS 60000

struct tunnel {
    struct agents *agents;
    struct agent_link *link;
    struct http_upgrade *upgrade;
    struct websocket *ws;
    struct str to_client, to_agent; /* wire bytes; channel bytes */
    int64_t heard_ms, pinged_ms;    /* from and to the client */
    bool agent_ended, client_ended;
    sd_event_source *client_io, *agent_io, *timer;
};

static void tunnel_free(struct tunnel *t)
{
    sd_event_source_disable_unref(t->client_io);
    sd_event_source_disable_unref(t->agent_io);
    sd_event_source_disable_unref(t->timer);
    if (t->upgrade)
        http_upgrade_end(t->upgrade);
    agent_link_free(t->link);
    websocket_free(t->ws);
    str_done(&t->to_client);
    str_done(&t->to_agent);
    free(t);
}

static void sent(struct str *s, size_t n)
{
    s->len -= n;
    memmove(s->data, s->data + n, s->len);
}

/* --- The four movements; each says whether it moved anything. --- */

static void take_client(struct tunnel *t, const void *bytes, size_t len)
{
    t->heard_ms = clock_monotonic_ms();
    websocket_feed(t->ws, bytes, len, &t->to_agent);
    websocket_flush(t->ws, &t->to_client);
}

static bool from_client(struct tunnel *t)
{
    char buf[CHUNK];
    ssize_t n;

    if (t->client_ended || t->to_agent.len || t->to_client.len > CHUNK)
        return false;
    n = http_upgrade_read(t->upgrade, buf, sizeof(buf));
    if (n > 0)
        take_client(t, buf, (size_t)n);
    else if (n != -EAGAIN)
        t->client_ended = true;
    return n > 0;
}

static bool to_client(struct tunnel *t)
{
    ssize_t n = t->to_client.len ? http_upgrade_write(t->upgrade, t->to_client.data, t->to_client.len) : 0;

    if (n > 0)
        sent(&t->to_client, (size_t)n);
    else if (n < 0 && n != -EAGAIN)
        t->client_ended = true;
    return n > 0;
}

static bool from_agent(struct tunnel *t)
{
    char buf[CHUNK];
    ssize_t n;

    if (t->agent_ended || t->to_client.len)
        return false;
    n = agent_link_read(t->link, buf, sizeof(buf));
    if (n > 0)
        websocket_send(t->ws, buf, (size_t)n, &t->to_client);
    else if (n != -EAGAIN) {
        t->agent_ended = true;
        websocket_close(t->ws, 1000, &t->to_client);
    }
    return n > 0;
}

static bool to_agent(struct tunnel *t)
{
    ssize_t n = t->to_agent.len ? agent_link_write(t->link, t->to_agent.data, t->to_agent.len) : 0;

    if (n > 0)
        sent(&t->to_agent, (size_t)n);
    else if (n < 0 && n != -EAGAIN) {
        t->to_agent.len = 0;
        t->agent_ended = true;
    }
    return n > 0;
}

/* --- Turns --- */

static void set_interest(sd_event_source *source, uint32_t events)
{
    (void)sd_event_source_set_io_events(source, events);
    (void)sd_event_source_set_enabled(source, events ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* Over when the client has gone, or when both have said all and it is delivered. */
static bool is_over(const struct tunnel *t)
{
    bool silent = !t->to_client.len && !t->to_agent.len;

    return t->client_ended || (silent && (t->agent_ended || websocket_over(t->ws)));
}

static void pump(struct tunnel *t)
{
    bool moved = true;

    for (int round = 0; round < ROUNDS && moved && !is_over(t); round++) {
        moved = to_agent(t);
        moved = from_client(t) || moved;
        moved = from_agent(t) || moved;
        moved = to_client(t) || moved;
    }
    if (is_over(t)) {
        tunnel_free(t);
        return;
    }
    set_interest(t->client_io,
                 (t->to_agent.len || t->to_client.len > CHUNK ? 0 : EPOLLIN) | (t->to_client.len ? EPOLLOUT : 0));
    set_interest(t->agent_io, (t->agent_ended || t->to_client.len ? 0 : EPOLLIN) | (t->to_agent.len ? EPOLLOUT : 0));
    /* Others' turn; TLS may hold bytes that no event tells of. */
    (void)sd_event_source_set_time_relative(t->timer, moved ? 0 : PING_MS * 1000ULL);
    (void)sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    pump(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct tunnel *t = userdata;
    int64_t now = clock_monotonic_ms();

    if (now - t->heard_ms > SILENCE_MS) {
        tunnel_free(t);
        return 0;
    }
    if (now - t->pinged_ms >= PING_MS) {
        t->pinged_ms = now;
        websocket_ping(t->ws, &t->to_client);
    }
    pump(t);
    return 0;
}

static void on_open(void *userdata, struct http_upgrade *u)
{
    struct tunnel *t = userdata;
    sd_event *loop = agents_loop(t->agents);

    t->upgrade = u;
    t->heard_ms = t->pinged_ms = clock_monotonic_ms();
    if (!u || sd_event_add_io(loop, &t->client_io, http_upgrade_fd(u), EPOLLIN, on_io, t) < 0 ||
        sd_event_add_io(loop, &t->agent_io, agent_link_fd(t->link), EPOLLIN, on_io, t) < 0 ||
        sd_event_add_time_relative(loop, &t->timer, CLOCK_MONOTONIC, PING_MS * 1000ULL, 0, on_timer, t) < 0) {
        tunnel_free(t);
        return;
    }
    pump(t);
}

static void on_cut(void *userdata)
{
    struct tunnel *t = userdata;

    websocket_close(t->ws, 1001, &t->to_client); /* going away */
    (void)to_client(t);
    tunnel_free(t);
}

/* --- The answer --- */

/* Whether a comma-separated list has the word. */
static bool lists(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; at && *at; at += strcspn(at, ",")) {
        at += strspn(at, ", \t");
        if (strncasecmp(at, word, n) == 0 && (at[n] == '\0' || strchr(", \t", at[n])))
            return true;
    }
    return false;
}

static void run(void *data, void *transport)
{
    static const struct http_upgrade_handlers handlers = {on_open, on_cut};
    struct http_request *r = transport;
    struct tunnel *t = data;
    const char *key = http_header(r, "Sec-WebSocket-Key"), *version = http_header(r, "Sec-WebSocket-Version");
    const char *connection = http_header(r, "Connection"), *offered = http_header(r, "Sec-WebSocket-Protocol");

    if (!key || strlen(key) != 24 || !version || !streq(version, "13") || !lists(connection, "Upgrade")) {
        http_add_header(r, "Sec-WebSocket-Version", "13");
        http_answer_text(r, 400, "text/plain", "no valid websocket handshake (RFC 6455)\n");
        tunnel_free(t);
        return;
    }
    _cleanup_free_ char *accept = websocket_accept(key);
    http_add_header(r, "Sec-WebSocket-Accept", accept);
    if (lists(offered, PROTOCOL))
        http_add_header(r, "Sec-WebSocket-Protocol", PROTOCOL);
    http_upgrade(r, "websocket", &handlers, t);
}

static void drop(void *data)
{
    tunnel_free(data);
}

void tunnel_offer(struct agents *a, struct agent_link *link, struct api_response *response)
{
    struct tunnel *t = xnew(struct tunnel);

    *t = (struct tunnel){.agents = a, .link = link, .ws = websocket_new(WEBSOCKET_SERVER)};
    response->status = 101;
    response->handoff = (struct api_handoff){run, drop, t};
}

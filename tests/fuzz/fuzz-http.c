/* The HTTP server as clients see it: the input is what a connection brings, in two pieces (the first byte says where it is
 * cut), and then its end. Whatever comes, the server lives, each request that reaches the handler is whole, and a body
 * never exceeds the limit. Streams and upgrades are tried by their targets. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/http_server.h"

#define MAX_BODY 500
#define TURNS 60   /* at most, for one input */
#define OPEN_MAX 200 /* more were forgotten: their clients have left */

static struct http_server *server;

static void on_closed(struct http_stream *st, void *userdata)
{
    http_stream_unref(st);
}

static void stream(struct http_request *r)
{
    struct http_part part = {blob_text("event\n"), 0, 6};
    struct http_stream *st = http_stream_start(r, 200, "text/plain", on_closed, NULL);

    http_stream_ref(st);
    (void)http_stream_send(st, &part, 1);
    http_stream_close(st);
    http_stream_unref(st);
}

static void on_open(void *userdata, struct http_upgrade *u)
{
    char buf[64];

    if (u && http_upgrade_read(u, buf, sizeof(buf)) != 0)
        (void)http_upgrade_write(u, "hello", 5);
    if (u)
        http_upgrade_end(u);
}

static void on_cut(void *userdata)
{
    abort(); /* each was ended as it opened */
}

static void handle(struct http_request *r, void *userdata)
{
    static const struct http_upgrade_handlers handlers = {on_open, on_cut};
    size_t len;
    const char *body = http_body(r, &len);

    if (!*http_method(r) || !http_target(r) || len > MAX_BODY || body[len] != '\0' || !*http_client_address(r))
        abort();
    (void)http_bearer_token(r);
    if (http_fault(r))
        http_answer_text(r, gw_reason_code(http_fault(r)->reason), "text/plain", http_fault(r)->message);
    else if (strstr(http_target(r), "stream"))
        stream(r);
    else if (strstr(http_target(r), "upgrade"))
        http_upgrade(r, "echo", &handlers, NULL);
    else
        http_answer_text(r, 200, "text/plain", http_target(r));
}

static sd_event *start(void)
{
    static const struct http_config config = {.address = "127.0.0.1",
                                              .handler = handle,
                                              .on_loop = true,
                                              .max_body = MAX_BODY,
                                              .max_header = 4096};
    static sd_event *loop;

    if (!loop && (sd_event_new(&loop) < 0 || http_server_new(loop, &config, &server, NULL) < 0))
        abort();
    return loop;
}

/* From many addresses, since a pair of ports rests after a connection that both sides have ended; where the system has none
 * to give for a moment, it is asked again. */
static int dial(void)
{
    static uint32_t number;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    struct linger hard = {1, 0};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(http_server_port(server));
    for (int i = 0; i < 1000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number++ % 60000);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        if (i == 0)
            perror("fuzz-http: dial");
        close(fd);
        usleep(10000);
    }
    abort();
}

/* Until the server has nothing to do. */
static void turn(sd_event *loop, int turns)
{
    while (turns-- > 0 && sd_event_run(loop, 0) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char alive[] = "GET /alive HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    static unsigned runs;
    sd_event *loop = start();
    size_t cut = size ? data[0] * (size - 1) / 255 : 0;
    char answer[1024] = "";
    int fd = dial();

    turn(loop, TURNS);
    (void)!send(fd, data + 1, cut, MSG_NOSIGNAL);
    turn(loop, TURNS);
    if (size)
        (void)!send(fd, data + 1 + cut, size - 1 - cut, MSG_NOSIGNAL);
    turn(loop, TURNS);
    (void)shutdown(fd, SHUT_WR);
    turn(loop, TURNS);
    close(fd);
    if (++runs % 64) /* others are served */
        return 0;
    fd = dial();
    (void)!send(fd, alive, sizeof(alive) - 1, MSG_NOSIGNAL);
    for (int i = 0; i < 1000 && recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT) <= 0; i++)
        (void)sd_event_run(loop, 1000);
    if (!strstr(answer, "200 OK") || http_server_counters(server).connections > OPEN_MAX)
        abort();
    close(fd);
    return 0;
}

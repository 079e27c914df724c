/* From an agent's channel into a stream of the HTTP server, on the loop. While much waits for the reader, nothing is
 * read: then the agent waits in turn. */
#include <errno.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "http/http_server.h"
#include "server/guest.h"

#define BACKLOG_MAX (256 * 1024)
#define LATER_US 20000

struct log_feed {
    struct agents *agents;
    struct agent_link *link;
    struct http_stream *stream;
    sd_event_source *io, *timer;
    bool attached, over;
};

static void feed_free(struct log_feed *f)
{
    sd_event_source_disable_unref(f->io);
    sd_event_source_disable_unref(f->timer);
    agent_link_free(f->link);
    http_stream_unref(f->stream);
    free(f);
}

static void end(struct log_feed *f)
{
    (void)sd_event_source_set_enabled(f->io, SD_EVENT_OFF);
    http_stream_close(f->stream);
}

static void pump(struct log_feed *f)
{
    char buf[8192];
    ssize_t n;

    while (http_stream_waiting(f->stream) < BACKLOG_MAX) {
        n = agent_link_read(f->link, buf, sizeof(buf));
        if (n == -EAGAIN) {
            (void)sd_event_source_set_enabled(f->io, SD_EVENT_ON);
            return;
        }
        struct http_part part = {n > 0 ? blob_new(buf, (size_t)n) : NULL, 0, (size_t)MAX(n, 0)};
        if (n <= 0 || http_stream_send(f->stream, &part, 1) < 0) {
            end(f);
            return;
        }
    }
    (void)sd_event_source_set_enabled(f->io, SD_EVENT_OFF);
    (void)sd_event_source_set_time_relative(f->timer, LATER_US);
    (void)sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    pump(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    pump(userdata);
    return 0;
}

/* Both on the loop, in either order. */
static void attach(void *data)
{
    struct log_feed *f = data;
    sd_event *loop = agents_loop(f->agents);

    f->attached = true;
    if (f->over) {
        feed_free(f);
        return;
    }
    if (sd_event_add_io(loop, &f->io, agent_link_fd(f->link), EPOLLIN, on_io, f) < 0 ||
        sd_event_add_time_relative(loop, &f->timer, CLOCK_MONOTONIC, 0, 0, on_timer, f) < 0) {
        http_stream_close(f->stream);
        return;
    }
    (void)sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
    pump(f);
}

static void on_over(struct http_stream *st, void *userdata)
{
    struct log_feed *f = userdata;

    f->over = true;
    if (f->attached)
        feed_free(f);
}

static void run(void *data, void *transport)
{
    struct log_feed *f = data;

    f->stream = http_stream_start(transport, 200, "text/plain", on_over, f);
    agents_post(f->agents, attach, f);
}

static void drop(void *data)
{
    feed_free(data);
}

void log_feed_offer(struct agents *a, struct agent_link *link, struct api_response *response)
{
    struct log_feed *f = xnew(struct log_feed);

    f->agents = a;
    f->link = link;
    response->status = 200;
    response->handoff = (struct api_handoff){run, drop, f};
}

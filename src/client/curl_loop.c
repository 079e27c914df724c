#include "client/curl_loop.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/alloc.h"

/* libcurl counts watches and requests under way among these: above it every answer closes its connection, and the next
 * request begins with a handshake, which costs more than the request itself. */
#define CONNECTIONS_KEPT 256L

struct curl_loop {
    sd_event *loop;
    CURLM *multi;
    sd_event_source *timer;
    void (*turned)(void *userdata);
    void *userdata;
};

CURLM *curl_loop_multi(struct curl_loop *cl)
{
    return cl->multi;
}

static int on_io(_unused_ sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct curl_loop *cl = userdata;
    int flags = (revents & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (revents & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                (revents & EPOLLERR ? CURL_CSELECT_ERR : 0),
        running;

    curl_multi_socket_action(cl->multi, fd, flags, &running);
    cl->turned(cl->userdata);
    return 0;
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
    struct curl_loop *cl = userdata;
    int running;

    curl_multi_socket_action(cl->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    cl->turned(cl->userdata);
    return 0;
}

/* libcurl says which readiness of a socket it wants to hear of; socketp carries our event source. */
static int on_socket(_unused_ CURL *easy, curl_socket_t fd, int what, void *userdata, void *socketp)
{
    struct curl_loop *cl = userdata;
    sd_event_source *source = socketp;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

    if (what == CURL_POLL_REMOVE) {
        sd_event_source_disable_unref(source);
        curl_multi_assign(cl->multi, fd, NULL);
        return 0;
    }
    if (source)
        return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
    if (sd_event_add_io(cl->loop, &source, fd, events, on_io, cl) < 0)
        return -1;
    curl_multi_assign(cl->multi, fd, source);
    return 0;
}

static int on_timeout_change(_unused_ CURLM *multi, long timeout_ms, void *userdata)
{
    struct curl_loop *cl = userdata;

    if (timeout_ms < 0)
        return sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
    if (sd_event_source_set_time_relative(cl->timer, (uint64_t)timeout_ms * 1000) < 0)
        return -1;
    return sd_event_source_set_enabled(cl->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

static void set_options(struct curl_loop *cl)
{
    curl_multi_setopt(cl->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(cl->multi, CURLMOPT_SOCKETDATA, cl);
    curl_multi_setopt(cl->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
    curl_multi_setopt(cl->multi, CURLMOPT_TIMERDATA, cl);
    curl_multi_setopt(cl->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
}

int curl_loop_new(sd_event *loop, void (*turned)(void *userdata), void *userdata, struct curl_loop **ret,
                  struct gw_error *err)
{
    struct curl_loop *cl = xnew(struct curl_loop);

    cl->loop = sd_event_ref(loop);
    cl->turned = turned;
    cl->userdata = userdata;
    int r = sd_event_add_time_relative(loop, &cl->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, cl);
    if (r < 0 || sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF) < 0 || !(cl->multi = curl_multi_init())) {
        curl_loop_free(cl);
        return gw_error_errno(err, r < 0 ? r : ENOMEM, "HTTP client: cannot join the event loop");
    }
    set_options(cl);
    *ret = cl;
    return 0;
}

struct curl_loop *curl_loop_free(struct curl_loop *cl)
{
    if (!cl)
        return NULL;
    if (cl->multi)
        curl_multi_cleanup(cl->multi);
    sd_event_source_disable_unref(cl->timer);
    sd_event_unref(cl->loop);
    free(cl);
    return NULL;
}

#include "client/curl_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/alloc.h"

/* libcurl counts watches and requests under way among these: above it every answer closes its connection, and the next
 * request begins with a handshake, which costs more than the request itself. */
#define CONNECTIONS_KEPT 256L

/* Sockets looked at in one turn of the loop. */
#define EVENTS_AT_ONCE 64

/* The sockets stand in an epoll set of their own, which is one source of the loop: sd-event asks the kernel for all
 * that is ready before each single source that it serves, which takes quadratic time when many sockets are. */
struct curl_loop {
    sd_event *loop;
    CURLM *multi;
    int epoll_fd;
    sd_event_source *sockets, *timer;
    void (*turned)(void *userdata);
    void *userdata;
};

CURLM *curl_loop_multi(struct curl_loop *cl)
{
    return cl->multi;
}

static int on_sockets(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents, void *userdata)
{
    struct curl_loop *cl = userdata;
    struct epoll_event ready[EVENTS_AT_ONCE];
    int n = epoll_wait(fd, ready, EVENTS_AT_ONCE, 0), running;

    for (int i = 0; i < n; i++) {
        uint32_t e = ready[i].events;
        int flags = (e & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                    (e & EPOLLERR ? CURL_CSELECT_ERR : 0);

        /* One that libcurl has closed for the sake of an earlier one: it knows the number no more, or another socket
         * has it, for which this is a look that finds nothing. */
        curl_multi_socket_action(cl->multi, ready[i].data.fd, flags, &running);
    }
    if (n > 0)
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

/* libcurl says which readiness of a socket it wants to hear of; socketp says whether it is in the set. */
static int on_socket(_unused_ CURL *easy, curl_socket_t fd, int what, void *userdata, void *socketp)
{
    struct curl_loop *cl = userdata;
    struct epoll_event e = {
        .events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0),
        .data.fd = fd,
    };

    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(cl->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        curl_multi_assign(cl->multi, fd, NULL);
        return 0;
    }
    if (epoll_ctl(cl->epoll_fd, socketp ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
        return -1;
    curl_multi_assign(cl->multi, fd, cl);
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

static int add_sources(struct curl_loop *cl)
{
    int r;

    cl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (cl->epoll_fd < 0)
        return -errno;
    r = sd_event_add_io(cl->loop, &cl->sockets, cl->epoll_fd, EPOLLIN, on_sockets, cl);
    /* An accuracy of 1 us: what libcurl wants at once (each new request) would wait for up to a millisecond otherwise.
     */
    r = r < 0 ? r : sd_event_add_time_relative(cl->loop, &cl->timer, CLOCK_MONOTONIC, 0, 1, on_timer, cl);
    return r < 0 ? r : sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF);
}

int curl_loop_new(sd_event *loop, void (*turned)(void *userdata), void *userdata, struct curl_loop **ret,
                  struct gw_error *err)
{
    struct curl_loop *cl = xnew(struct curl_loop);
    int r;

    cl->loop = sd_event_ref(loop);
    cl->turned = turned;
    cl->userdata = userdata;
    r = add_sources(cl);
    if (r < 0 || !(cl->multi = curl_multi_init())) {
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
    sd_event_source_disable_unref(cl->sockets);
    sd_event_source_disable_unref(cl->timer);
    if (cl->epoll_fd >= 0)
        close(cl->epoll_fd);
    sd_event_unref(cl->loop);
    free(cl);
    return NULL;
}

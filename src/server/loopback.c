/* A call is a `trip`. A worker serves it, leaves the answer in it and puts it into the client's mail, which the
 * client's thread reads. A watch stays: whenever its watcher has lines (said on the server's loop) the trip is put into
 * the mail again, and the client's thread takes the lines from the watcher itself.
 *
 * While a worker has a trip nobody else touches it but for `call`, which its client clears when it loses interest; such
 * a trip is freed when it comes back. The client's lock guards mail and the counts. */
#include "server/loopback.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "apiserver/authz.h"
#include "apiserver/watch.h"
#include "base/alloc.h"
#include "client/transport.h"

struct trip {
    struct http_job job;
    struct loopback *from;
    struct api_call *call; /* NULL: nobody waits for it any more */
    char *path;
    const char *method, *content_type; /* static */
    struct blob *body;
    struct api_response response;
    struct watcher *watcher;
    bool at_work; /* the client's thread: not back from its worker yet */
    bool in_mail; /* the lock */
    struct trip *next;
};

struct loopback {
    struct api_client client;
    struct loopback_config config;
    sd_event_source *mail_source;
    int mail_fd; /* eventfd */
    pthread_mutex_t lock;
    pthread_cond_t returned;
    unsigned out; /* trips at work */
    struct trip *mail, **mail_end;
};

static void take_out(struct trip *t)
{
    struct loopback *l = t->from;

    pthread_mutex_lock(&l->lock);
    for (struct trip **at = &l->mail; t->in_mail && *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    for (l->mail_end = &l->mail; *l->mail_end;)
        l->mail_end = &(*l->mail_end)->next;
    pthread_mutex_unlock(&l->lock);
}

/* On the client's thread, when no worker has it. */
static void trip_free(struct trip *t)
{
    watcher_close(t->watcher); /* no news of it from here on */
    take_out(t);
    api_response_done(&t->response);
    blob_unref(t->body);
    free(t->path);
    free(t);
}

/* --- The worker's side --- */

static void put_in_mail(struct trip *t, bool back)
{
    struct loopback *l = t->from;

    pthread_mutex_lock(&l->lock);
    if (!l->mail) /* otherwise its reader has not come to the end yet */
        (void)eventfd_write(l->mail_fd, 1);
    if (!t->in_mail) {
        t->in_mail = true;
        t->next = NULL;
        *l->mail_end = t;
        l->mail_end = &t->next;
    }
    if (back && --l->out == 0)
        pthread_cond_signal(&l->returned);
    pthread_mutex_unlock(&l->lock);
}

static void serve(struct http_job *job)
{
    struct trip *t = CONTAINER_OF(job, struct trip, job);
    const char *const groups[] = {t->from->config.group, GROUP_AUTHENTICATED};
    const struct api_user user = {.name = t->from->config.user, .groups = groups, .n_groups = ARRAY_SIZE(groups)};
    struct api_request request = {
        .method = t->method,
        .target = t->path,
        .accept = "application/json",
        .content_type = t->content_type,
        .user_agent = "godwit-server",
        .body = t->body ? t->body->data : "",
        .body_len = t->body ? t->body->len : 0,
        .user = user,
    };

    front_serve(t->from->config.front, &user, &request, "127.0.0.1", &t->response);
    t->watcher = TAKE_PTR(t->response.watch);
    if (t->watcher) /* the present state comes first, if it was asked for: reading it blocks */
        while (watcher_next(t->watcher, &t->response.body) > 0)
            ;
    put_in_mail(t, true);
}

/* --- The client's side --- */

static void on_lines(void *userdata)
{
    put_in_mail(userdata, false);
}

static void end(struct trip *t, int code, const struct gw_error *err)
{
    struct api_call *call = t->call;

    trip_free(t);
    api_call_end(call, code, err);
}

/* What a callback cancels is gone: then this returns false. */
static bool give(struct trip *t)
{
    struct api_parts parts = t->response.body;
    struct api_call *call = t->call;
    int code = t->response.status;
    bool alive = true;

    t->response.body = (struct api_parts){0};
    for (size_t i = 0; alive && i < parts.len; i++)
        alive = api_call_data(call, code, parts.items[i].blob->data + parts.items[i].offset, parts.items[i].len);
    api_parts_clear(&parts);
    return alive;
}

static void give_lines(struct trip *t)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r;

    do {
        r = watcher_next(t->watcher, &t->response.body);
        if (!give(t))
            return;
    } while (r > 0);
    if (r == -ENODATA)
        end(t, t->response.status, NULL);
    else if (r < 0)
        end(t, 0, (gw_error_set(&err, GW_SERVICE_UNAVAILABLE, "watch %s: cut off, it read too slowly", t->path), &err));
}

/* The first time: the answer, or how a watch begins. */
static void arrive_first(struct trip *t)
{
    t->at_work = false;
    if (!t->call)
        trip_free(t);
    else if (give(t)) {
        if (t->watcher)
            watcher_on_ready(t->watcher, on_lines, t);
        else
            end(t, t->response.status, NULL);
    }
}

static struct trip *take_mail(struct loopback *l)
{
    struct trip *t;

    pthread_mutex_lock(&l->lock);
    t = l->mail;
    if (t) {
        l->mail = t->next;
        if (!l->mail)
            l->mail_end = &l->mail;
        t->in_mail = false;
    }
    pthread_mutex_unlock(&l->lock);
    return t;
}

static int on_mail(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct trip *t;
    eventfd_t n;

    (void)eventfd_read(fd, &n);
    while ((t = take_mail(userdata))) {
        if (t->at_work)
            arrive_first(t);
        else
            give_lines(t);
    }
    return 0;
}

static void start(struct api_client *client, struct api_call *call)
{
    struct loopback *l = CONTAINER_OF(client, struct loopback, client);
    struct trip *t = xnew(struct trip);

    *t = (struct trip){
        .job.run = serve,
        .from = l,
        .call = call,
        .path = xstrdup(call->path),
        .method = call->method,
        .content_type = call->content_type,
        .body = call->body ? blob_ref(call->body) : NULL,
        .at_work = true,
    };
    call->transport = t;
    pthread_mutex_lock(&l->lock);
    l->out++;
    pthread_mutex_unlock(&l->lock);
    http_server_work(l->config.http, l->config.user, &t->job);
}

static void cancel(_unused_ struct api_client *client, struct api_call *call)
{
    struct trip *t = call->transport;

    t->call = NULL;
    if (!t->at_work)
        trip_free(t);
}

/* --- Life --- */

static void client_free(struct api_client *client)
{
    struct loopback *l = CONTAINER_OF(client, struct loopback, client);
    struct trip *t;

    pthread_mutex_lock(&l->lock);
    while (l->out)
        pthread_cond_wait(&l->returned, &l->lock);
    pthread_mutex_unlock(&l->lock);
    while ((t = take_mail(l)))
        trip_free(t);
    sd_event_source_disable_unref(l->mail_source);
    close_p(&l->mail_fd);
    pthread_cond_destroy(&l->returned);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int loopback_client_new(const struct loopback_config *config, sd_event *loop, struct api_client **ret,
                        struct gw_error *err)
{
    static const struct api_client_ops ops = {start, cancel, client_free};
    struct loopback *l = xnew(struct loopback);
    int r;

    l->client.ops = &ops;
    l->config = *config;
    l->mail_end = &l->mail;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->returned, NULL);
    l->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = l->mail_fd < 0 ? -errno : sd_event_add_io(loop, &l->mail_source, l->mail_fd, EPOLLIN, on_mail, l);
    if (r < 0) {
        client_free(&l->client);
        return gw_error_errno(err, r, "controllers: no way to the server");
    }
    *ret = &l->client;
    return 0;
}

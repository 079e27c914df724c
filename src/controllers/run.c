/* Controllers in a thread of their own. Everything inside runs on the thread's loop; the only thing that comes from
 * outside is one write to an eventfd, which ends the loop. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/random.h"
#include "client/lease.h"
#include "controllers/controller.h"

#define LEASE_NS "kube-system"
#define LEASE_S 15
#define GIVE_UP_MS 200

struct controllers_thread {
    pthread_t thread;
    int stop_fd;
    const struct controller *const *table;
    sd_event *loop;
    struct api_client *client;
    struct env *env;
    char *lease_name;
    struct lease *lease;
    struct controllers *controllers; /* NULL while somebody else leads */
};

static void on_leading(void *userdata, bool leading)
{
    struct controllers_thread *t = userdata;

    log_info("controllers: %s", leading ? "this process leads" : "another process leads");
    if (leading && !t->controllers)
        t->controllers = controllers_start(t->env, t->table);
    else if (!leading)
        t->controllers = controllers_stop(t->controllers);
}

static void leave(void *userdata)
{
    sd_event_exit(((struct controllers_thread *)userdata)->loop, 0);
}

/* A lease that is held is given up first, and its write gets a moment to go out. */
static int on_stop(sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata)
{
    struct controllers_thread *t = userdata;
    bool leading = t->lease && lease_leading(t->lease);

    t->controllers = controllers_stop(t->controllers);
    t->lease = lease_stop(t->lease);
    (void)env_timer(t->env, leading ? GIVE_UP_MS : 0, leave, t);
    return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static void *run(void *userdata)
{
    struct controllers_thread *t = userdata;
    char identity[UUID_TEXT];

    if (t->lease_name) {
        const struct lease_config cfg = {LEASE_NS, t->lease_name, random_uuid(identity), LEASE_S};
        t->lease = lease_start(t->env, &cfg, on_leading, t);
    } else {
        t->controllers = controllers_start(t->env, t->table);
    }
    int r = sd_event_loop(t->loop);
    if (r < 0)
        log_error("controllers: the event loop failed: %d", r);
    t->controllers = controllers_stop(t->controllers);
    t->lease = lease_stop(t->lease);
    return NULL;
}

static struct controllers_thread *thread_free(struct controllers_thread *t)
{
    api_client_free(t->client);
    env_sd_free(t->env);
    sd_event_unref(t->loop);
    close_p(&t->stop_fd);
    free(t->lease_name);
    free(t);
    return NULL;
}

static int prepare(struct controllers_thread *t, controllers_connect_fn *connect, void *data, struct gw_error *err)
{
    int r = sd_event_new(&t->loop);

    t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r < 0 || t->stop_fd < 0)
        return gw_error_errno(err, r < 0 ? r : errno, "controllers: no event loop");
    r = sd_event_add_io(t->loop, NULL, t->stop_fd, EPOLLIN, on_stop, t);
    if (r < 0)
        return gw_error_errno(err, r, "controllers: no event loop");
    r = connect(data, t->loop, &t->client, err);
    if (r >= 0)
        t->env = env_sd_new(t->loop, t->client);
    return r;
}

/* All signals are the main thread's. */
static int start_thread(struct controllers_thread *t)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int controllers_run(controllers_connect_fn *connect, void *data, const char *lease_name,
                    const struct controller *const *table, struct controllers_thread **ret, struct gw_error *err)
{
    struct controllers_thread *t = xnew(struct controllers_thread);

    t->stop_fd = -1;
    t->table = table;
    t->lease_name = xstrdup(lease_name);
    int r = prepare(t, connect, data, err);
    if (r >= 0 && (r = start_thread(t)) < 0)
        gw_error_errno(err, r, "controllers: no thread");
    if (r < 0) {
        thread_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

struct controllers_thread *controllers_join(struct controllers_thread *t)
{
    if (!t)
        return NULL;
    (void)eventfd_write(t->stop_fd, 1);
    pthread_join(t->thread, NULL);
    return thread_free(t);
}

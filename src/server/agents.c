#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/agents_internal.h"

#define UNDER_WAY_MAX 6
#define LIFETIME_S (7 * 86400)
#define LIVES 7                            /* it is renewed so many times within its life: daily */
#define OWN_NAME "system:godwit:apiserver" /* agent/endpoint/endpoint.h admits it */

/* --- Our certificate --- */

void agent_identity_done(struct agent_identity *i)
{
    free(i->cert);
    pki_free_key(i->key);
}

static int renew(struct agents *a, const struct pki_authority_state *authority, struct gw_error *err)
{
    const struct pki_subject subject = {.cn = OWN_NAME};
    char *cert, *key;
    int r = pki_issue_with_key(authority->issuer, &subject, PKI_CLIENT, a->life_s, &cert, &key, err);

    if (r < 0)
        return r;
    free(a->cert);
    pki_free_key(a->key);
    a->cert = cert;
    a->key = key;
    a->made_ms = clock_wall_ms();
    a->made_by = authority->number;
    return 0;
}

int agents_identity(struct agents *a, struct agent_identity *ret, struct gw_error *err)
{
    const struct pki_authority_state *authority = pki_authority_now(a->authority);
    int64_t age;
    int r = 0;

    pthread_mutex_lock(&a->lock);
    age = clock_wall_ms() - a->made_ms;
    if (!a->cert || age > a->life_s * 1000 / LIVES || age < 0 || a->made_by != authority->number)
        r = renew(a, authority, err);
    if (r == 0)
        *ret = (struct agent_identity){xstrdup(a->cert), xstrdup(a->key)};
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* --- How many wait --- */

/* One more, unless there are max. */
static int count(struct agents *a, unsigned *n, unsigned max, const char *whom, struct gw_error *err)
{
    bool full;

    pthread_mutex_lock(&a->lock);
    full = *n >= max;
    *n += !full;
    pthread_mutex_unlock(&a->lock);
    if (!full)
        return 0;
    if (err)
        err->retry_after_s = 1;
    return gw_error_set(err, GW_TOO_MANY_REQUESTS, "%u requests wait for %s already, please try again later", max,
                        whom);
}

int agents_enter(struct agents *a, struct gw_error *err)
{
    return count(a, &a->under_way, UNDER_WAY_MAX, "agents", err);
}

int agents_be_patient(struct agents *a, struct gw_error *err)
{
    return count(a, &a->patient, UNDER_WAY_MAX / 2, "guests", err);
}

void agents_heard(struct agents *a)
{
    pthread_mutex_lock(&a->lock);
    a->patient--;
    pthread_mutex_unlock(&a->lock);
}

void agents_leave(struct agents *a)
{
    pthread_mutex_lock(&a->lock);
    a->under_way--;
    pthread_mutex_unlock(&a->lock);
}

/* --- To the loop --- */

void agents_post(struct agents *a, void (*fn)(void *data), void *data)
{
    pthread_mutex_lock(&a->lock);
    task_vec_push(&a->posted, (struct agents_task){fn, data});
    pthread_mutex_unlock(&a->lock);
    (void)eventfd_write(a->wake, 1);
}

static void run_posted(struct agents *a)
{
    struct task_vec tasks;

    pthread_mutex_lock(&a->lock);
    tasks = a->posted;
    a->posted = (struct task_vec){0};
    pthread_mutex_unlock(&a->lock);
    VEC_EACH(&tasks, t)
        t->fn(t->data);
    task_vec_done(&tasks);
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    eventfd_t n;

    (void)eventfd_read(fd, &n);
    run_posted(userdata);
    return 0;
}

sd_event *agents_loop(struct agents *a)
{
    return a->loop;
}

/* --- Life --- */

int agents_new(const struct pki_authority *authority, int64_t longest_s, sd_event *loop, struct agents **ret,
               struct gw_error *err)
{
    struct agents *a = xnew(struct agents);
    int r;

    a->authority = authority;
    a->life_s = pki_life(longest_s, LIFETIME_S);
    a->loop = loop;
    pthread_mutex_init(&a->lock, NULL);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = sd_event_add_io(loop, &a->source, a->wake, EPOLLIN, on_wake, a);
    if (r < 0) {
        agents_free(a);
        return gw_error_errno(err, r, "cannot add to the event loop");
    }
    *ret = a;
    return 0;
}

struct agents *agents_free(struct agents *a)
{
    if (!a)
        return NULL;
    run_posted(a);
    task_vec_done(&a->posted);
    sd_event_source_disable_unref(a->source);
    if (a->wake >= 0)
        close(a->wake);
    free(a->cert);
    pki_free_key(a->key);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

/* What other threads leave for the loop: answers, and streams that have something to say. */
#include <sys/eventfd.h>

#include "http/http_internal.h"

void server_wake(struct http_server *s)
{
    (void)eventfd_write(s->wake_fd, 1);
}

/* With post_lock held, after something was put in. */
static void tell_post(struct http_server *s)
{
    if (!s->post_told)
        server_wake(s);
    s->post_told = true;
}

void server_post(struct http_server *s, struct http_request *r)
{
    pthread_mutex_lock(&s->post_lock);
    r->next = NULL;
    *s->posted_end = r;
    s->posted_end = &r->next;
    tell_post(s);
    pthread_mutex_unlock(&s->post_lock);
}

void server_kick(struct http_server *s, struct http_stream *st)
{
    pthread_mutex_lock(&s->post_lock);
    st->next_kicked = NULL;
    *s->kicked_end = st;
    s->kicked_end = &st->next_kicked;
    tell_post(s);
    pthread_mutex_unlock(&s->post_lock);
}

struct http_request *post_take_answers(struct http_server *s)
{
    struct http_request *r;

    pthread_mutex_lock(&s->post_lock);
    s->post_told = false;
    r = s->posted;
    s->posted = NULL;
    s->posted_end = &s->posted;
    pthread_mutex_unlock(&s->post_lock);
    return r;
}

struct http_stream *post_take_kicked(struct http_server *s)
{
    struct http_stream *st;

    pthread_mutex_lock(&s->post_lock);
    st = s->kicked;
    if (st && !(s->kicked = st->next_kicked))
        s->kicked_end = &s->kicked;
    pthread_mutex_unlock(&s->post_lock);
    return st;
}

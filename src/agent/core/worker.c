#include "agent/core/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

struct job {
    void (*work)(void *userdata);
    void (*done)(void *userdata);
    void *userdata;
    pthread_t thread;
    int wake;
    sd_event_source *source;
};

static void *run(void *userdata)
{
    struct job *j = userdata;

    j->work(j->userdata);
    (void)eventfd_write(j->wake, 1);
    return NULL;
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
    struct job *j = userdata;
    void (*done)(void *) = j->done;
    void *data = j->userdata;

    pthread_join(j->thread, NULL);
    sd_event_source_disable_unref(j->source);
    close(j->wake);
    free(j);
    done(data);
    return 0;
}

struct job *job_start(sd_event *loop, void (*work)(void *userdata), void (*done)(void *userdata), void *userdata)
{
    struct job *j = xnew(struct job);
    sigset_t all, before;

    j->work = work;
    j->done = done;
    j->userdata = userdata;
    j->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->wake < 0 || sd_event_add_io(loop, &j->source, j->wake, EPOLLIN, on_done, j) < 0) {
        close_p(&j->wake);
        free(j);
        return NULL;
    }
    sigfillset(&all); /* signals are for the loop's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&j->thread, NULL, run, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        return j;
    sd_event_source_disable_unref(j->source);
    close(j->wake);
    free(j);
    return NULL;
}

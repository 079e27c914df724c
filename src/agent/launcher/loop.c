#include "agent/launcher/loop.h"

static int find(const struct loop *l, int fd)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->fds[i].fd == fd)
            return (int)i;
    return -1;
}

bool loop_add(struct loop *l, int fd, short events, loop_fn fn, void *userdata)
{
    if (l->n == LOOP_MAX)
        return false;
    l->fds[l->n] = (struct pollfd){.fd = fd, .events = events};
    l->fns[l->n] = fn;
    l->userdata[l->n++] = userdata;
    return true;
}

void loop_events(struct loop *l, int fd, short events)
{
    int i = find(l, fd);

    if (i >= 0)
        l->fds[i].events = events;
}

void loop_remove(struct loop *l, int fd)
{
    int i = find(l, fd);

    if (i < 0)
        return;
    l->n--;
    l->fds[i] = l->fds[l->n];
    l->fns[i] = l->fns[l->n];
    l->userdata[i] = l->userdata[l->n];
}

/* One event per call of poll: a callback may have added and removed descriptors, so that the array is looked at anew.
 * The search goes round from where it ended, for no descriptor to starve the others. */
void loop_run(struct loop *l)
{
    unsigned next = 0;

    while (!l->quit) {
        if (poll(l->fds, l->n, -1) <= 0)
            continue;
        for (unsigned tried = 0; tried < l->n; tried++) {
            unsigned i = (next + tried) % l->n;
            if (!l->fds[i].revents)
                continue;
            next = i + 1;
            l->fns[i](l->userdata[i], l->fds[i].fd, l->fds[i].revents);
            break;
        }
    }
}

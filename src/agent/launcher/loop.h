/* The launcher's event loop: poll over a handful of descriptors. Small on purpose: one launcher runs per VM, and each
 * of its pages counts that often. */
#pragma once

#include <poll.h>
#include <stdbool.h>

#define LOOP_MAX 48

/* revents as poll() has them. */
typedef void (*loop_fn)(void *userdata, int fd, short revents);

struct loop {
    struct pollfd fds[LOOP_MAX];
    loop_fn fns[LOOP_MAX];
    void *userdata[LOOP_MAX];
    unsigned n;
    bool quit;
};

/* Calls fn when fd has one of the events. The descriptor stays the caller's. False when the loop is full. */
bool loop_add(struct loop *l, int fd, short events, loop_fn fn, void *userdata);
void loop_events(struct loop *l, int fd, short events);
void loop_remove(struct loop *l, int fd);

/* Runs until l->quit. */
void loop_run(struct loop *l);

#include "concurrent.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

#define SAMPLES_MAX 200000

struct worker {
    pthread_t thread;
    unsigned number;
    void (*op)(void *data, unsigned thread, unsigned n);
    void *data;
    int64_t until_ns;
    unsigned *latency_us;
    unsigned n;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (int64_t begin = now_ns(); begin < w->until_ns && w->n < SAMPLES_MAX;) {
        w->op(w->data, w->number, w->n);

        int64_t end = now_ns();

        w->latency_us[w->n++] = (unsigned)((end - begin) / 1000);
        begin = end;
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return (x > y) - (x < y);
}

/* All latencies in order; the workers' own are freed. */
static unsigned *gather(struct worker *w, unsigned threads, size_t total)
{
    unsigned *all = xnew_n(unsigned, total + 1);
    size_t at = 0;

    for (unsigned i = 0; i < threads; i++) {
        memcpy(all + at, w[i].latency_us, w[i].n * sizeof(*all));
        at += w[i].n;
        free(w[i].latency_us);
    }
    qsort(all, total, sizeof(*all), by_value);
    return all;
}

void measure(const char *what, unsigned threads, double seconds, void (*op)(void *data, unsigned thread, unsigned n),
             void *data)
{
    struct worker *w = xnew_n(struct worker, threads);
    int64_t begin = now_ns();
    size_t total = 0;

    for (unsigned i = 0; i < threads; i++) {
        w[i] = (struct worker){.number = i, .op = op, .data = data, .until_ns = begin + (int64_t)(seconds * 1e9)};
        w[i].latency_us = xnew_n(unsigned, SAMPLES_MAX);
        if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(w[i].thread, NULL);
        total += w[i].n;
    }

    double took = (double)(now_ns() - begin) / 1e9;
    unsigned *all = gather(w, threads, total);

    printf("%-24s %3u at once: %8.0f/s, p50 %6.2f ms, p99 %6.2f ms\n", what, threads, (double)total / took,
           all[total / 2] / 1000.0, all[total * 99 / 100] / 1000.0);
    free(all);
    free(w);
}

/* Durable writes per second and their latency, by number of concurrent writers: bench-store FOLDER [SECONDS]. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "store/store.h"

#define SAMPLES_MAX 200000
#define VALUE_BYTES 4096 /* about a VirtualMachineInstance */

struct writer {
    pthread_t thread;
    struct store *store;
    unsigned number;
    int64_t until_ns;
    unsigned *latency_us;
    size_t n;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *write_objects(void *arg)
{
    struct writer *w = arg;
    char key[96];

    for (int64_t begin = now_ns(); begin < w->until_ns && w->n < SAMPLES_MAX;) {
        struct blob *value = blob_new(NULL, VALUE_BYTES);

        memset(value->data, 'x', VALUE_BYTES);
        snprintf(key, sizeof(key), "/registry/kubevirt.io/virtualmachineinstances/default/vm-%u-%zu", w->number, w->n % 100);
        if (store_put(w->store, key, value, STORE_ANY, NULL, NULL) < 0)
            abort();
        blob_unref(value);

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

static void measure(struct store *s, unsigned n_writers, double seconds)
{
    struct writer *w = xnew_n(struct writer, n_writers);
    int64_t begin = now_ns();
    size_t total = 0;

    for (unsigned i = 0; i < n_writers; i++) {
        w[i] = (struct writer){.store = s, .number = i, .until_ns = begin + (int64_t)(seconds * 1e9)};
        w[i].latency_us = xnew_n(unsigned, SAMPLES_MAX);
        if (pthread_create(&w[i].thread, NULL, write_objects, &w[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < n_writers; i++) {
        pthread_join(w[i].thread, NULL);
        total += w[i].n;
    }

    double took = (double)(now_ns() - begin) / 1e9;
    unsigned *all = xnew_n(unsigned, total + 1);
    size_t at = 0;

    for (unsigned i = 0; i < n_writers; i++) {
        memcpy(all + at, w[i].latency_us, w[i].n * sizeof(*all));
        at += w[i].n;
        free(w[i].latency_us);
    }
    qsort(all, total, sizeof(*all), by_value);
    printf("%3u writers: %8.0f durable writes/s, p50 %6.2f ms, p99 %6.2f ms\n", n_writers, (double)total / took,
           all[total / 2] / 1000.0, all[total * 99 / 100] / 1000.0);
    free(all);
    free(w);
}

int main(int argc, char **argv)
{
    static const unsigned writers[] = {1, 16, 64};
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    struct gw_error err = GW_ERROR_INIT;

    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(writers); i++) {
        char *path = xasprintf("%s/bench-%u.db", argv[1], writers[i]);
        struct store *s;

        if (store_open_sqlite(path, &s, &err) < 0) {
            fprintf(stderr, "%s\n", gw_error_message(&err));
            return 1;
        }
        measure(s, writers[i], seconds);
        store_close(s);
        free(path);
    }
    return argc > 1 ? 0 : 2;
}

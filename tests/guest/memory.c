/* Memory that can be told wrong after a migration.
 *
 * Each page of the region carries its number, its generation and a pattern of both; a second array holds the generation
 * that each page should have. A page that was lost, swapped with another, or arrived in an older state is seen by
 * comparing the two. Should a page and its entry in the array both be stale, their sum no longer gives the number of
 * writes, which lives elsewhere. */
#include "agent.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../probe/pattern.h"

#define PAGE 4096
#define WORDS (PAGE / 8)
#define PAGES_PER_MIB 256
#define QUANTUM_MS 10
#define RESERVE_KIB 16384 /* left to the kernel and the other services */

static struct {
    pthread_mutex_t lock;
    uint64_t *words;
    uint32_t *generation; /* of each page, as it should be */
    size_t pages;
    size_t next;          /* the page written next */
    size_t hot;           /* pages that the writer goes round */
    uint64_t writes;      /* since the region was made */
    unsigned rate;        /* MiB per second, 0 = no writer */
    bool writer;
} region = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void write_page(size_t page)
{
    region.generation[page]++;
    pattern_fill(region.words + page * WORDS, WORDS, page, region.generation[page]);
    region.writes++;
}

static void release(void)
{
    if (region.words)
        munmap(region.words, region.pages * PAGE);
    free(region.generation);
    region.words = NULL;
    region.generation = NULL;
    region.pages = region.next = region.hot = region.writes = region.rate = 0;
}

static int acquire(size_t pages)
{
    void *words = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (words == MAP_FAILED)
        return -1;
    region.words = words;
    region.generation = calloc(pages, sizeof(*region.generation));
    region.pages = region.hot = pages;
    for (size_t page = 0; page < pages; page++)
        write_page(page);
    return 0;
}

/* Pages that can be taken without waking the kernel's killer. */
static size_t available(void)
{
    unsigned long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %lu kB", &kib) != 1)
        ;
    if (f)
        fclose(f);
    return kib > RESERVE_KIB ? (kib - RESERVE_KIB) / 4 : 0;
}

void memory_init(char **args, FILE *answer)
{
    pthread_mutex_lock(&region.lock);
    release();
    size_t most = available();
    size_t pages = strcmp(args[0], "all") == 0 ? most : strtoul(args[0], NULL, 10) * PAGES_PER_MIB;
    if (pages == 0 || pages > most || acquire(pages) < 0)
        fprintf(answer, "error no such amount of memory, there are %zu MiB", most / PAGES_PER_MIB);
    else
        fprintf(answer, "ok pages=%zu", pages);
    pthread_mutex_unlock(&region.lock);
}

/* What is due in one quantum; the remainder is carried over. A quantum that comes late is not made up for. */
static void write_quantum(unsigned *remainder)
{
    unsigned due = region.rate * PAGES_PER_MIB * QUANTUM_MS + *remainder;

    *remainder = due % 1000;
    for (unsigned n = due / 1000; n > 0; n--) {
        write_page(region.next);
        region.next = (region.next + 1) % region.hot;
    }
}

static void *write_steadily(void *arg)
{
    unsigned remainder = 0;

    for (;;) {
        struct timespec quantum = {.tv_nsec = QUANTUM_MS * 1000000L}, begin, now;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        pthread_mutex_lock(&region.lock);
        if (region.hot > 0)
            write_quantum(&remainder);
        pthread_mutex_unlock(&region.lock);
        clock_gettime(CLOCK_MONOTONIC, &now);
        long spent = (now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec;
        quantum.tv_nsec -= spent < quantum.tv_nsec ? spent : quantum.tv_nsec;
        nanosleep(&quantum, NULL);
    }
    return NULL;
}

void memory_dirty(char **args, FILE *answer)
{
    size_t hot = args[1] ? strtoul(args[1], NULL, 10) * PAGES_PER_MIB : 0;

    pthread_mutex_lock(&region.lock);
    if (region.pages == 0) {
        fputs("error memory-init first", answer);
    } else {
        region.rate = (unsigned)strtoul(args[0], NULL, 10);
        region.hot = hot > 0 && hot < region.pages ? hot : region.pages;
        region.next = 0;
        if (!region.writer)
            spawn(write_steadily, NULL);
        region.writer = true;
        fprintf(answer, "ok rate=%u hot_pages=%zu", region.rate, region.hot);
    }
    pthread_mutex_unlock(&region.lock);
}

void memory_verify(char **args, FILE *answer)
{
    size_t bad = 0, first = 0;
    uint64_t sum = 0;

    pthread_mutex_lock(&region.lock);
    for (size_t page = 0; page < region.pages; page++) {
        sum += region.generation[page];
        if (pattern_matches(region.words + page * WORDS, WORDS, page, region.generation[page]))
            continue;
        first = bad++ == 0 ? page : first;
    }
    if (bad > 0)
        fprintf(answer, "error bad=%zu of pages=%zu; page %zu at generation %u reads %llu, %llu", bad, region.pages, first,
                region.generation[first], (unsigned long long)region.words[first * WORDS],
                (unsigned long long)region.words[first * WORDS + 1]);
    else if (sum != region.writes)
        fprintf(answer, "error generations add up to %llu after writes=%llu", (unsigned long long)sum,
                (unsigned long long)region.writes);
    else
        fprintf(answer, "ok pages=%zu writes=%llu bad=0", region.pages, (unsigned long long)region.writes);
    pthread_mutex_unlock(&region.lock);
}

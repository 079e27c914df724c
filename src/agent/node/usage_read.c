#include "agent/node/usage_read.h"

#include <stdio.h>
#include <string.h>

/* Time of guests is counted in user and nice already. */
bool usage_host_cpu(const char *stat, uint64_t *ret_ticks)
{
    unsigned long long user, nice, system, irq, softirq, steal;

    if (sscanf(stat, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq, &softirq, &steal) != 6)
        return false;
    *ret_ticks = user + nice + system + irq + softirq + steal;
    return true;
}

static bool read_kib(const char *text, const char *name, int64_t *ret)
{
    const char *at = strstr(text, name);
    long long kib;

    if (!at || sscanf(at + strlen(name), "%lld kB", &kib) != 1)
        return false;
    *ret = kib;
    return true;
}

bool usage_host_memory(const char *meminfo, int64_t *ret_bytes)
{
    int64_t total, available;

    if (!read_kib(meminfo, "MemTotal:", &total) || !read_kib(meminfo, "MemAvailable:", &available))
        return false;
    *ret_bytes = (total - available) * 1024;
    return true;
}

/* Fields 14, 15, 22 and 24; the name in parentheses before them may hold anything. */
bool usage_process(const char *stat, struct process_usage *ret)
{
    const char *after = strrchr(stat, ')');
    unsigned long long user, system, start, pages;

    if (!after || sscanf(after + 1,
                         " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %*u %llu",
                         &user, &system, &start, &pages) != 4)
        return false;
    *ret = (struct process_usage){.ticks = user + system, .start = start, .pages = pages};
    return true;
}

int64_t usage_rate(uint64_t before, uint64_t after, int64_t elapsed_ns, long hz)
{
    if (elapsed_ns <= 0 || after <= before)
        return 0;
    return (int64_t)((__int128)(after - before) * 1000000000 * 1000000000 / hz / elapsed_ns);
}

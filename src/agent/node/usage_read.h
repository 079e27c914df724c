/* What /proc says of the use of CPU and memory (proc_stat(5), proc_meminfo(5), proc_pid_stat(5)). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The CPU time of all CPUs that was not idle, in clock ticks; from the text of /proc/stat. */
bool usage_host_cpu(const char *stat, uint64_t *ret_ticks);
/* Bytes that are not available to new work; from the text of /proc/meminfo. */
bool usage_host_memory(const char *meminfo, int64_t *ret_bytes);

struct process_usage {
    uint64_t ticks; /* CPU time so far, of all threads */
    uint64_t start; /* ticks since boot; tells the process from a later one with its pid */
    uint64_t pages; /* resident */
};
/* From the text of /proc/PID/stat. */
bool usage_process(const char *stat, struct process_usage *ret);

/* Billionths of a CPU between two readings: ticks of 1/hz s in elapsed_ns. */
int64_t usage_rate(uint64_t before, uint64_t after, int64_t elapsed_ns, long hz);

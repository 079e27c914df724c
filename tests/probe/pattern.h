/* Bytes that can be told wrong: a block filled from two numbers matches only if both numbers and every byte are right.
 * Shared by the guest's agent and the probe, so that each side can check what the other wrote. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint64_t pattern_seed(uint64_t a, uint64_t b)
{
    uint64_t x = (a + 1) * 0x9e3779b97f4a7c15ULL ^ (b + 1) * 0xc2b2ae3d27d4eb4fULL;

    x ^= x >> 31;
    return x | 1;
}

/* Fills n words; the first two are the numbers themselves, for whoever has to find out what a wrong block is. */
static inline void pattern_fill(uint64_t *words, size_t n, uint64_t a, uint64_t b)
{
    uint64_t x = pattern_seed(a, b);

    words[0] = a;
    words[1] = b;
    for (size_t i = 2; i < n; i++)
        words[i] = x += 0x9e3779b97f4a7c15ULL;
}

static inline bool pattern_matches(const uint64_t *words, size_t n, uint64_t a, uint64_t b)
{
    uint64_t x = pattern_seed(a, b);

    if (words[0] != a || words[1] != b)
        return false;
    for (size_t i = 2; i < n; i++)
        if (words[i] != (x += 0x9e3779b97f4a7c15ULL))
            return false;
    return true;
}

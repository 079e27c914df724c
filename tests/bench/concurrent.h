/* Runs one operation in many threads for a while, and prints how often per second and how long it took. */
#pragma once

/* op(data, thread, n) is the thread's nth call; it must not fail. */
void measure(const char *what, unsigned threads, double seconds, void (*op)(void *data, unsigned thread, unsigned n),
             void *data);

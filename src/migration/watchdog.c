#include "migration/watchdog.h"

#include <stddef.h>

#define GIB (1LL << 30)

int64_t watchdog_budget_ms(int64_t completion_timeout_per_gib_s, int64_t bytes)
{
    return completion_timeout_per_gib_s * ((bytes + GIB - 1) / GIB) * 1000;
}

void watchdog_start(struct watchdog *w, int64_t now_ms)
{
    w->start_ms = now_ms;
    w->moved_ms = now_ms;
    w->transferred = 0;
}

const char *watchdog_check(struct watchdog *w, int64_t now_ms, int64_t transferred)
{
    if (transferred > w->transferred) {
        w->transferred = transferred;
        w->moved_ms = now_ms;
    }
    if (w->progress_timeout_ms && now_ms - w->moved_ms >= w->progress_timeout_ms)
        return "no data reached the target for the time that progressTimeout allows";
    if (w->completion_timeout_ms && now_ms - w->start_ms >= w->completion_timeout_ms)
        return "the migration did not complete in the time that completionTimeoutPerGiB allows";
    return NULL;
}

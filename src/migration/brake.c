#include "migration/brake.h"

#include "base/cleanup.h"

#define WINDOW_MS 1000
/* QEMU's mirror naps up to 100 ms when it has nothing to do (block/mirror.c, BLOCK_JOB_SLICE_TIME): so much lag is
 * normal, and this leaves room above it. */
#define TOLERATED_MS 250
#define TOLERATED_BYTES (1 << 20)
/* A guest that may write this much lives on, if slowly; a link that can't carry it is the watchdog's to judge. */
#define LOWEST_LIMIT (64 << 10)

static bool is_behind(int64_t lag, int64_t rate)
{
    return lag > MAX((int64_t)TOLERATED_BYTES, rate * TOLERATED_MS / 1000);
}

void brake_update(struct brake *b, int64_t now_ms, int64_t lag, int64_t sent)
{
    int64_t elapsed = now_ms - b->since_ms;

    if (b->since_ms && elapsed < WINDOW_MS)
        return;
    if (b->since_ms) {
        int64_t rate = (sent - b->sent) * 1000 / elapsed;
        bool grows = b->behind && lag > b->lag - b->lag / 10;
        b->behind = is_behind(lag, rate);
        if (b->behind && grows && rate > 0) /* nothing sent at all is a matter of the link, not of the guest */
            b->limit = MAX((b->limit ? MIN(b->limit, rate) : rate) / 2, (int64_t)LOWEST_LIMIT);
    } else {
        b->behind = lag > TOLERATED_BYTES;
    }
    b->since_ms = now_ms;
    b->lag = lag;
    b->sent = sent;
}

/* Slows down the guest's disk writes when the mirrors can't keep up with them, so that little is left to send while the
 * guest stands still at the switch-over. Pure: samples go in, a limit comes out
 * (docs/decisions/0006-background-mirror.md).
 *
 * The limit is only ever lowered: what would be given back in the middle of a copy might be missing at its end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct brake {
    int64_t limit; /* bytes per second that the guest may write, all copied disks together; 0: as it likes */
    bool behind;   /* what is left would take too long: this is no moment for a switch-over */
    /* The window that is being measured: its beginning, and lag and bytes sent then */
    int64_t since_ms, lag, sent;
};

/* Takes in a sample of mirrors that were in step once; b starts zeroed. lag: bytes that the target still lacks;
 * sent: bytes copied so far. */
void brake_update(struct brake *b, int64_t now_ms, int64_t lag, int64_t sent);

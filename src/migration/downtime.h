/* How long the guest may stand still at the switch-over, as QEMU is told (downtime-limit): it stops the guest when what
 * is left can be sent in that time. Little at first, because most guests get there in a round or two more and then stop
 * for much less than QEMU's usual 300 ms; more with every round that did not get there. */
#pragma once

#include <stdint.h>

/* Milliseconds for the round (dirty-sync-count; 0 before the first). */
int64_t downtime_limit_ms(int64_t iteration);

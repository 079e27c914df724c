#include "migration/downtime.h"

#include "base/cleanup.h"

int64_t downtime_limit_ms(int64_t iteration)
{
    /* The last is QEMU's default, which KubeVirt keeps. */
    static const int64_t by_round[] = {5, 5, 5, 10, 20, 30, 60, 60, 120, 120, 200, 300};

    return by_round[MIN(MAX(iteration, (int64_t)0), (int64_t)ARRAY_SIZE(by_round) - 1)];
}

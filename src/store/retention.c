#include <string.h>

#include "store/store.h"

/* The newest sample of at least keep_ms ago tells how far changes are old enough; 0 when none is. */
static int64_t old_enough(const struct store_retention *r, int64_t now_ms)
{
    int64_t revision = 0;

    for (size_t i = 0; i < r->n_samples; i++)
        if (now_ms - r->samples[i].at_ms >= r->keep_ms)
            revision = r->samples[i].revision;
    return revision;
}

static void forget_first(struct store_retention *r)
{
    r->n_samples--;
    memmove(r->samples, r->samples + 1, r->n_samples * sizeof(r->samples[0]));
}

int64_t store_retention_note(struct store_retention *r, int64_t now_ms, int64_t revision)
{
    int64_t apart = r->keep_ms / (STORE_RETENTION_SAMPLES - 2);

    if (r->n_samples == 0 || now_ms - r->samples[r->n_samples - 1].at_ms >= apart) {
        if (r->n_samples == STORE_RETENTION_SAMPLES)
            forget_first(r);
        r->samples[r->n_samples].at_ms = now_ms;
        r->samples[r->n_samples++].revision = revision;
    }

    int64_t target = MIN(old_enough(r, now_ms), revision - r->keep_changes);

    return MAX(target, 0);
}

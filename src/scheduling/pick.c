#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "scheduling/query.h"

/* Counts each line of text in reasons. */
static void count_reasons(struct map *reasons, const char *text)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        _cleanup_free_ char *line = xstrndup(text, (size_t)(end - text));
        map_put(reasons, line, (void *)((intptr_t)map_get(reasons, line) + 1));
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "0/3 nodes are available: 1 Insufficient memory, 2 node(s) were unschedulable." */
static void explain(const struct sched_state *s, const struct map *reasons, struct str *why)
{
    char **lines = xnew_n(char *, map_len(reasons) + 1);
    const char *reason;
    size_t n = 0;
    void *count;

    for (size_t at = 0; map_next(reasons, &at, &reason, &count);)
        lines[n++] = xasprintf("%d %s", (int)(intptr_t)count, reason);
    qsort(lines, n, sizeof(*lines), by_text);
    str_printf(why, "0/%zu nodes are available: ", s->nodes.len);
    for (size_t i = 0; i < n; i++) {
        str_printf(why, "%s%s", i ? ", " : "", lines[i]);
        free(lines[i]);
    }
    str_puts(why, ".");
    free(lines);
}

static ssize_t pick(const struct query *q, uint64_t random, struct map *reasons)
{
    const struct sched_state *s = q->state;
    ssize_t best = -1;
    int64_t best_score = 0;

    /* Begins anywhere, so that equals share the load. */
    for (size_t i = 0; i < s->nodes.len; i++) {
        size_t at = (i + random % s->nodes.len) % s->nodes.len;
        _cleanup_str_ struct str why = {0};
        if (!filters_pass(q, &s->nodes.items[at], &why)) {
            count_reasons(reasons, str_text(&why));
            continue;
        }
        int64_t score = scores_total(q, &s->nodes.items[at]);
        if (best < 0 || score > best_score) {
            best = (ssize_t)at;
            best_score = score;
        }
    }
    return best;
}

ssize_t sched_pick(const struct sched_state *s, const struct sched_request *req, uint64_t random, struct str *why)
{
    _cleanup_(map_freep) struct map *reasons = map_new(NULL);
    _cleanup_query_ struct query q;

    query_init(&q, s, req);
    if (req->blocked)
        str_printf(why, "0/%zu nodes are available: %s.", s->nodes.len, req->blocked);
    if (req->blocked)
        return -1;
    if (s->nodes.len == 0) {
        str_puts(why, "no nodes available to schedule pods");
        return -1;
    }
    ssize_t best = pick(&q, random, reasons);
    if (best < 0)
        explain(s, reasons, why);
    return best;
}

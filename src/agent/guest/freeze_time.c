/* When frozen file systems are to be thawed: in memory, in the pod's note and in the VMI. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/guest_status.h"
#include "agent/guest/talk.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

static char *note_path(const struct pod *p)
{
    return xasprintf("%s/freeze.json", p->dir);
}

static int write_note(const struct pod *p, int64_t wall_ms, struct gw_error *err)
{
    _cleanup_free_ char *path = note_path(p);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    if (!wall_ms)
        return unlink(path) < 0 && errno != ENOENT ? gw_error_errno(err, errno, "%s", path) : 0;
    json_set_int(d, "/unfreezeMs", wall_ms);
    return json_save(path, d, 0600, err);
}

static void set_time(struct talk *t, int64_t wall_ms)
{
    char text[CLOCK_TEXT_MAX];

    if (!wall_ms)
        t->unfrozen_ms = t->unfreeze_ms;
    t->unfreeze_ms = wall_ms;
    t->unfreeze_again_ms = 0;
    if (wall_ms)
        json_set_str(t->facts, "/unfreezeAt", clock_format(wall_ms, text));
    else
        json_set(t->facts, "/unfreezeAt", yyjson_mut_null(t->facts));
    talk_publish(t);
}

/* Durable before anybody goes by it. */
int freeze_until(struct talk *t, struct pod *p, int64_t wall_ms, struct gw_error *err)
{
    int r = write_note(p, wall_ms, err);

    if (r < 0)
        return r;
    set_time(t, wall_ms);
    talk_schedule(t);
    return 0;
}

void freeze_forget_time(struct talk *t)
{
    struct pod *p = talk_pod(t);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (p && t->unfreeze_ms && freeze_until(t, p, 0, &err) < 0)
        log_failure(-1, &err, "pod %s", t->uid);
}

static int64_t noted(struct pod *p)
{
    _cleanup_free_ char *path = note_path(p);
    _cleanup_doc_ yyjson_doc *doc = NULL;

    return json_load(path, 4096, &doc, NULL) < 0 ? 0 : json_int(yyjson_doc_get_root(doc), "/unfreezeMs", 0);
}

int64_t freeze_announced(const struct pod *p)
{
    const char *text =
        p->vmi ? json_key_str(yyjson_doc_get_root(p->vmi), "/metadata/annotations", VMI_UNFREEZE_AT) : NULL;

    return text ? MAX(clock_parse(text), 0) : 0;
}

/* What is announced may be what we have just taken back. */
void freeze_recall(struct talk *t, struct pod *p)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int64_t wall_ms = 0;

    if (t->unfreeze_ms || !p->owner)
        return;
    if (!t->note_read)
        wall_ms = noted(p);
    t->note_read = true;
    if (!wall_ms && freeze_announced(p) != t->unfrozen_ms)
        wall_ms = freeze_announced(p);
    if (wall_ms && freeze_until(t, p, wall_ms, &err) < 0)
        log_failure(-1, &err, "pod %s", t->uid);
}

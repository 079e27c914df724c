#include "migration/note.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static const char *const names[] = {
    [NOTE_NONE] = "none",         [NOTE_OPEN] = "open",       [NOTE_GRANTED] = "granted",     [NOTE_CLOSED] = "closed",
    [NOTE_PREPARED] = "prepared", [NOTE_CLAIMED] = "claimed", [NOTE_DESTROYED] = "destroyed",
};
static_assert(ARRAY_SIZE(names) == NOTE_MAX, "each note needs its name");

const char *note_string(enum note note)
{
    return names[note];
}

void handover_note_done(struct handover_note *n)
{
    free(n->migration_uid);
    free(n->reason);
    free(n->proof);
    *n = (struct handover_note){0};
}

static enum note note_from(const char *name)
{
    for (enum note n = NOTE_NONE; name && n < NOTE_MAX; n++)
        if (streq(names[n], name))
            return n;
    return NOTE_MAX;
}

int handover_note_load(const char *path, struct handover_note *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    struct gw_error fault = GW_ERROR_INIT;
    int r = json_load(path, 0, &doc, &fault);

    if (r == -ENOENT) {
        gw_error_done(&fault);
        *ret = (struct handover_note){0};
        return 0;
    }
    if (r < 0) {
        gw_error_move(err, &fault);
        return gw_error_wrap(err, r, "hand-over note %s", path);
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    enum note note = note_from(json_str(root, "/note"));
    if (note == NOTE_MAX)
        return gw_error_set(err, GW_INTERNAL_ERROR, "hand-over note %s names no known state", path);
    *ret = (struct handover_note){
        .note = note,
        .epoch = json_int(root, "/epoch", 0),
        .migration_uid = xstrdup(json_str(root, "/migrationUid")),
        .reason = xstrdup(json_str(root, "/reason")),
        .proof = xstrdup(json_str(root, "/proof")),
    };
    return 0;
}

int handover_note_save(const char *path, const struct handover_note *note, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/note", names[note->note]);
    json_set_int(d, "/epoch", note->epoch);
    if (note->migration_uid)
        json_set_str(d, "/migrationUid", note->migration_uid);
    if (note->reason)
        json_set_str(d, "/reason", note->reason);
    if (note->proof)
        json_set_str(d, "/proof", note->proof);
    return json_save(path, d, 0600, err);
}

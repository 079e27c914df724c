#include "agent/launcher/ending.h"

#include <string.h>
#include <sys/wait.h>

#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/json.h"

void ending_done(struct ending *e)
{
    free(e->reason);
    free(e->message);
    *e = (struct ending){0};
}

int ending_write(const struct ending *e, const char *dir, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_EXIT_FILE, dir);

    json_set_str(d, "/reason", e->reason);
    json_set_int(d, "/code", e->code);
    json_set_int(d, "/signal", e->signal);
    json_set_str(d, "/message", e->message ? e->message : "");
    json_set_int(d, "/at", e->at_ms);
    return json_save(path, d, 0600, err);
}

int ending_read(const char *dir, struct ending *ret, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_EXIT_FILE, dir);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_load(path, 1 << 20, &doc, err);

    if (r < 0)
        return r;
    yyjson_val *v = yyjson_doc_get_root(doc);
    *ret = (struct ending){
        .reason = xstrdup(json_str_or(v, "/reason", "crashed")),
        .code = (int)json_int(v, "/code", -1),
        .signal = (int)json_int(v, "/signal", 0),
        .message = xstrdup(json_str_or(v, "/message", "")),
        .at_ms = json_int(v, "/at", 0),
    };
    return 0;
}

const char *ending_reason(const char *shutdown, const char *killed, bool answered, int status)
{
    if (killed && WIFSIGNALED(status))
        return killed;
    if (shutdown)
        return shutdown;
    if (!answered && !WIFSIGNALED(status))
        return "start-failed";
    return "crashed";
}

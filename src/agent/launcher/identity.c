#include "agent/launcher/identity.h"

#include <stdio.h>
#include <string.h>

#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"

/* State, threads and start time (proc_pid_stat(5), fields 3, 20 and 22); the name in parentheses before them may hold
 * anything. */
static uint64_t read_stat(pid_t pid, char *ret_state, int *ret_threads)
{
    char path[40];
    _cleanup_free_ char *text = NULL;
    unsigned long long start = 0;

    *ret_state = 'X';
    *ret_threads = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0 || fs_read(path, 8192, &text, NULL, NULL) < 0)
        return 0;
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu",
                         ret_state, ret_threads, &start) != 3)
        return 0;
    return start;
}

uint64_t process_start_ticks(pid_t pid)
{
    char state;
    int threads;

    return read_stat(pid, &state, &threads);
}

/* A zombie with threads is a killed process whose other threads have not ended: its files and sockets are still open,
 * and a network taken away now would swallow their last words to whoever is connected. */
bool process_is(const struct process_identity *p)
{
    char state;
    int threads;
    uint64_t ticks = read_stat(p->pid, &state, &threads);

    return ticks != 0 && ticks == p->start_ticks && state != 'X' && (state != 'Z' || threads > 1);
}

char *boot_id(char *buf)
{
    _cleanup_free_ char *text = NULL;

    *buf = '\0';
    if (fs_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL, NULL) == 0)
        snprintf(buf, 40, "%.36s", text);
    return buf;
}

void launcher_note_done(struct launcher_note *n)
{
    free(n->cgroup_note);
    *n = (struct launcher_note){0};
}

int launcher_note_write(const struct launcher_note *n, const char *dir, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_NOTE_FILE, dir);

    json_set_str(d, "/bootId", n->boot_id);
    json_set_int(d, "/launcher/pid", n->launcher.pid);
    json_set_int(d, "/launcher/startTicks", (int64_t)n->launcher.start_ticks);
    json_set_int(d, "/qemu/pid", n->qemu.pid);
    json_set_int(d, "/qemu/startTicks", (int64_t)n->qemu.start_ticks);
    json_set_str(d, "/cgroup", n->cgroup_note ? n->cgroup_note : "");
    return json_save(path, d, 0600, err);
}

int launcher_note_read(const char *dir, struct launcher_note *ret, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_NOTE_FILE, dir);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_load(path, 1 << 20, &doc, err);

    if (r < 0)
        return r;
    yyjson_val *v = yyjson_doc_get_root(doc);
    *ret = (struct launcher_note){
        .launcher = {(pid_t)json_int(v, "/launcher/pid", 0), (uint64_t)json_int(v, "/launcher/startTicks", 0)},
        .qemu = {(pid_t)json_int(v, "/qemu/pid", 0), (uint64_t)json_int(v, "/qemu/startTicks", 0)},
        .cgroup_note = xstrdup(json_str_or(v, "/cgroup", "")),
    };
    snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", json_str_or(v, "/bootId", ""));
    return 0;
}

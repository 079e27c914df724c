/* Requests per second through the REST core (no sockets) on a durable store, with a hub and ten watchers behind it:
 * bench-rest FOLDER [SECONDS]. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/rest.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "concurrent.h"

#define VMIS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
#define WATCHERS 10

static const char vmi[] = "{\"metadata\":{\"generateName\":\"vm-\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":"
                          "\"128Mi\"},\"devices\":{\"disks\":[{\"name\":\"root\","
                          "\"disk\":{\"bus\":\"virtio\"}}],\"interfaces\":[{\"name\":\"default\",\"masquerade\":{}}]}},"
                          "\"networks\":[{\"name\":\"default\",\"pod\":{}}],"
                          "\"volumes\":[{\"name\":\"root\",\"containerDisk\":{\"image\":\"test:1\"}}]}}";

static struct rest_server server;
static bool stopping;

static int64_t wall_clock(void *data)
{
    return clock_wall_ms();
}

static void call_as(const char *group, const char *method, const char *target, const char *type, const char *body,
                    int expected, struct watcher **ret_watch)
{
    const char *const groups[] = {group};
    struct api_request q = {
        .method = method,
        .target = target,
        .content_type = type,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .user = {.name = "bench", .groups = groups, .n_groups = 1},
    };
    _cleanup_response_ struct api_response response = {0};

    rest_handle(&server, &q, &response);
    if (response.status != expected) {
        _cleanup_blob_ struct blob *b = api_parts_join(&response.body);

        fprintf(stderr, "%s %s: %d %s\n", method, target, response.status, b->data);
        exit(1);
    }
    if (ret_watch)
        *ret_watch = TAKE_PTR(response.watch);
}

static void call(const char *method, const char *target, const char *type, const char *body, int expected,
                 struct watcher **ret_watch)
{
    call_as("system:masters", method, target, type, body, expected, ret_watch);
}

/* The server's loop: dispatches, and throws away what watchers get. */
static void *loop(void *data)
{
    struct watcher *watchers[WATCHERS];

    for (size_t i = 0; i < WATCHERS; i++)
        call("GET", VMIS "?watch=1", NULL, NULL, 200, &watchers[i]);
    while (!__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
        struct pollfd fd = {.fd = watch_hub_fd(server.hub), .events = POLLIN};

        (void)poll(&fd, 1, 100);
        (void)watch_hub_dispatch(server.hub, clock_wall_ms());
        for (size_t i = 0; i < WATCHERS; i++) {
            struct api_parts lines = {0};

            while (watcher_next(watchers[i], &lines) > 0)
                api_parts_clear(&lines);
        }
    }
    for (size_t i = 0; i < WATCHERS; i++)
        watcher_close(watchers[i]);
    return NULL;
}

static void create_vmi(void *data, unsigned thread, unsigned n)
{
    call("POST", VMIS "?fieldValidation=Strict", "application/json", vmi, 201, NULL);
}

static void patch_vmi(void *data, unsigned thread, unsigned n)
{
    char target[128], patch[64];

    snprintf(target, sizeof(target), VMIS "/mine-%u", thread);
    snprintf(patch, sizeof(patch), "{\"metadata\":{\"labels\":{\"n\":\"%u\"}}}", n);
    call("PATCH", target, "application/merge-patch+json", patch, 200, NULL);
}

/* What agents write during a migration; the VMIs of people ("mine") are tracked, those of controllers are not. */
static void report(const char *prefix, unsigned thread, unsigned n)
{
    char target[128], patch[256];

    snprintf(target, sizeof(target), VMIS "/%s-%u", prefix, thread);
    snprintf(patch, sizeof(patch),
             "{\"status\":{\"phase\":\"Running\",\"migrationState\":{\"sourceNode\":\"a\",\"targetNode\":\"b\","
             "\"migrationUid\":\"u-%u\"}}}",
             n);
    call_as("system:nodes", "PATCH", target, "application/merge-patch+json", patch, 200, NULL);
}

static void report_tracked(void *data, unsigned thread, unsigned n)
{
    report("mine", thread, n);
}

static void report_untracked(void *data, unsigned thread, unsigned n)
{
    report("own", thread, n);
}

static void get_vmi(void *data, unsigned thread, unsigned n)
{
    char target[128];

    snprintf(target, sizeof(target), VMIS "/mine-%u", thread);
    call("GET", target, NULL, NULL, 200, NULL);
}

static void list_page(void *data, unsigned thread, unsigned n)
{
    call("GET", VMIS "?limit=500", NULL, NULL, 200, NULL);
}

static void set_up(const char *folder)
{
    _cleanup_free_ char *path = xasprintf("%s/bench-rest.db", folder);
    struct gw_error err = GW_ERROR_INIT;

    server.now = wall_clock;
    if (kinds_new(&server.kinds, &err) < 0 || store_open_sqlite(path, &server.store, &err) < 0 ||
        watch_hub_new(server.store, server.kinds, &server.hub, &err) < 0) {
        fprintf(stderr, "%s\n", gw_error_message(&err));
        exit(1);
    }
    call("POST", "/api/v1/namespaces", NULL, "{\"metadata\":{\"name\":\"default\"}}", 201, NULL);
    for (unsigned i = 0; i < 64; i++) {
        _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"mine-%u\"%s", i, strstr(vmi, "},\"spec\""));

        _cleanup_free_ char *own = xasprintf("{\"metadata\":{\"name\":\"own-%u\"%s", i, strstr(vmi, "},\"spec\""));

        call("POST", VMIS, NULL, body, 201, NULL);
        call_as("system:godwit:controllers", "POST", VMIS, NULL, own, 201, NULL);
    }
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    pthread_t thread;

    if (argc < 2)
        return 2;
    set_up(argv[1]);
    if (pthread_create(&thread, NULL, loop, NULL) != 0)
        return 1;
    measure("patch", 1, seconds, patch_vmi, NULL);
    measure("patch", 16, seconds, patch_vmi, NULL);
    measure("patch", 64, seconds, patch_vmi, NULL);
    measure("status, tracked", 1, seconds, report_tracked, NULL);
    measure("status, not tracked", 1, seconds, report_untracked, NULL);
    measure("status, tracked", 16, seconds, report_tracked, NULL);
    measure("status, not tracked", 16, seconds, report_untracked, NULL);
    measure("get", 16, seconds, get_vmi, NULL);
    measure("create", 16, seconds, create_vmi, NULL);
    measure("list of 500", 4, seconds, list_page, NULL);
    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    watch_hub_free(server.hub);
    store_close(server.store);
    kinds_free(server.kinds);
    return 0;
}

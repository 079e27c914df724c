/* Whole requests: the first byte picks the method and Content-Type, the first line is the target, the rest the body.
 * One store lives through many inputs, so that updates and deletes find what others have made; it is renewed now and
 * then. */
#include "rest-fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
static const char *const types[] = {
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    NULL,
};

static struct fixture *fixture_of_now(void)
{
    static unsigned n;
    static void *f;

    if (f && ++n % 5000 == 0) {
        fixture_tear_down(&f);
        f = NULL;
    }
    if (!f && fixture_set_up(&f) != 0)
        abort();
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const groups[] = {"system:godwit:controllers"};
    const uint8_t *end = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    struct fixture *f = fixture_of_now();
    _cleanup_response_ struct api_response response = {0};

    if (!end)
        return 0;
    _cleanup_free_ char *target = xstrndup((const char *)data + 1, (size_t)(end - data - 1));
    struct api_request q = {
        .method = methods[data[0] % ARRAY_SIZE(methods)],
        .target = target,
        .content_type = types[data[0] / ARRAY_SIZE(methods) % ARRAY_SIZE(types)],
        .accept = data[0] & 0x80 ? "application/json;as=Table;v=v1;g=meta.k8s.io" : NULL,
        .body = end + 1,
        .body_len = size - (size_t)(end - data) - 1,
        .user = {.name = "fuzz", .groups = groups, .n_groups = 1},
    };

    rest_handle(&f->server, &q, &response);
    if (response.status == 0 || (!response.watch && response.body.len == 0))
        abort();
    if (response.watch)
        (void)watcher_next(response.watch, &response.body);
    (void)watch_hub_dispatch(f->server.hub, f->now);
    return 0;
}

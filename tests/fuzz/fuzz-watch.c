/* The stream of a watch, in pieces whose lengths the input chooses, through the client into a cache. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/cache.h"
#include "client/transport.h"

static void start(_unused_ struct api_client *c, _unused_ struct api_call *call)
{
}

static void cancel(_unused_ struct api_client *c, _unused_ struct api_call *call)
{
}

static void changed(_unused_ void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    if (!key || (!old && !obj))
        abort();
}

static void woke(_unused_ void *userdata, _unused_ bool crowded)
{
}

static void on_event(void *userdata, enum api_event_type type, yyjson_val *object, _unused_ yyjson_doc **event)
{
    cache_event(userdata, type, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_client_ops ops = {start, cancel, NULL};
    struct api_client client = {.ops = &ops};
    struct cache *cache = cache_new(&API_PODS, NULL, changed, woke, NULL);
    struct api_call *call = api_watch(&client, &API_PODS, NULL, NULL, on_event, NULL, cache);

    while (size > 1) {
        size_t n = 1 + data[0];
        data++;
        size--;
        n = MIN(n, size);
        if (!api_call_data(call, 200, data, n)) {
            call = NULL;
            break;
        }
        data += n;
        size -= n;
    }
    if (call)
        api_call_end(call, 200, NULL);
    cache_free(cache);
    return 0;
}

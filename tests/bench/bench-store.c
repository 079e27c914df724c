/* Durable writes per second and their latency, by number of concurrent writers: bench-store FOLDER [SECONDS]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "concurrent.h"
#include "store/store.h"

#define VALUE_BYTES 4096 /* about a VirtualMachineInstance */

static void write_object(void *store, unsigned thread, unsigned n)
{
    _cleanup_blob_ struct blob *value = blob_new(NULL, VALUE_BYTES);
    char key[96];

    memset(value->data, 'x', VALUE_BYTES);
    snprintf(key, sizeof(key), "/registry/kubevirt.io/virtualmachineinstances/default/vm-%u-%u", thread, n % 100);
    if (store_put(store, key, value, STORE_ANY, NULL, NULL) < 0)
        abort();
}

int main(int argc, char **argv)
{
    static const unsigned writers[] = {1, 16, 64};
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    struct gw_error err = GW_ERROR_INIT;

    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(writers); i++) {
        _cleanup_free_ char *path = xasprintf("%s/bench-%u.db", argv[1], writers[i]);
        struct store *s;

        if (store_open_sqlite(path, &s, &err) < 0) {
            fprintf(stderr, "%s\n", gw_error_message(&err));
            return 1;
        }
        measure("durable writes", writers[i], seconds, write_object, s);
        store_close(s);
    }
    return argc > 1 ? 0 : 2;
}

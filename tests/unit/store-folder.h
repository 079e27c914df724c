/* A folder with an image store in it, for tests that work on real files: made by store_set_up, removed by store_tear_down. */
#pragma once

#include <stdlib.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/process.h"

static char *folder, *store;

static inline int store_set_up(void **state)
{
    char template[] = "/tmp/test-store-XXXXXX";

    assert_non_null(mkdtemp(template));
    folder = xstrdup(template);
    store = xasprintf("%s/images", folder);
    return 0;
}

static inline int store_tear_down(void **state)
{
    fs_remove_tree(folder, NULL);
    free(folder);
    free(store);
    return 0;
}

/* Runs a shell script in the folder. */
static inline void sh(const char *script)
{
    const char *argv[] = {"sh", "-ec", script, NULL};
    struct process_options options = {.folder = folder};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (process_run(argv, &options, NULL, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

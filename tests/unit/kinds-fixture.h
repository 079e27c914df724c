/* The built-in kinds, for a group of tests. */
#pragma once

#include "api/kind.h"

static struct kinds *kinds;

static int load(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (kinds_new(&kinds, &err) == 0)
        return 0;
    print_error("%s\n", gw_error_message(&err));
    return -1;
}

static int unload(void **state)
{
    kinds_free(kinds);
    return 0;
}

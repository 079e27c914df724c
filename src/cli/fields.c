/* Prints docs/fields.md; for those who change a kind file. */
#include <stdio.h>

#include "api/fields.h"
#include "cli/cli.h"

int cmd_fields(int argc, char **argv)
{
    _cleanup_(kinds_freep) struct kinds *kinds = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_str_ struct str out = {0};

    if (kinds_new(&kinds, &err) < 0) {
        fprintf(stderr, "godwit: %s\n", gw_error_message(&err));
        return 1;
    }
    fields_write(kinds, &out);
    fputs(str_text(&out), stdout);
    return 0;
}

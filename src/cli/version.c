#include "cli/cli.h"

#include <stdio.h>

int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("godwit %s\n", GODWIT_VERSION);
    return 0;
}

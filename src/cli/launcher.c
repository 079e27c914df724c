/* godwit launcher SPEC.json: becomes godwit-launcher, which lies beside this program (agent/launcher/launcher.h says
 * why it is a program of its own). */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "cli/cli.h"

int cmd_launcher(int argc, char **argv)
{
    char self[PATH_MAX] = "";

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        self[0] = '\0';
    _cleanup_free_ char *program = xasprintf("%s/godwit-launcher", dirname(self));
    argv[0] = program;
    execv(program, argv);
    perror(program);
    return 1;
}

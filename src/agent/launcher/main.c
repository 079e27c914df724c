#include <stdio.h>
#include <unistd.h>

#include "agent/launcher/launcher.h"

int main(int argc, char **argv)
{
    if (argc != 2 || geteuid() != 0) {
        fputs("usage (as root): godwit-launcher SPEC.json\n\nThe parent of one QEMU; godwit agent starts it.\n",
              stderr);
        return 2;
    }
    return launcher_main(argv[1]);
}

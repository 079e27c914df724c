/* godwit image import NAME FILE [--store DIR] | list [--store DIR] */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/images/images.h"
#include "cli/cli.h"

#define DEFAULT_STORE "/var/lib/godwit/images"

void usage_image(FILE *out)
{
    fputs("usage: godwit image import NAME FILE [--store DIR]\n"
          "       godwit image list [--store DIR]\n\n"
          "FILE is a qcow2 or raw disk, or an archive of a container image (docker save, or an OCI layout in a tar "
          "file)\n"
          "with its disk in /disk or with kernel and initrd. DIR is " DEFAULT_STORE " unless said otherwise.\n",
          out);
}

static void print_image(void *userdata, const struct image *image)
{
    VEC_EACH(&image->files, f)
        printf("%-48s %.19s  %-24s %-6s %" PRId64 " MiB\n", image->name, image->digest, f->path, f->format,
               (f->virtual_size + (1 << 20) - 1) >> 20);
}

static int import(const char *store, const char *name, const char *file)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_image_ struct image image = {0};

    if (image_import(store, name, file, &image, &err) < 0) {
        fprintf(stderr, "godwit: %s\n", gw_error_message(&err));
        return 1;
    }
    printf("%s %s\n", image.name, image.digest);
    return 0;
}

static int list(const char *store)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    printf("%-48s %-19s  %-24s %-6s %s\n", "NAME", "DIGEST", "FILE", "FORMAT", "SIZE");
    if (image_list(store, print_image, NULL, &err) < 0) {
        fprintf(stderr, "godwit: %s\n", gw_error_message(&err));
        return 1;
    }
    return 0;
}

int cmd_image(int argc, char **argv)
{
    static const struct option options[] = {{"store", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char *store = DEFAULT_STORE;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 's')
            return EXIT_USAGE;
        store = optarg;
    }
    if (argc - optind == 3 && streq(argv[optind], "import"))
        return import(store, argv[optind + 1], argv[optind + 2]);
    if (argc - optind == 1 && streq(argv[optind], "list"))
        return list(store);
    return EXIT_USAGE;
}

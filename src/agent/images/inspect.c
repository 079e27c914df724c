#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/images.h"

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_V2_HEADER 72
#define QCOW2_V3_HEADER 104
#define INCOMPATIBLE_DATA_FILE 4u /* bit 2 */

static uint64_t get_be(const unsigned char *p, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* Layout: QEMU's docs/interop/qcow2.rst. */
int disk_inspect_header(const void *data, size_t len, int64_t file_size, const char **ret_format,
                        int64_t *ret_virtual_size, struct gw_error *err)
{
    const unsigned char *p = data;

    if (len < QCOW2_V2_HEADER || get_be(p, 4) != QCOW2_MAGIC) {
        *ret_format = "raw";
        *ret_virtual_size = file_size;
        return 0;
    }
    uint64_t version = get_be(p + 4, 4), size = get_be(p + 24, 8);
    if (version != 2 && version != 3)
        return gw_error_set(err, GW_INVALID, "qcow2 version %u is not supported", (unsigned)version);
    if (version == 3 && len < QCOW2_V3_HEADER)
        return gw_error_set(err, GW_INVALID, "the qcow2 header is cut short");
    if (get_be(p + 8, 8) != 0)
        return gw_error_set(err, GW_INVALID,
                            "the qcow2 image has a backing file; convert it (qemu-img convert -O qcow2)");
    if (version == 3 && (get_be(p + 72, 8) & INCOMPATIBLE_DATA_FILE))
        return gw_error_set(err, GW_INVALID, "the qcow2 image keeps its data in another file; convert it");
    if (size > INT64_MAX / 2)
        return gw_error_set(err, GW_INVALID, "the qcow2 image has an impossible size");
    *ret_format = "qcow2";
    *ret_virtual_size = (int64_t)size;
    return 0;
}

int disk_inspect(const char *file, const char **ret_format, int64_t *ret_virtual_size, struct gw_error *err)
{
    unsigned char header[QCOW2_V3_HEADER];
    struct stat st;
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 || fstat(fd, &st) < 0 ? -1 : pread(fd, header, sizeof(header), 0);

    if (n < 0)
        return gw_error_errno(err, errno, "%s", file);
    int r = disk_inspect_header(header, (size_t)n, st.st_size, ret_format, ret_virtual_size, err);
    return r < 0 ? gw_error_wrap(err, r, "%s", file) : 0;
}

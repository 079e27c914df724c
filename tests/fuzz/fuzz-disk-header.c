/* The first bytes of disk files that people import. */
#include <stddef.h>
#include <stdint.h>

#include "agent/images/images.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *format;
    int64_t virtual_size;

    (void)disk_inspect_header(data, size, (int64_t)size, &format, &virtual_size, &err);
    return 0;
}

/* Frames from a guest. */
#include <stddef.h>
#include <stdint.h>

#include "agent/launcher/dhcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dhcp_answers a = {.address = 0x0a000202,
                                          .gateway = 0x0a000201,
                                          .prefix_len = 24,
                                          .mtu = 1400,
                                          .dns = {1, 2, 3},
                                          .n_dns = 3,
                                          .hostname = "vm",
                                          .search = "cluster.local"};
    uint8_t out[DHCP_FRAME_MAX];

    (void)dhcp_answer(&a, data, size, out);
    return 0;
}

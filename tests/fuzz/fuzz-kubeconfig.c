#include <stddef.h>
#include <stdint.h>

#include "client/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_client_config_ struct client_config cfg = {0};

    (void)kubeconfig_parse((const char *)data, size, NULL, NULL, &cfg, NULL);
    return 0;
}

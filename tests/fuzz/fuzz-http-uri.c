/* Request targets and media types: the first line of the input is a target, the rest an Accept header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    _cleanup_uri_ struct http_uri u = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char *rest = text, *target = strsep(&rest, "\n");
    const char *cursor = rest ? rest : "";
    struct http_media m;

    if (http_uri_parse(target, &u, &err) == 0) {
        for (size_t i = 0; i < u.n_segments; i++)
            if (!u.segments[i][0] || strcmp(u.segments[i], "..") == 0)
                abort();
        http_uri_flag(&u, "watch");
    }
    while (http_media_next(&cursor, &m))
        if (!strchr(m.type, '/') || m.n_params > HTTP_MEDIA_MAX_PARAMS)
            abort();
    return 0;
}

/* The websocket codec: the input is what a client sends, cut into portions by its first byte. Whatever comes, data are
 * never more than what came, and nothing goes out behind a close of both sides. */
#include <stdint.h>
#include <stdlib.h>

#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct websocket *w = websocket_new(WEBSOCKET_SERVER);
    _cleanup_str_ struct str in = {0}, out = {0};
    size_t portion = size ? 1 + data[0] % 64 : 1;

    for (size_t at = 1; at < size; at += portion) {
        websocket_feed(w, data + at, MIN(portion, size - at), &in);
        websocket_flush(w, &out);
        if (at % 7 == 0)
            websocket_send(w, "echo", 4, &out);
    }
    if (in.len > size)
        abort();
    websocket_ping(w, &out);
    websocket_close(w, 1000, &out);
    size_t len = out.len;
    websocket_send(w, "late", 4, &out);
    if (out.len != len)
        abort();
    websocket_free(w);
    return 0;
}

/* The websocket codec: the first byte says which side we are and into what portions the rest, what the other side sends,
 * is cut. Whatever comes, data are never more than what came and the portions change at most where they end (libwslay
 * looks at text by the portion), a frame without the mask that its sender owes gives none, and nothing goes out behind a
 * close of both sides. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/websocket.h"

static void feed(enum websocket_side side, const uint8_t *data, size_t size, size_t portion, struct str *in)
{
    struct websocket *w = websocket_new(side);
    _cleanup_str_ struct str out = {0};

    for (size_t at = 0; at < size; at += portion) {
        websocket_feed(w, data + at, MIN(portion, size - at), in);
        websocket_flush(w, &out);
        if (at % 7 == 0)
            websocket_send(w, "echo", 4, &out);
    }
    websocket_ping(w, &out);
    websocket_close(w, 1000, &out);
    size_t len = out.len;
    websocket_send(w, "late", 4, &out);
    if (out.len != len)
        abort();
    websocket_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_str_ struct str whole = {0}, parts = {0};

    if (size < 2)
        return 0;
    enum websocket_side side = data[0] & 0x80 ? WEBSOCKET_CLIENT : WEBSOCKET_SERVER;
    bool masked = size > 2 && (data[2] & 0x80);

    feed(side, data + 1, size - 1, size, &whole);
    feed(side, data + 1, size - 1, 1 + data[0] % 64, &parts);
    if (whole.len >= size || parts.len >= size || memcmp(str_text(&whole), str_text(&parts), MIN(whole.len, parts.len)))
        abort();
    if (whole.len && masked != (side == WEBSOCKET_SERVER))
        abort();
    return 0;
}

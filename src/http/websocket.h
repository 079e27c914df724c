/* One side of a websocket (RFC 6455) as a codec between bytes of the wire and bytes of the channel; without
 * sockets. Frame boundaries mean nothing here: what the other side sends in whatever messages is one stream
 * of bytes, and what is sent goes out in binary messages. Pings are answered, and a close is answered and ends both
 * directions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct websocket;

/* The Sec-WebSocket-Accept for a client's Sec-WebSocket-Key. Caller frees. */
char *websocket_accept(const char *key);

enum websocket_side { WEBSOCKET_SERVER, WEBSOCKET_CLIENT };
struct websocket *websocket_new(enum websocket_side side);
struct websocket *websocket_free(struct websocket *w);

/* Takes bytes of the wire, in any portions; the other side's data are appended to data. After a violation of the
 * protocol (a client's frame without a mask is one) the rest is dropped, a close that says so goes out, and it is over.
 */
void websocket_feed(struct websocket *w, const void *bytes, size_t len, struct str *data);

/* What is to go out, appended to wire: len bytes of data in one message; a ping; a close with a code of the RFC (1000:
 * all is said). Nothing goes out behind a close. */
void websocket_send(struct websocket *w, const void *data, size_t len, struct str *wire);
void websocket_ping(struct websocket *w, struct str *wire);
void websocket_close(struct websocket *w, int code, struct str *wire);
/* Answers that became due by what was fed. */
void websocket_flush(struct websocket *w, struct str *wire);

/* Both sides have said that they close, or the other one violated the protocol: what is left is to deliver the wire's
 * last bytes. */
bool websocket_over(const struct websocket *w);

#include "http/websocket.h"

#include <gnutls/crypto.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/alloc.h"
#include "base/base64.h"

struct websocket {
    wslay_event_context_ptr context;
    const char *in; /* what is being fed */
    size_t in_len;
    struct str *data, *wire; /* where results go, during a call */
    bool control;            /* the frame that comes in is none of data */
    bool broken;
};

char *websocket_accept(const char *key)
{
    /* RFC 6455, section 1.3 */
    _cleanup_free_ char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[20];

    (void)gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), digest);
    return base64_encode((const char *)digest, sizeof(digest));
}

/* --- What wslay calls --- */

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *buf, size_t len, int flags, void *userdata)
{
    struct websocket *w = userdata;
    size_t n = MIN(len, w->in_len);

    if (n == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, w->in, n);
    w->in += n;
    w->in_len -= n;
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags, void *userdata)
{
    struct websocket *w = userdata;

    str_add(w->wire, data, len);
    return (ssize_t)len;
}

static void on_frame(wslay_event_context_ptr context, const struct wslay_event_on_frame_recv_start_arg *arg,
                     void *userdata)
{
    ((struct websocket *)userdata)->control = wslay_is_ctrl_frame(arg->opcode);
}

static void on_chunk(wslay_event_context_ptr context, const struct wslay_event_on_frame_recv_chunk_arg *arg,
                     void *userdata)
{
    struct websocket *w = userdata;

    if (!w->control)
        str_add(w->data, arg->data, arg->data_length);
}

/* --- Life --- */

/* A client's frames are masked. */
static int on_mask(wslay_event_context_ptr context, uint8_t *buf, size_t len, void *userdata)
{
    return gnutls_rnd(GNUTLS_RND_NONCE, buf, len);
}

struct websocket *websocket_new(enum websocket_side side)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_chunk,
    };
    struct websocket *w = xnew(struct websocket);

    int r = side == WEBSOCKET_SERVER ? wslay_event_context_server_init(&w->context, &callbacks, w)
                                     : wslay_event_context_client_init(&w->context, &callbacks, w);

    if (r != 0)
        abort();                                        /* out of memory, as everywhere */
    wslay_event_config_set_no_buffering(w->context, 1); /* messages may be of any length */
    return w;
}

struct websocket *websocket_free(struct websocket *w)
{
    if (w)
        wslay_event_context_free(w->context);
    free(w);
    return NULL;
}

void websocket_feed(struct websocket *w, const void *bytes, size_t len, struct str *data)
{
    w->in = bytes;
    w->in_len = len;
    w->data = data;
    if (!w->broken && wslay_event_get_read_enabled(w->context) && wslay_event_recv(w->context) != 0)
        w->broken = true;
    w->in_len = 0;
}

void websocket_flush(struct websocket *w, struct str *wire)
{
    w->wire = wire;
    if (wslay_event_want_write(w->context) && wslay_event_send(w->context) != 0)
        w->broken = true;
}

void websocket_send(struct websocket *w, const void *data, size_t len, struct str *wire)
{
    const struct wslay_event_msg m = {WSLAY_BINARY_FRAME, data, len};

    (void)wslay_event_queue_msg(w->context, &m); /* refused behind a close */
    websocket_flush(w, wire);
}

void websocket_ping(struct websocket *w, struct str *wire)
{
    const struct wslay_event_msg m = {.opcode = WSLAY_PING};

    (void)wslay_event_queue_msg(w->context, &m);
    websocket_flush(w, wire);
}

void websocket_close(struct websocket *w, int code, struct str *wire)
{
    (void)wslay_event_queue_close(w->context, (uint16_t)code, NULL, 0);
    websocket_flush(w, wire);
}

bool websocket_over(const struct websocket *w)
{
    return w->broken || (wslay_event_get_close_received(w->context) && wslay_event_get_close_sent(w->context));
}

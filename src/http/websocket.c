#include "http/websocket.h"

#include <gnutls/crypto.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/alloc.h"
#include "base/base64.h"

/* Where the frames of the other side begin: libwslay takes masked and unmasked ones alike and does not say which they
 * were (RFC 6455, 5.1 and 5.2). */
struct frames {
    unsigned char head[10]; /* up to its extended length */
    size_t have;
    uint64_t left; /* bytes of the frame behind that: mask and payload */
};

struct websocket {
    wslay_event_context_ptr context;
    enum websocket_side side;
    struct frames frames;
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

/* --- Masks --- */

#define MASKED 0x80 /* in a head's second byte, above the length or what stands for it */
#define LENGTH 0x7f
#define MASK_BYTES 4

/* Bytes of the head before the mask, as far as it is there. */
static size_t head_len(const struct frames *f)
{
    if (f->have < 2)
        return 2;
    return (f->head[1] & LENGTH) == 126 ? 4 : (f->head[1] & LENGTH) == 127 ? 10 : 2;
}

static uint64_t behind_head(const struct frames *f)
{
    size_t n = head_len(f);
    uint64_t payload = n == 2 ? f->head[1] & LENGTH : 0;

    for (size_t i = 2; i < n; i++)
        payload = payload << 8 | f->head[i];
    payload = MIN(payload, (uint64_t)INT64_MAX); /* more is nonsense, which libwslay refuses */
    return payload + (f->head[1] & MASKED ? MASK_BYTES : 0);
}

/* Takes one byte of a head. False: its frame is not masked though it should be, or the other way round. */
static bool take_head(struct frames *f, unsigned char byte, bool masked)
{
    f->head[f->have++] = byte;
    if (f->have < head_len(f))
        return true;
    f->left = behind_head(f);
    f->have = 0;
    return ((f->head[1] & MASKED) != 0) == masked;
}

/* How many of the bytes may be fed: all, or those before the head that is wrong. */
static size_t check_masks(struct frames *f, const unsigned char *bytes, size_t len, bool masked)
{
    size_t begin = 0, i = 0;

    while (i < len) {
        size_t skip = (size_t)MIN(f->left, (uint64_t)(len - i));

        f->left -= skip;
        i += skip;
        if (i == len)
            break;
        begin = f->have ? begin : i;
        if (!take_head(f, bytes[i++], masked))
            return begin;
    }
    return len;
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

    w->side = side;
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

/* Says so, and listens no more. */
static void refuse(struct websocket *w)
{
    (void)wslay_event_queue_close(w->context, WSLAY_CODE_PROTOCOL_ERROR, NULL, 0);
    wslay_event_shutdown_read(w->context);
}

void websocket_feed(struct websocket *w, const void *bytes, size_t len, struct str *data)
{
    bool reads = wslay_event_get_read_enabled(w->context);

    if (w->broken || !reads)
        return;
    w->in = bytes;
    w->in_len = check_masks(&w->frames, bytes, len, w->side == WEBSOCKET_SERVER);
    bool right = w->in_len == len;
    w->data = data;
    if (wslay_event_recv(w->context) != 0)
        w->broken = true;
    w->in_len = 0;
    if (!right && wslay_event_get_read_enabled(w->context))
        refuse(w);
    /* libwslay, too, stops reading at what it refuses, and has queued a close. */
    if (!wslay_event_get_read_enabled(w->context) && !wslay_event_get_close_received(w->context))
        w->broken = true;
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

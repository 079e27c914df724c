#include "client/channel.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/str.h"
#include "client/client_curl.h"
#include "client/status.h"
#include "http/websocket.h"

#define ANSWER_MS 30000 /* the server may look for the guest for a while */
#define HEAD_MAX 16384
#define TURN_BYTES (64UL << 10)

struct api_channel {
    CURL *easy;
    curl_socket_t fd;
    struct websocket *ws;
    struct str wire;  /* to be sent */
    struct str early; /* came behind the head */
    bool more;
};

struct api_channel *api_channel_free(struct api_channel *ch)
{
    if (!ch)
        return NULL;
    if (ch->ws) {
        websocket_close(ch->ws, 1000, &ch->wire);
        size_t n;
        (void)curl_easy_send(ch->easy, ch->wire.data, ch->wire.len, &n);
    }
    curl_easy_cleanup(ch->easy);
    websocket_free(ch->ws);
    str_done(&ch->wire);
    str_done(&ch->early);
    free(ch);
    return NULL;
}

int api_channel_fd(const struct api_channel *ch)
{
    return ch->fd;
}

size_t api_channel_waiting(const struct api_channel *ch)
{
    return ch->wire.len;
}

bool api_channel_more(const struct api_channel *ch)
{
    return ch->more;
}

/* --- Opening --- */

/* Appends what comes next; false at the end, or when it takes too long. */
static bool receive(struct api_channel *ch, struct str *text, int64_t deadline_ms)
{
    char buf[4096];
    size_t n = 0;
    CURLcode r;

    while ((r = curl_easy_recv(ch->easy, buf, sizeof(buf), &n)) == CURLE_AGAIN) {
        struct pollfd p = {.fd = ch->fd, .events = POLLIN};
        int64_t left = deadline_ms - clock_monotonic_ms();

        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return false;
    }
    if (r != CURLE_OK || n == 0)
        return false;
    str_add(text, buf, n);
    return true;
}

static int send_request(struct api_channel *ch, const char *path, const char *head)
{
    char key[25];
    size_t sent = 0;

    random_suffix(key, 22); /* 22 characters of base64's alphabet, and the padding of 16 bytes */
    key[21] = 'A';
    memcpy(key + 22, "==", 3);
    _cleanup_free_ char *text =
        xasprintf("GET %s HTTP/1.1\r\n%sUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: plain.kubevirt.io\r\n\r\n",
                  path, head, key);
    CURLcode r = curl_easy_send(ch->easy, text, strlen(text), &sent);

    return r == CURLE_OK && sent == strlen(text) ? 0 : -EIO;
}

static int refusal(struct api_channel *ch, struct str *text, const char *end, int code, struct gw_error *err)
{
    const char *length = strcasestr(text->data, "\r\ncontent-length:");
    size_t head = (size_t)(end - text->data) + 4, body = length ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;

    while (text->len < head + MIN(body, (size_t)HEAD_MAX) && receive(ch, text, clock_monotonic_ms() + 5000))
        ;
    return status_decode_body(text->data + head, text->len - head, code, err);
}

static int read_answer(struct api_channel *ch, struct gw_error *err)
{
    int64_t deadline = clock_monotonic_ms() + ANSWER_MS;
    _cleanup_str_ struct str text = {0};
    const char *end = NULL;
    int code = 0;

    while (!(end = text.data ? strstr(text.data, "\r\n\r\n") : NULL))
        if (text.len > HEAD_MAX || !receive(ch, &text, deadline))
            return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "the server did not answer");
    if (sscanf(text.data, "HTTP/1.1 %d", &code) != 1 || code != 101)
        return refusal(ch, &text, end, code, err);
    str_add(&ch->early, end + 4, text.len - (size_t)(end + 4 - text.data));
    return 0;
}

int api_channel_open(struct api_client *c, const char *path, struct api_channel **ret, struct gw_error *err)
{
    struct api_channel *ch = xnew(struct api_channel);
    _cleanup_free_ char *head = NULL;
    int r = client_curl_connect(c, &ch->easy, &head, err);

    if (r < 0) {
        free(ch);
        return r;
    }
    (void)curl_easy_getinfo(ch->easy, CURLINFO_ACTIVESOCKET, &ch->fd);
    r = send_request(ch, path, head);
    r = r < 0 ? gw_error_set(err, GW_SERVICE_UNAVAILABLE, "the connection was cut") : read_answer(ch, err);
    if (r < 0) {
        api_channel_free(ch);
        return r;
    }
    ch->ws = websocket_new(WEBSOCKET_CLIENT);
    *ret = ch;
    return 0;
}

/* --- Use --- */

static bool flush(struct api_channel *ch)
{
    size_t n = 0;
    CURLcode r = ch->wire.len ? curl_easy_send(ch->easy, ch->wire.data, ch->wire.len, &n) : CURLE_OK;

    if (r != CURLE_OK)
        return r == CURLE_AGAIN;
    ch->wire.len -= n;
    if (ch->wire.len)
        memmove(ch->wire.data, ch->wire.data + n, ch->wire.len);
    return true;
}

void api_channel_send(struct api_channel *ch, const void *data, size_t len)
{
    websocket_send(ch->ws, data, len, &ch->wire);
    (void)flush(ch);
}

bool api_channel_turn(struct api_channel *ch, struct str *data)
{
    char buf[8192];
    size_t n = 0;
    CURLcode r;

    websocket_feed(ch->ws, ch->early.data, ch->early.len, data);
    ch->early.len = 0;
    do {
        r = curl_easy_recv(ch->easy, buf, sizeof(buf), &n);
        if (r == CURLE_OK)
            websocket_feed(ch->ws, buf, n, data);
    } while (r == CURLE_OK && n > 0 && data->len < TURN_BYTES);
    ch->more = r == CURLE_OK && n > 0;
    websocket_flush(ch->ws, &ch->wire);
    return flush(ch) && (ch->more || r == CURLE_AGAIN) && !websocket_over(ch->ws);
}

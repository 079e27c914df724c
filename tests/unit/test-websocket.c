#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "http/websocket.h"

/* A client's frame: masked, as RFC 6455 wants it of clients. */
static void add_frame(struct str *s, int first, const char *payload, size_t len)
{
    static const unsigned char mask[4] = {0x11, 0x22, 0x33, 0x44};

    str_putc(s, (char)first);
    if (len < 126) {
        str_putc(s, (char)(0x80 | len));
    } else {
        str_putc(s, (char)(0x80 | 126));
        str_putc(s, (char)(len >> 8));
        str_putc(s, (char)len);
    }
    str_add(s, mask, 4);
    for (size_t i = 0; i < len; i++)
        str_putc(s, (char)(payload[i] ^ mask[i % 4]));
}

static void handshake_key_is_answered(void **state)
{
    /* The example of RFC 6455, section 1.3. */
    _cleanup_free_ char *accept = websocket_accept("dGhlIHNhbXBsZSBub25jZQ==");

    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void messages_are_one_stream(void **state)
{
    struct websocket *w = websocket_new(WEBSOCKET_SERVER);
    _cleanup_str_ struct str in = {0}, data = {0}, wire = {0};
    char big[1000];

    memset(big, 'x', sizeof(big));
    add_frame(&in, 0x82, "ab", 2);  /* binary */
    add_frame(&in, 0x02, "cd", 2);  /* binary, to be continued */
    add_frame(&in, 0x89, "hi", 2);  /* a ping in between */
    add_frame(&in, 0x80, "ef", 2);  /* its end */
    add_frame(&in, 0x82, big, sizeof(big));
    for (size_t i = 0; i < in.len; i++) /* byte for byte */
        websocket_feed(w, in.data + i, 1, &data);
    assert_int_equal(data.len, 6 + sizeof(big));
    assert_memory_equal(data.data, "abcdefxxx", 9);
    websocket_flush(w, &wire);
    assert_int_equal(wire.len, 4);
    assert_memory_equal(wire.data, "\x8a\x02hi", 4); /* pong */
    wire.len = 0;
    websocket_send(w, "out", 3, &wire);
    assert_int_equal(wire.len, 5);
    assert_memory_equal(wire.data, "\x82\x03out", 5);
    assert_false(websocket_over(w));
    websocket_free(w);
}

static void closes_are_answered_and_end_it(void **state)
{
    struct websocket *w = websocket_new(WEBSOCKET_SERVER);
    _cleanup_str_ struct str in = {0}, data = {0}, wire = {0};

    add_frame(&in, 0x88, "\x03\xe8", 2); /* 1000 */
    add_frame(&in, 0x82, "late", 4);
    websocket_feed(w, in.data, in.len, &data);
    websocket_flush(w, &wire);
    assert_int_equal(data.len, 0);
    assert_int_equal(wire.len, 4);
    assert_memory_equal(wire.data, "\x88\x02\x03\xe8", 4);
    assert_true(websocket_over(w));
    websocket_send(w, "late", 4, &wire);
    assert_int_equal(wire.len, 4);
    websocket_free(w);
}

static void both_sides_understand_each_other(void **state)
{
    struct websocket *server = websocket_new(WEBSOCKET_SERVER), *client = websocket_new(WEBSOCKET_CLIENT);
    _cleanup_str_ struct str wire = {0}, back = {0}, data = {0};

    websocket_send(client, "question", 8, &wire);
    assert_null(memmem(wire.data, wire.len, "question", 8)); /* masked */
    websocket_feed(server, wire.data, wire.len, &data);
    assert_string_equal(str_text(&data), "question");
    websocket_send(server, "answer", 6, &back);
    websocket_close(server, 1000, &back);
    data.len = 0;
    websocket_feed(client, back.data, back.len, &data);
    assert_memory_equal(data.data, "answer", 6);
    wire.len = 0;
    websocket_flush(client, &wire);
    websocket_feed(server, wire.data, wire.len, &data);
    assert_true(websocket_over(client) && websocket_over(server));
    websocket_free(server);
    websocket_free(client);
}

static void nonsense_is_answered_by_a_close(void **state)
{
    struct websocket *w = websocket_new(WEBSOCKET_SERVER);
    _cleanup_str_ struct str data = {0}, wire = {0};

    websocket_feed(w, "\xf2\x80 reserved bits", 16, &data);
    websocket_flush(w, &wire);
    assert_int_equal(data.len, 0);
    assert_true(wire.len >= 4 && (unsigned char)wire.data[0] == 0x88);
    assert_true(websocket_over(w));
    websocket_free(w);
}

/* RFC 6455, 5.1: a server closes upon a frame without a mask, a client upon one with a mask. */
static void frames_without_their_mask_are_refused(void **state)
{
    struct websocket *server = websocket_new(WEBSOCKET_SERVER), *client = websocket_new(WEBSOCKET_CLIENT);
    _cleanup_str_ struct str in = {0}, data = {0}, wire = {0};
    char big[70000];

    memset(big, 'x', sizeof(big));
    add_frame(&in, 0x82, "first", 5);
    add_frame(&in, 0x82, big, 60000); /* a length of 16 bits, and one of 64 */
    str_add(&in, "\x82\xff\0\0\0\0\0\1\0\0mask", 14);
    str_add(&in, big, 65536);
    for (size_t at = 0; at < in.len; at += 1000)
        websocket_feed(server, in.data + at, MIN(1000, in.len - at), &data);
    assert_int_equal(data.len, 5 + 60000 + 65536);
    websocket_feed(server, "\x82", 1, &data);
    assert_false(websocket_over(server));
    websocket_feed(server, "\x04late", 5, &data);
    assert_int_equal(data.len, 5 + 60000 + 65536);
    websocket_flush(server, &wire);
    assert_int_equal(wire.len, 4);
    assert_memory_equal(wire.data, "\x88\x02\x03\xea", 4); /* 1002 */
    assert_true(websocket_over(server));
    data.len = wire.len = 0;
    websocket_feed(client, "\x82\x02ok", 4, &data);
    websocket_feed(client, in.data, in.len, &data);
    assert_int_equal(data.len, 2);
    websocket_flush(client, &wire);
    assert_int_equal((unsigned char)wire.data[0], 0x88);
    assert_true(websocket_over(client));
    websocket_free(server);
    websocket_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_key_is_answered),
        cmocka_unit_test(messages_are_one_stream),
        cmocka_unit_test(closes_are_answered_and_end_it),
        cmocka_unit_test(both_sides_understand_each_other),
        cmocka_unit_test(nonsense_is_answered_by_a_close),
        cmocka_unit_test(frames_without_their_mask_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* DHCP for one guest: what it asks, what it gets, and all that must not be answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/launcher/dhcp.h"

#define ADDRESS 0x0a000202u
#define GATEWAY 0x0a000201u

static const struct dhcp_answers answers = {
    .server_mac = {2, 0, 0, 0, 0, 1},
    .guest_mac = {2, 0, 0, 0, 0, 2},
    .address = ADDRESS,
    .gateway = GATEWAY,
    .prefix_len = 24,
    .mtu = 1400,
    .dns = {0x0a60000a, 0x08080808},
    .n_dns = 2,
    .hostname = "vm1",
    .search = "x.local",
};

struct frame {
    uint8_t b[600];
    size_t len, options;
};

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A whole request of a type, without further options. */
static struct frame request(uint8_t type)
{
    struct frame f = {.len = 14 + 20 + 8 + 240, .options = 14 + 20 + 8 + 240};
    uint8_t *ip = f.b + 14, *udp = ip + 20, *b = udp + 8;

    memset(f.b, 0xff, 6);
    memcpy(f.b + 6, answers.guest_mac, 6);
    f.b[12] = 8;
    ip[0] = 0x45;
    ip[9] = 17;
    udp[1] = 68;
    udp[3] = 67;
    b[0] = 1;
    b[1] = 1;
    b[2] = 6;
    put32(b + 4, 0xdeadbeef);
    memcpy(b + 28, answers.guest_mac, 6);
    put32(b + 236, 0x63825363);
    memcpy(f.b + f.len, (uint8_t[]){53, 1, type, 255}, 4);
    f.len += 4;
    return f;
}

/* Puts an option before the end. */
static void add(struct frame *f, uint8_t type, uint32_t value)
{
    uint8_t *at = f->b + f->len - 1;

    at[0] = type;
    at[1] = 4;
    put32(at + 2, value);
    at[6] = 255;
    f->len += 6;
}

static size_t ask(struct frame *f, uint8_t *out)
{
    uint8_t *ip = f->b + 14;
    uint16_t total = (uint16_t)(f->len - 14), udp_len = (uint16_t)(total - 20);

    ip[2] = (uint8_t)(total >> 8);
    ip[3] = (uint8_t)total;
    ip[24] = (uint8_t)(udp_len >> 8);
    ip[25] = (uint8_t)udp_len;
    return dhcp_answer(&answers, f->b, f->len, out);
}

/* The option's value in an answer, NULL if absent. */
static const uint8_t *find(const uint8_t *out, size_t len, uint8_t type, uint8_t expected_len)
{
    for (size_t at = 14 + 20 + 8 + 240; at + 1 < len && out[at] != 255; at += 2u + out[at + 1])
        if (out[at] == type) {
            assert_int_equal(out[at + 1], expected_len);
            return out + at + 2;
        }
    return NULL;
}

static void test_discover_is_offered_everything(void **state)
{
    struct frame f = request(1);
    uint8_t out[DHCP_FRAME_MAX];
    size_t len = ask(&f, out);
    const uint8_t *b = out + 42;

    assert_true(len >= 42 + 300);
    assert_memory_equal(out, answers.guest_mac, 6);
    assert_memory_equal(out + 6, answers.server_mac, 6);
    assert_int_equal(get32(out + 26), GATEWAY);
    assert_int_equal(get32(out + 30), ADDRESS);
    assert_int_equal(b[0], 2);
    assert_int_equal(get32(b + 4), 0xdeadbeef);
    assert_int_equal(get32(b + 16), ADDRESS);
    assert_int_equal(*find(out, len, 53, 1), 2);
    assert_int_equal(get32(find(out, len, 54, 4)), GATEWAY);
    assert_int_equal(get32(find(out, len, 51, 4)), 0xffffffff);
    assert_int_equal(get32(find(out, len, 1, 4)), 0xffffff00);
    assert_int_equal(get32(find(out, len, 3, 4)), GATEWAY);
    assert_int_equal(get32(find(out, len, 6, 8)), 0x0a60000a);
    assert_memory_equal(find(out, len, 12, 3), "vm1", 3);
    assert_memory_equal(find(out, len, 15, 7), "x.local", 7);
    assert_memory_equal(find(out, len, 26, 2), "\x05\x78", 2);
}

/* RFC 1071: the sum over the header with its checksum is all ones. */
static void test_the_ip_checksum_is_right(void **state)
{
    struct frame f = request(1);
    uint8_t out[DHCP_FRAME_MAX];
    uint32_t sum = 0;

    assert_true(ask(&f, out) > 0);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)(out[i] << 8 | out[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal(sum, 0xffff);
}

static void test_request(void **state)
{
    static const struct {
        uint32_t requested, client, server;
        int answer; /* DHCP type, 0: none */
    } rows[] = {
        {ADDRESS, 0, GATEWAY, 5},                              /* selecting */
        {ADDRESS, 0, 0, 5},                                    /* init-reboot */
        {0, ADDRESS, 0, 5},                                    /* renewing */
        {0x0a000205, 0, 0, 6},                                 /* its address of another life */
        {0, 0xc0a80001, 0, 6},    {ADDRESS, 0, 0x0a000263, 0}, /* it chose another server */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame f = request(3);
        uint8_t out[DHCP_FRAME_MAX];
        if (rows[i].requested)
            add(&f, 50, rows[i].requested);
        if (rows[i].server)
            add(&f, 54, rows[i].server);
        put32(f.b + 42 + 12, rows[i].client);
        size_t len = ask(&f, out);
        assert_int_equal(len ? *find(out, len, 53, 1) : 0, rows[i].answer);
        if (rows[i].answer == 6) {
            assert_int_equal(get32(out + 30), 0xffffffff);
            assert_null(find(out, len, 1, 4));
        }
    }
}

static void test_inform_gets_settings_but_no_lease(void **state)
{
    struct frame f = request(8);
    uint8_t out[DHCP_FRAME_MAX];

    put32(f.b + 42 + 12, ADDRESS);
    size_t len = ask(&f, out);
    assert_int_equal(*find(out, len, 53, 1), 5);
    assert_null(find(out, len, 51, 4));
    assert_int_equal(get32(out + 42 + 16), 0);
    assert_int_equal(get32(find(out, len, 3, 4)), GATEWAY);
}

static void test_broadcast_flag(void **state)
{
    struct frame f = request(1);
    uint8_t out[DHCP_FRAME_MAX];

    f.b[42 + 10] = 0x80;
    assert_true(ask(&f, out) > 0);
    assert_int_equal(out[0], 0xff);
    assert_int_equal(get32(out + 30), 0xffffffff);
}

static void test_others_get_no_answer(void **state)
{
    uint8_t out[DHCP_FRAME_MAX];
    static const struct {
        int at;
        uint8_t value;
    } faults[] = {
        {12, 0x86},     /* not IPv4 */
        {14, 0x65},     /* IP version 6 */
        {14, 0x44},     /* a header of 16 bytes */
        {14 + 6, 0x20}, /* a fragment */
        {14 + 9, 6},    /* TCP */
        {34 + 3, 68},   /* to the client's port */
        {42, 2},        /* a reply */
        {42 + 2, 16},   /* not Ethernet */
        {42 + 33, 9},   /* somebody else's MAC */
        {42 + 236, 0},  /* no magic cookie */
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct frame f = request(1);
        f.b[faults[i].at] = faults[i].value;
        assert_int_equal(ask(&f, out), 0);
    }
    for (uint8_t type = 0; type < 20; type++) {
        struct frame f = request(type);
        bool due = type == 1 || type == 3 || type == 8;
        assert_int_equal(ask(&f, out) > 0, due);
    }
}

/* Cut at every length: no answer unless the type was still there, and no read beyond (the sanitizer's part). */
static void test_short_frames(void **state)
{
    struct frame f = request(1);
    uint8_t out[DHCP_FRAME_MAX];

    assert_true(ask(&f, out) > 0);
    for (size_t len = 0; len < f.len; len++)
        assert_int_equal(dhcp_answer(&answers, f.b, len, out), 0);
    f.b[f.options + 1] = 200; /* an option longer than the frame */
    assert_int_equal(dhcp_answer(&answers, f.b, f.len, out), 0);
}

static void test_long_names_are_cut(void **state)
{
    struct dhcp_answers a = answers;
    char name[300];
    uint8_t out[DHCP_FRAME_MAX];
    struct frame f = request(1);

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    a.hostname = name;
    a.search = name;
    (void)ask(&f, out);
    size_t len = dhcp_answer(&a, f.b, f.len, out);
    assert_true(len > 0 && len < 700);
    assert_non_null(find(out, len, 12, 63));
}

static void test_macs(void **state)
{
    uint8_t mac[6];

    assert_true(dhcp_parse_mac("52:54:00:ab:CD:0f", mac));
    assert_memory_equal(mac, "\x52\x54\x00\xab\xcd\x0f", 6);
    assert_false(dhcp_parse_mac("52:54:00:ab:cd", mac));
    assert_false(dhcp_parse_mac("52:54:00:ab:cd:0f:00", mac));
    assert_false(dhcp_parse_mac("", mac));
    assert_false(dhcp_parse_mac(NULL, mac));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discover_is_offered_everything),
        cmocka_unit_test(test_the_ip_checksum_is_right),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_inform_gets_settings_but_no_lease),
        cmocka_unit_test(test_broadcast_flag),
        cmocka_unit_test(test_others_get_no_answer),
        cmocka_unit_test(test_short_frames),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_macs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

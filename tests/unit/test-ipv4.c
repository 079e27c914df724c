#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/ipv4.h"
#include "base/cleanup.h"

static void test_addresses(void **state)
{
    static const char *const bad[] = {"", "10.0.2", "10.0.2.256", "10.0.2.2 ", "10.0.2.2.1", "::1", "0x0a.0.0.1", NULL};
    uint32_t a = 7;
    char text[IPV4_TEXT];

    assert_true(ipv4_parse("10.0.2.2", &a));
    assert_int_equal(a, 0x0a000202);
    assert_string_equal(ipv4_format(0xffffffff, text), "255.255.255.255");
    a = 7;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(ipv4_parse(bad[i], &a));
    assert_int_equal(a, 7);
}

static void test_cidrs(void **state)
{
    static const char *const bad[] = {"10.0.2.0",
                                      "10.0.2.1/24",
                                      "10.0.2.0/33",
                                      "10.0.2.0/",
                                      "10.0.2.0/-1",
                                      "10.0.2.0/24x",
                                      "10.0.2.0/024",
                                      "/24",
                                      "1000000000000000000000.0.0.0/8",
                                      NULL};
    struct ipv4_cidr c = {0}, all;
    char text[IPV4_TEXT];

    assert_true(ipv4_parse_cidr("10.244.0.0/16", &c));
    assert_string_equal(ipv4_format_cidr(c, text), "10.244.0.0/16");
    assert_int_equal(ipv4_last(c), 0x0af4ffff);
    assert_true(ipv4_contains(c, 0x0af4ffff));
    assert_false(ipv4_contains(c, 0x0af50000));
    assert_true(ipv4_parse_cidr("0.0.0.0/0", &all));
    assert_true(ipv4_contains(all, 0xffffffff));
    assert_string_equal(ipv4_format_cidr(ipv4_host(0xfffffffe), text), "255.255.255.254/32");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(ipv4_parse_cidr(bad[i], &c));
    assert_true(ipv4_same(c, (struct ipv4_cidr){0x0af40000, 16}));
}

static void test_macs(void **state)
{
    static const char *const bad[] = {"",
                                      "52:54:00:ab:cd",
                                      "52:54:00:ab:cd:e",
                                      "52:54:00:ab:cd:ef:",
                                      "52-54-00-ab-cd-ef",
                                      "53:54:00:ab:cd:ef",
                                      "52:54:00:ab:cd:eg",
                                      "525400abcdef",
                                      NULL};
    const uint8_t want[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
    uint8_t mac[6] = {0};

    assert_true(mac_parse("52:54:00:AB:cd:ef", mac));
    assert_memory_equal(mac, want, 6);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(mac_parse(bad[i], mac));
    assert_memory_equal(mac, want, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_cidrs),
        cmocka_unit_test(test_macs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

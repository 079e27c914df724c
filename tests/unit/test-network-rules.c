#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/rules.h"
#include "base/cleanup.h"

static const struct pod_rules base = {
    .vm = 0x0af48007, .guest = 0x0a000202, .gateway = 0x0a000201, .pod = 0x0af40102, .vm_cidr = {0x0a000200, 24}};

static uint16_t checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)~sum;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* An ICMP error whose quoted source changes stays true when the compensation goes into the unused bits. */
static void check_compensation(uint32_t before, uint32_t after)
{
    uint8_t icmp[36] = {3, 4, 0, 0, 0, 0, 5, 120};

    for (size_t i = 8; i < sizeof(icmp); i++)
        icmp[i] = (uint8_t)rand();
    put32(icmp + 20, before);
    uint16_t sum = checksum(icmp, sizeof(icmp));
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    put32(icmp + 20, after);
    uint16_t c = rules_compensation(before, after);
    icmp[4] = (uint8_t)(c >> 8);
    icmp[5] = (uint8_t)c;
    assert_int_equal(checksum(icmp, sizeof(icmp)), 0);
}

static void test_compensation(void **state)
{
    srand(1);
    check_compensation(base.vm, base.guest);
    check_compensation(base.guest, base.vm);
    check_compensation(base.guest, base.guest);
    check_compensation(0xffffffff, 1);
    check_compensation(1, 0xffffffff);
    for (int i = 0; i < 10000; i++)
        check_compensation((uint32_t)rand() * 3, (uint32_t)rand() * 5);
}

static void test_pod(void **state)
{
    _cleanup_free_ char *text = rules_pod(&base);

    assert_non_null(strstr(text, "ip daddr set 10.0.2.2 accept"));
    assert_non_null(strstr(text, "ip saddr 10.0.2.2 ip saddr set 10.244.128.7 accept"));
    assert_non_null(strstr(text, "ip saddr != 10.0.2.2 drop"));
    assert_null(strstr(text, " ct "));
    assert_null(strstr(text, "asked"));
    assert_null(strstr(text, "chain to_guest {\n    tcp"));
}

static void test_ports(void **state)
{
    const struct pod_port both[] = {{IPPROTO_TCP, 22}, {IPPROTO_UDP, 53}, {IPPROTO_TCP, 80}},
                          udp[] = {{IPPROTO_UDP, 53}};
    struct pod_rules r = base;

    r.ports = both;
    r.n_ports = ARRAY_SIZE(both);
    _cleanup_free_ char *text = rules_pod(&r);
    assert_non_null(strstr(text, "== syn tcp dport != { 22, 80 } reject with tcp reset"));
    assert_non_null(
        strstr(text, "ip protocol udp udp dport != { 53 } ip saddr . udp sport . udp dport != @asked drop"));
    assert_non_null(strstr(text, "update @asked { ip daddr . udp dport . udp sport }"));
    /* A protocol without ports is closed as a whole. */
    r.ports = udp;
    r.n_ports = 1;
    _cleanup_free_ char *only = rules_pod(&r);
    assert_non_null(strstr(only, "== syn reject with tcp reset\n"));
}

static void test_node(void **state)
{
    struct ipv4_cidr cluster = {0x0af40000, 16}, subnet = {0x0a090000, 24};
    _cleanup_free_ char *direct = rules_node(cluster, &subnet), *vxlan = rules_node(cluster, NULL);

    assert_non_null(
        strstr(direct, "ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 224.0.0.0/4, 10.9.0.0/24 } masquerade"));
    assert_non_null(strstr(vxlan, "ip daddr != { 10.244.0.0/16, 224.0.0.0/4 } masquerade"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compensation),
        cmocka_unit_test(test_pod),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "cli/cluster/plan.h"

static void names_depend_on_the_folder_only(void **state)
{
    _cleanup_plan_ struct cluster_plan a = {0}, again = {0}, b = {0}, second = {0};
    char one[CLUSTER_NAME_MAX], other[CLUSTER_NAME_MAX];

    cluster_plan_make(&a, "/srv/a", 2, NULL, 0);
    cluster_plan_make(&again, "/srv/a", 5, "1gbit", 0);
    cluster_plan_make(&b, "/srv/b", 2, NULL, 0);
    cluster_plan_make(&second, "/srv/a", 2, NULL, 1);
    assert_string_equal(cluster_node_ns(&a, 1, one), cluster_node_ns(&again, 1, other));
    assert_int_equal(a.subnet, again.subnet);
    assert_string_not_equal(cluster_host_link(&a, one), cluster_host_link(&b, other));
    assert_string_not_equal(cluster_host_link(&a, one), cluster_host_link(&second, other));
    assert_int_not_equal(a.subnet, second.subnet);
}

/* 10,000 folders: subnets must be spread over the whole range, or clusters would meet by and by. */
static void subnets_are_spread(void **state)
{
    unsigned hits[CLUSTER_SUBNETS / 1024] = {0};

    for (unsigned i = 0; i < 10000; i++) {
        _cleanup_free_ char *dir = xasprintf("/tmp/pytest-%u/cluster", i);
        _cleanup_plan_ struct cluster_plan p = {0};
        cluster_plan_make(&p, dir, 1, NULL, 0);
        assert_true(p.subnet < CLUSTER_SUBNETS);
        hits[p.subnet / 1024]++;
    }
    for (size_t i = 0; i < sizeof(hits) / sizeof(hits[0]); i++)
        assert_in_range(hits[i], 450, 800);
}

static void names_fit_the_kernel(void **state)
{
    _cleanup_plan_ struct cluster_plan p = {0};
    char buf[CLUSTER_NAME_MAX];

    cluster_plan_make(&p, "/srv/a", CLUSTER_MAX_NODES, NULL, 0);
    assert_true(strlen(cluster_host_link(&p, buf)) < 16);
    assert_true(strlen(cluster_node_name(CLUSTER_MAX_NODES, buf)) < 16);
}

static void addresses_are_distinct_and_in_the_subnet(void **state)
{
    _cleanup_plan_ struct cluster_plan p = {0};
    char host[CLUSTER_NAME_MAX], first[CLUSTER_NAME_MAX], last[CLUSTER_NAME_MAX];

    cluster_plan_make(&p, "/srv/a", CLUSTER_MAX_NODES, NULL, 0);
    p.subnet = 16383;
    assert_string_equal(cluster_host_address(&p, host), "100.127.255.1");
    assert_string_equal(cluster_node_address(&p, 1, first), "100.127.255.11");
    assert_string_equal(cluster_node_address(&p, CLUSTER_MAX_NODES, last), "100.127.255.74");
    p.subnet = 0;
    assert_string_equal(cluster_host_address(&p, host), "100.64.0.1");
}

static void plan_survives_its_file(void **state)
{
    _cleanup_plan_ struct cluster_plan p = {0}, back = {0}, none = {0};

    cluster_plan_make(&p, "/srv/a", 3, "100mbit", 2);
    p.encrypted = true;
    p.certificate_lifetime = xstrdup("24h");
    _cleanup_free_ char *text = cluster_plan_encode(&p);
    assert_int_equal(cluster_plan_decode(&back, "/moved", text, strlen(text), NULL), 0);
    assert_string_equal(back.dir, "/moved");
    assert_string_equal(back.id, p.id);
    assert_int_equal(back.nodes, 3);
    assert_int_equal(back.subnet, p.subnet);
    assert_string_equal(back.link_rate, "100mbit");
    assert_true(back.encrypted);
    assert_string_equal(back.certificate_lifetime, "24h");

    static const char *const damaged[] = {"", "{}", "[1]", "{\"id\":\"abcdef\",\"nodes\":0,\"subnet\":1}",
                                          "{\"id\":\"abc\",\"nodes\":1,\"subnet\":1}",
                                          "{\"id\":\"abcdef\",\"nodes\":1,\"subnet\":16384}"};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
        assert_true(cluster_plan_decode(&none, "/x", damaged[i], strlen(damaged[i]), NULL) < 0);
}

static void agents_differ_where_they_must(void **state)
{
    _cleanup_plan_ struct cluster_plan p = {0};
    _cleanup_strv_ struct strv one = {0}, two = {0};
    size_t same = 0;

    cluster_plan_make(&p, "/srv/a", 2, NULL, 0);
    cluster_agent_argv(&p, "/bin/godwit", 1, &one);
    cluster_agent_argv(&p, "/bin/godwit", 2, &two);
    assert_int_equal(one.len, two.len);
    for (size_t i = 0; i < one.len; i++)
        same += strcmp(one.items[i], two.items[i]) == 0;
    assert_int_equal(one.len - same, 4); /* name, address, state, local volumes */
    assert_true(strv_has(&two, "--node=node2"));
}

static void rates_are_those_of_tc(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1gbit", 125000000}, {"100mbit", 12500000}, {"64kbit", 8000}, {"80bit", 10}};
    static const char *const bad[] = {"", "fast", "gbit", "1", "1 gbit", "-1mbit", "1.5gbit", "0mbit", "1gbits", "99999999999999gbit"};
    uint64_t rate = 0;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(cluster_rate_parse(good[i].text, &rate, NULL), 0);
        assert_int_equal(rate, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        assert_true(cluster_rate_parse(bad[i], &rate, &err) < 0);
        assert_non_null(strstr(gw_error_message(&err), "1gbit"));
    }
    assert_int_equal(cluster_rate_burst(125000000), 500000);
    assert_int_equal(cluster_rate_burst(8000), 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_depend_on_the_folder_only),
        cmocka_unit_test(subnets_are_spread),
        cmocka_unit_test(names_fit_the_kernel),
        cmocka_unit_test(addresses_are_distinct_and_in_the_subnet),
        cmocka_unit_test(plan_survives_its_file),
        cmocka_unit_test(agents_differ_where_they_must),
        cmocka_unit_test(rates_are_those_of_tc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/routes.h"

#define NODE(i) (0x0a090000u + (i)) /* 10.9.0.i */
#define POD_CIDR(i) ((struct ipv4_cidr){0x0af40000u + ((uint32_t)(i) << 8), 24})
#define VM 0x0af48007u
#define UNDERLAY 2
#define TUNNEL 9
#define LINK 5

static void add_peer(struct node_view_vec *peers, const char *name, unsigned i)
{
    node_view_vec_push(
        peers,
        (struct node_view){.node = xstrdup(name), .node_address = NODE(i), .pod_cidr = POD_CIDR(i), .serial = 100 + i});
}

static void announce(struct node_view *v, uint32_t address, int64_t epoch, enum address_state state)
{
    announced_vec_push(&v->addresses, (struct announced_address){address, xstrdup("default/a"), epoch, state});
}

static void observe(struct node_view *v, const char *node, int64_t serial)
{
    observed_vec_push(&v->observed, (struct observed_peer){xstrdup(node), serial});
}

/* Node n1 with peers n2 and n3 on the same link. */
struct world {
    struct node_view_vec peers;
    struct routes_input in;
    struct route_vec out;
};

static int set_up(void **state)
{
    struct world *w = xnew(struct world);

    add_peer(&w->peers, "n2", 2);
    add_peer(&w->peers, "n3", 3);
    w->in = (struct routes_input){.node = "n1",
                                  .node_address = NODE(1),
                                  .subnet = {NODE(0), 24},
                                  .pod_cidr = POD_CIDR(1),
                                  .underlay = UNDERLAY,
                                  .peers = &w->peers};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    node_views_done(&w->peers);
    local_vec_done(&w->in.locals);
    route_vec_done(&w->out);
    free(w);
    return 0;
}

static void decide(struct world *w)
{
    w->out.len = 0;
    routes_decide(&w->in, &w->out);
}

static const struct route *find(const struct world *w, struct ipv4_cidr to, uint32_t table)
{
    const struct route *found = NULL;

    VEC_EACH (&w->out, r)
        if (r->table == table && ipv4_same(r->to, to)) {
            assert_null(found);
            found = r;
        }
    return found;
}

static void assert_via(const struct world *w, struct ipv4_cidr to, unsigned i)
{
    const struct route *r = find(w, to, ROUTE_TABLE_MAIN);

    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_VIA);
    assert_int_equal(r->gateway, NODE(i));
    assert_int_equal(r->link, UNDERLAY);
    assert_int_equal(r->source, NODE(1));
}

static void assert_pod(const struct world *w, uint32_t address, uint32_t table)
{
    const struct route *r = find(w, ipv4_host(address), table);

    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_LINK);
    assert_int_equal(r->link, LINK);
}

static void hold(struct world *w, enum address_state state, int64_t epoch)
{
    w->in.locals.len = 0;
    local_vec_push(&w->in.locals, (struct local_address){.address = VM,
                                                         .state = state,
                                                         .epoch = epoch,
                                                         .link = LINK,
                                                         .target_node = "n3",
                                                         .pod_address = POD_CIDR(1).address + 2});
}

static void test_peers(void **state)
{
    struct world *w = *state;

    announce(&w->peers.items[0], VM, 0, ADDRESS_ACTIVE);
    decide(w);
    assert_via(w, POD_CIDR(2), 2);
    assert_via(w, POD_CIDR(3), 3);
    assert_via(w, ipv4_host(VM), 2);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_ARRIVING));
    assert_int_equal(find(w, POD_CIDR(1), ROUTE_TABLE_MAIN)->kind, ROUTE_BLACKHOLE);
    assert_int_equal(w->out.len, 4);
}

/* The whole move as this node sees it: as target, then as source. */
static void test_target(void **state)
{
    struct world *w = *state;

    announce(&w->peers.items[0], VM, 3, ADDRESS_ACTIVE);
    hold(w, ADDRESS_HOLDING, 0);
    decide(w);
    assert_via(w, ipv4_host(VM), 2);
    assert_pod(w, VM, ROUTE_TABLE_ARRIVING);
    assert_pod(w, POD_CIDR(1).address + 2, ROUTE_TABLE_MAIN);
    hold(w, ADDRESS_ACTIVE, 4);
    decide(w);
    assert_pod(w, VM, ROUTE_TABLE_MAIN);
    assert_pod(w, VM, ROUTE_TABLE_ARRIVING);
}

static void test_source(void **state)
{
    struct world *w = *state;

    hold(w, ADDRESS_FORWARDING, 3);
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_ARRIVING));
    announce(&w->peers.items[1], VM, 4, ADDRESS_ACTIVE);
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    /* The VM moves on before everybody has heard of its first move. */
    announce(&w->peers.items[0], VM, 5, ADDRESS_ACTIVE);
    decide(w);
    assert_via(w, ipv4_host(VM), 2);
    hold(w, ADDRESS_GONE, 3);
    decide(w);
    assert_via(w, ipv4_host(VM), 2);
}

/* Nobody but the blackhole or the default route takes packets for a target that is not known any more. */
static void test_target_lost(void **state)
{
    struct world *w = *state;

    hold(w, ADDRESS_FORWARDING, 3);
    w->in.locals.items[0].target_node = "n9";
    decide(w);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_MAIN));
}

/* The namespace of a pod that has ended goes a little before its note. */
static void test_link_gone(void **state)
{
    struct world *w = *state;

    hold(w, ADDRESS_ACTIVE, 3);
    w->in.locals.items[0].link = 0;
    decide(w);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_MAIN));
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_ARRIVING));
    assert_via(w, POD_CIDR(2), 2);
}

static void test_epochs(void **state)
{
    struct world *w = *state;

    announce(&w->peers.items[0], VM, 7, ADDRESS_FORWARDING);
    announce(&w->peers.items[1], VM, 8, ADDRESS_ACTIVE);
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    w->peers.items[0].addresses.items[0].epoch = 9;
    decide(w);
    assert_via(w, ipv4_host(VM), 2);
    w->peers.items[0].addresses.items[0].epoch = 8; /* equal: Active wins */
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    w->peers.items[0].addresses.items[0].state = ADDRESS_ACTIVE; /* equal again: the greater name, on all nodes */
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    hold(w, ADDRESS_ACTIVE, 7); /* an own claim of the past does not count */
    decide(w);
    assert_via(w, ipv4_host(VM), 3);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_ARRIVING));
}

static void test_tunnel(void **state)
{
    struct world *w = *state;

    assert_false(routes_need_tunnel(&w->in));
    w->peers.items[0].node_address = 0x0a090102; /* another subnet */
    assert_true(routes_need_tunnel(&w->in));
    announce(&w->peers.items[0], VM, 0, ADDRESS_ACTIVE);
    decide(w);
    assert_null(find(w, ipv4_host(VM), ROUTE_TABLE_MAIN)); /* no device yet */
    w->in.tunnel = TUNNEL;
    decide(w);
    const struct route *r = find(w, ipv4_host(VM), ROUTE_TABLE_MAIN);
    assert_int_equal(r->kind, ROUTE_TUNNEL);
    assert_int_equal(r->link, TUNNEL);
    assert_int_equal(r->gateway, 0x0a090102);
    assert_int_equal(r->source, POD_CIDR(1).address + 1);
    assert_int_equal(r->tunnel_source, NODE(1));
    assert_via(w, POD_CIDR(3), 3);
    w->peers.items[1].vxlan = true;
    decide(w);
    assert_int_equal(find(w, POD_CIDR(3), ROUTE_TABLE_MAIN)->kind, ROUTE_TUNNEL);
}

static void test_all_know(void **state)
{
    struct world *w = *state;
    struct node_view *n2 = &w->peers.items[0];

    assert_false(routes_all_know(&w->peers, "n3", VM, 3)); /* not announced yet */
    announce(&w->peers.items[1], VM, 3, ADDRESS_ACTIVE);
    assert_false(routes_all_know(&w->peers, "n3", VM, 3)); /* that is an older stay there */
    w->peers.items[1].addresses.items[0].epoch = 4;
    assert_false(routes_all_know(&w->peers, "n3", VM, 3)); /* n2 has observed nothing */
    observe(n2, "n3", 102);
    assert_false(routes_all_know(&w->peers, "n3", VM, 3)); /* an older serial */
    n2->observed.items[0].serial = 103;
    assert_true(routes_all_know(&w->peers, "n3", VM, 3));
    assert_false(routes_all_know(&w->peers, "n9", VM, 3));
}

static struct route some_route(uint32_t to, uint32_t gateway, uint32_t table)
{
    return (struct route){.to = ipv4_host(to), .table = table, .kind = ROUTE_VIA, .link = 1, .gateway = gateway};
}

/* Applying the difference of two random sets to the first gives the second. */
static void test_diff(void **state)
{
    srand(7);
    for (int round = 0; round < 500; round++) {
        struct route_vec have = {0}, want = {0}, put = {0}, removed = {0};
        for (uint32_t to = 0; to < 20; to++) {
            uint32_t table = rand() % 2 ? ROUTE_TABLE_MAIN : ROUTE_TABLE_ARRIVING;
            if (rand() % 2)
                route_vec_push(&have, some_route(to * 7 % 20, rand() % 2, table));
            if (rand() % 2)
                route_vec_push(&want, some_route(to * 11 % 20, rand() % 2, table));
        }
        struct route kernel[2][20] = {0};
        VEC_EACH (&have, r)
            kernel[r->table == ROUTE_TABLE_MAIN][r->to.address] = *r;
        routes_diff(&have, &want, &put, &removed);
        VEC_EACH (&put, r)
            kernel[r->table == ROUTE_TABLE_MAIN][r->to.address] = *r;
        VEC_EACH (&removed, r)
            kernel[r->table == ROUTE_TABLE_MAIN][r->to.address] = (struct route){0};
        size_t left = 0;
        for (int i = 0; i < 40; i++)
            left += kernel[i / 20][i % 20].table != 0;
        assert_int_equal(left, want.len);
        VEC_EACH (&want, r)
            assert_true(route_same(r, &kernel[r->table == ROUTE_TABLE_MAIN][r->to.address]));
        assert_true(put.len <= want.len && removed.len <= have.len);
        route_vec_done(&have);
        route_vec_done(&want);
        route_vec_done(&put);
        route_vec_done(&removed);
    }
}

static void test_pick_address(void **state)
{
    struct ipv4_cidr cidr = {0x0a000000, 29};
    uint32_t used[] = {0x0a000002, 0x0a000004, 0x0a000005, 0x0a000006, 0x0a000003};

    assert_int_equal(routes_pick_address(cidr, used, 0), 0x0a000002);
    assert_int_equal(routes_pick_address(cidr, used, 2), 0x0a000003);
    assert_int_equal(routes_pick_address(cidr, used, 5), 0); /* neither broadcast nor the node's own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_peers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_target_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_link_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_epochs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tunnel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_know, set_up, tear_down),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_pick_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

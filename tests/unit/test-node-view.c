#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/node_view.h"

static int read_text(const char *text, struct node_view *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, err), 0);
    return node_view_read(yyjson_doc_get_root(doc), ret, err);
}

static void test_round_trip(void **state)
{
    const char *text =
        "{\"metadata\":{\"name\":\"n1\"},\"spec\":{\"nodeAddress\":\"10.9.0.1\",\"podCIDR\":\"10.244.1.0/24\","
        "\"link\":\"direct\",\"serial\":42,\"addresses\":[{\"address\":\"10.244.128.7\",\"vmi\":\"default/"
        "a\",\"epoch\":3,"
        "\"state\":\"Forwarding\"},{\"address\":\"10.244.128.8\",\"vmi\":\"default/"
        "b\",\"epoch\":0,\"state\":\"Active\"}]},"
        "\"status\":{\"observed\":{\"n2\":7,\"n3\":9}}}";
    _cleanup_mut_doc_ yyjson_mut_doc *doc = json_object();
    struct node_view v;

    assert_int_equal(read_text(text, &v, NULL), 0);
    assert_string_equal(v.node, "n1");
    assert_false(v.vxlan);
    assert_int_equal(v.addresses.len, 2);
    assert_int_equal(node_view_address(&v, 0x0af48007)->state, ADDRESS_FORWARDING);
    assert_null(node_view_address(&v, 0x0af48009));
    assert_int_equal(node_view_observed(&v, "n3"), 9);
    assert_int_equal(node_view_observed(&v, "n4"), -1);
    json_set_str(doc, "/metadata/name", v.node);
    node_view_write_spec(&v, doc, "/spec");
    node_view_write_status(&v, doc, "/status");
    _cleanup_free_ char *again = json_text(yyjson_mut_doc_get_root(doc));
    assert_string_equal(again, text);
    node_view_done(&v);
}

/* Objects of others may be anything the schema allows, or older than it. */
static void test_foreign(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct node_view v;

    assert_true(read_text("{\"metadata\":{\"name\":\"n1\"},\"spec\":{\"nodeAddress\":\"fd00::1\"}}", &v, &err) < 0);
    assert_non_null(strstr(gw_error_message(&err), "spec.nodeAddress"));
    assert_true(read_text("{\"spec\":{\"nodeAddress\":\"10.0.0.1\"}}", &v, &err) < 0);
    assert_true(read_text("[]", &v, &err) < 0);
    assert_int_equal(
        read_text("{\"metadata\":{\"name\":\"n1\"},\"spec\":{\"nodeAddress\":\"10.9.0.1\",\"podCIDR\":5,"
                  "\"addresses\":[{\"address\":\"nonsense\"},7,{\"address\":\"10.0.0.1\",\"state\":\"Holding\"},"
                  "{\"address\":\"10.0.0.2\"}]},\"status\":{\"observed\":[]}}",
                  &v, &err),
        0);
    assert_true(v.vxlan);
    assert_int_equal(v.pod_cidr.len, 0);
    assert_int_equal(v.addresses.len, 1);
    assert_int_equal(v.addresses.items[0].address, 0x0a000002);
    assert_int_equal(v.observed.len, 0);
    node_view_done(&v);
}

static void test_find(void **state)
{
    struct node_view_vec all = {0};

    node_view_vec_push(&all, (struct node_view){.node = xstrdup("a")});
    node_view_vec_push(&all, (struct node_view){.node = xstrdup("b")});
    assert_ptr_equal(node_view_find(&all, "b"), &all.items[1]);
    assert_null(node_view_find(&all, "c"));
    node_views_done(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

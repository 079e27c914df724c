/* Objects of users' own kinds belong to owners and namespaces like all others, from the moment their definition is
 * served until it goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "controllers/kubernetes.h"
#include "sim.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define WIDGETS "/apis/example.com/v1/namespaces/default/widgets"

static const char definition[] =
    "{\"metadata\":{\"name\":\"widgets.example.com\"},\"spec\":{\"group\":\"example.com\",\"scope\":\"Namespaced\","
    "\"names\":{\"plural\":\"widgets\",\"singular\":\"widget\",\"kind\":\"Widget\",\"listKind\":\"WidgetList\"},"
    "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}";

static const struct controller *const table[] = {&gc_controller, &namespace_controller, &crd_controller, NULL};

static struct {
    struct sim *s;
    struct env *env;
    struct controllers *cs;
} test;

static void start_controllers(void)
{
    test.env = sim_process(test.s, "controllers", "system:masters");
    test.cs = controllers_start(test.env, table);
    sim_run(test.s, 1000);
}

static void stop_controllers(void)
{
    test.cs = controllers_stop(test.cs);
    test.env = sim_process_end(test.env);
}

static int start(void **state)
{
    test.s = sim_new(&(struct sim_config){.seed = 1, .delay_ms = {1, 5}});
    start_controllers();
    return 0;
}

static int stop(void **state)
{
    stop_controllers();
    sim_free(test.s);
    return 0;
}

static bool there(const char *target)
{
    _cleanup_doc_ yyjson_doc *doc = sim_get(test.s, target);

    return doc != NULL;
}

/* An object at LIST/name that belongs to owner (another object's target) or to nobody. */
static void make(const char *list, const char *name, const char *owner)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_doc_ yyjson_doc *o = owner ? sim_get(test.s, owner) : NULL;

    json_set_str(d, "/metadata/name", name);
    if (o)
        meta_add_owner(d, yyjson_doc_get_root(o), false, true);
    _cleanup_blob_ struct blob *text = json_encode(yyjson_mut_doc_get_root(d));
    sim_post(test.s, list, text->data);
}

static void make_family(void)
{
    make(WIDGETS, "w", NULL);
    make(WIDGETS, "child", WIDGETS "/w");
    make(MAPS, "child", WIDGETS "/child");
    make(WIDGETS, "stranger", NULL);
    make(MAPS, "stranger", NULL);
    sim_run(test.s, 1000);
}

static void expect_strangers_only(void)
{
    assert_int_equal(sim_count(test.s, WIDGETS, NULL, NULL), 1);
    assert_true(there(WIDGETS "/stranger"));
    assert_false(there(MAPS "/child"));
    assert_true(there(MAPS "/stranger"));
}

static void test_owners_and_dependents(void **state)
{
    sim_define(test.s, definition);
    make_family();
    sim_delete(test.s, WIDGETS "/w?propagationPolicy=Background");
    sim_run(test.s, 10000);
    expect_strangers_only();
}

static void test_definition_older_than_the_controllers(void **state)
{
    stop_controllers();
    sim_define(test.s, definition);
    make_family();
    sim_delete(test.s, WIDGETS "/w?propagationPolicy=Background");
    start_controllers();
    sim_run(test.s, 10000);
    expect_strangers_only();
}

static void test_foreground_deletion(void **state)
{
    sim_define(test.s, definition);
    make_family();
    sim_patch(test.s, MAPS "/child", "{\"metadata\":{\"finalizers\":[\"test/hold\"]}}");
    yyjson_doc_free(sim_do(test.s, 200, "DELETE", WIDGETS "/w?propagationPolicy=Foreground", NULL));
    sim_run(test.s, 10000);
    assert_true(there(WIDGETS "/w"));
    sim_patch(test.s, MAPS "/child", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(test.s, 10000);
    expect_strangers_only();
}

/* What belonged to objects of a kind that is gone goes; a kind that comes back is followed again. */
static void test_definition_goes_and_comes_back(void **state)
{
    sim_define(test.s, definition);
    make_family();
    sim_undefine(test.s, "widgets.example.com");
    sim_run(test.s, 10000);
    assert_false(there(MAPS "/child"));
    assert_true(there(MAPS "/stranger"));
    yyjson_doc_free(sim_do(test.s, 200, "DELETE", MAPS "/stranger", NULL));
    sim_define(test.s, definition);
    sim_run(test.s, 1000);
    make_family();
    sim_delete(test.s, WIDGETS "/w?propagationPolicy=Background");
    sim_run(test.s, 10000);
    expect_strangers_only();
}

/* As kubectl delete crd sees it: the definition stays until the last object has gone. */
static void test_definition_takes_its_objects_along(void **state)
{
    static const char crd[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    char text[200];

    sim_define(test.s, definition);
    sim_run(test.s, 1000);
    make_family();
    sim_post(test.s, WIDGETS, "{\"metadata\":{\"name\":\"held\",\"finalizers\":[\"test/hold\"]}}");
    sim_delete(test.s, crd);
    sim_run(test.s, 5000);
    assert_int_equal(sim_count(test.s, WIDGETS, NULL, NULL), 1);
    assert_false(there(MAPS "/child"));
    assert_string_equal(sim_str(test.s, crd, "/status/conditions/1/type", text, sizeof(text)), "Terminating");
    assert_string_equal(sim_str(test.s, crd, "/status/conditions/1/message", text, sizeof(text)),
                        "CustomResource deletion is in progress: 1 object is left");
    sim_patch(test.s, WIDGETS "/held", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(test.s, 5000);
    assert_false(there(crd));
    assert_true(there(MAPS "/stranger"));
}

/* A second definition of the same kind, which was never served, has no objects to take along. */
static void test_definition_leaves_the_objects_of_another(void **state)
{
    static const char crds[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                      crd[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.com";

    sim_define(test.s, definition);
    sim_run(test.s, 1000);
    sim_post(test.s, WIDGETS, "{\"metadata\":{\"name\":\"stays\"}}");
    sim_post(test.s, crds,
             "{\"metadata\":{\"name\":\"gadgets.example.com\"},\"spec\":{\"group\":\"example.com\",\"scope\":\"Namespaced\","
             "\"names\":{\"plural\":\"gadgets\",\"kind\":\"Widget\"},\"versions\":[{\"name\":\"v1\",\"served\":true,"
             "\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}");
    sim_run(test.s, 1000);
    sim_delete(test.s, crd);
    sim_run(test.s, 5000);
    assert_false(there(crd));
    assert_true(there(WIDGETS "/stays"));
}

static void test_namespace_takes_them_along(void **state)
{
    static const char ns[] = "/api/v1/namespaces/lab", widgets[] = "/apis/example.com/v1/namespaces/lab/widgets";
    char message[200];

    sim_define(test.s, definition);
    sim_post(test.s, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"lab\"}}");
    sim_post(test.s, widgets, "{\"metadata\":{\"name\":\"a\"}}");
    sim_post(test.s, widgets, "{\"metadata\":{\"name\":\"held\",\"finalizers\":[\"test/hold\"]}}");
    sim_delete(test.s, ns);
    sim_run(test.s, 5000);
    assert_string_equal(sim_str(test.s, ns, "/status/conditions/0/message", message, sizeof(message)),
                        "Some resources are remaining: widgets.example.com has 1 resource instances");
    sim_patch(test.s, "/apis/example.com/v1/namespaces/lab/widgets/held", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(test.s, 5000);
    assert_false(there(ns));
    assert_int_equal(sim_count(test.s, "/apis/example.com/v1/widgets", NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_owners_and_dependents, start, stop),
        cmocka_unit_test_setup_teardown(test_definition_older_than_the_controllers, start, stop),
        cmocka_unit_test_setup_teardown(test_foreground_deletion, start, stop),
        cmocka_unit_test_setup_teardown(test_definition_goes_and_comes_back, start, stop),
        cmocka_unit_test_setup_teardown(test_definition_takes_its_objects_along, start, stop),
        cmocka_unit_test_setup_teardown(test_definition_leaves_the_objects_of_another, start, stop),
        cmocka_unit_test_setup_teardown(test_namespace_takes_them_along, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

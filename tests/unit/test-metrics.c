/* metrics.k8s.io over the real API: whose figures count, how long, and what is absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "server/metrics.h"
#include "server-fixture.h"

#define METRICS "/apis/metrics.k8s.io/v1beta1"
#define USAGE "{\"cpuNano\":1500000000,\"memory\":2097152,\"windowMs\":15000}"

static int64_t now_ms = 1000000;

static int64_t test_now(void *data)
{
    return now_ms;
}

static const struct rest_extra *const extras[] = {metrics_extras, NULL};

static int setup(void **state)
{
    struct fixture *f = fixture_new();

    fixture_populate(f);
    f->rest.extras = extras;
    f->rest.metrics = metrics_new();
    f->rest.now = test_now;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    metrics_free(f->rest.metrics);
    fixture_free(f);
    return 0;
}

static char *pod_uid(struct fixture *f)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(fixture_call(f, "a", "system:masters", "GET", "/api/v1/namespaces/default/pods/p", NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return xstrdup(meta_uid(yyjson_doc_get_root(doc)));
}

/* The agent of `by` says what `node` and the pod p use. */
static int say(struct fixture *f, const char *by, const char *node)
{
    _cleanup_free_ char *uid = pod_uid(f), *user = xasprintf("system:node:%s", by), *text = NULL;
    _cleanup_free_ char *body = xasprintf("{\"node\":" USAGE ",\"pods\":{\"%s\":" USAGE "}}", uid);
    _cleanup_free_ char *target = xasprintf(METRICS "/nodes/%s/status", node);

    return fixture_call(f, user, "system:nodes", "PUT", target, body, &text);
}

static void expect(struct fixture *f, const char *target, int status, const char *part)
{
    _cleanup_free_ char *text = NULL;

    assert_int_equal(fixture_call(f, "a", "system:masters", "GET", target, NULL, &text), status);
    if (!strstr(text, part))
        fail_msg("%s: %s", target, text);
}

static void figures_of_nodes_and_pods(void **state)
{
    static const char usage[] = "\"usage\":{\"cpu\":\"1500000000n\",\"memory\":\"2048Ki\"}";
    struct fixture *f = *state;

    expect(f, METRICS "/nodes", 200, "\"items\":[]");
    expect(f, METRICS "/nodes/node-a", 404, "nodemetrics.metrics.k8s.io \\\"node-a\\\" not found");
    assert_int_equal(say(f, "node-a", "node-a"), 200);
    expect(f, METRICS "/nodes", 200, usage);
    expect(f, METRICS "/nodes", 200, "\"kind\":\"NodeMetricsList\"");
    expect(f, METRICS "/nodes/node-a", 200, "\"window\":\"15000ms\"");
    expect(f, METRICS "/nodes/node-c", 404, "not found");
    expect(f, METRICS "/pods", 200, usage);
    expect(f, METRICS "/namespaces/default/pods?labelSelector=kubevirt.io%3Dvirt-launcher", 200, "\"name\":\"compute\"");
    expect(f, METRICS "/namespaces/default/pods?labelSelector=a%3Db", 200, "\"items\":[]");
    expect(f, METRICS "/namespaces/other/pods", 200, "\"items\":[]");
    expect(f, METRICS "/namespaces/default/pods/p", 200, "\"kind\":\"PodMetrics\"");
    expect(f, METRICS "/namespaces/default/pods/q", 404, "podmetrics.metrics.k8s.io \\\"default/q\\\" not found");
}

static void old_figures_are_none(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(say(f, "node-a", "node-a"), 200);
    now_ms += 60000;
    expect(f, METRICS "/nodes", 200, "\"items\":[]");
    expect(f, METRICS "/namespaces/default/pods/p", 404, "not found");
}

static void only_a_nodes_agent_tells_of_it(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL;

    assert_int_equal(say(f, "node-c", "node-a"), 403);
    assert_int_equal(say(f, "node-c", "node-c"), 200); /* what it says of a pod of node-a counts for nothing */
    expect(f, METRICS "/nodes/node-c", 200, "NodeMetrics");
    expect(f, METRICS "/namespaces/default/pods/p", 404, "not found");
    assert_int_equal(fixture_call(f, "a", "system:masters", "PUT", METRICS "/nodes/node-a/status", "{}", &text), 403);
}

static void nonsense_is_refused(void **state)
{
    static const char *const bodies[] = {"", "{}", "{\"node\":{\"cpuNano\":-1,\"memory\":1,\"windowMs\":1}}",
                                         "{\"node\":" USAGE ",\"pods\":{\"u\":{}}}"};

    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        _cleanup_free_ char *text = NULL;

        assert_int_equal(fixture_call(*state, "system:node:node-a", "system:nodes", "PUT", METRICS "/nodes/node-a/status",
                                      bodies[i], &text), 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(figures_of_nodes_and_pods, setup, teardown),
        cmocka_unit_test_setup_teardown(old_figures_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(only_a_nodes_agent_tells_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

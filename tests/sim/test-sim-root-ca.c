/* ConfigMap kube-root-ca.crt: in every namespace, as long as it is one, and as the server's own says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"

#define SOURCE "/api/v1/namespaces/kube-system/configmaps"
#define LAB "/api/v1/namespaces/lab"
#define MAP LAB "/configmaps/kube-root-ca.crt"
#define DATA "/data/ca.crt"

static void make_namespace(struct cluster *c, const char *name)
{
    _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"%s\"}}", name);

    yyjson_doc_free(sim_do(c->s, 0, "POST", "/api/v1/namespaces", body));
    sim_run(c->s, 5000);
}

static struct cluster *set_up(void)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_namespace(c, "kube-system");
    make_namespace(c, "lab");
    assert_string_equal(cluster_str(c, MAP, "/metadata/name"), ""); /* nothing is known yet */
    sim_post(c->s, SOURCE, "{\"metadata\":{\"name\":\"godwit-ca\"},\"data\":{\"cluster-ca.crt\":\"one\"}}");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, MAP, DATA), "one");
    return c;
}

static void test_it_follows_the_authority(void **state)
{
    struct cluster *c = set_up();

    assert_string_not_equal(cluster_str(c, MAP, "/metadata/annotations/kubernetes.io~1description"), "");
    sim_patch(c->s, SOURCE "/godwit-ca", "{\"data\":{\"cluster-ca.crt\":\"one two\"}}"); /* a roll-over */
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, MAP, DATA), "one two");
    cluster_free(c);
}

static void test_it_is_made_again(void **state)
{
    struct cluster *c = set_up();

    sim_patch(c->s, MAP, "{\"data\":{\"ca.crt\":\"mine\"}}");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, MAP, DATA), "one");
    sim_delete(c->s, MAP);
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, MAP, DATA), "one");
    cluster_free(c);
}

static void test_it_comes_and_goes_with_its_namespace(void **state)
{
    struct cluster *c = set_up();

    sim_delete(c->s, LAB);
    sim_run(c->s, 10000);
    assert_string_equal(cluster_str(c, LAB, "/metadata/name"), "");
    make_namespace(c, "lab");
    assert_string_equal(cluster_str(c, MAP, DATA), "one");
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_follows_the_authority),
        cmocka_unit_test(test_it_is_made_again),
        cmocka_unit_test(test_it_comes_and_goes_with_its_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

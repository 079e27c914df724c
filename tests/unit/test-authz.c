#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server-fixture.h"

#define NODE_A "system:node:node-a"
#define NODE_B "system:node:node-b"
#define NODE_C "system:node:node-c"
#define PODS "/api/v1/namespaces/default/pods"
#define SECRETS "/api/v1/namespaces/default/secrets"

struct row {
    const char *user, *method, *target, *body;
    int status;
};

static void run(struct fixture *f, const char *group, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *text = NULL;
        int status = fixture_call(f, rows[i].user, group, rows[i].method, rows[i].target, rows[i].body, &text);

        if (status != rows[i].status)
            fail_msg("%s %s %s: %d instead of %d: %s", rows[i].user, rows[i].method, rows[i].target, status,
                     rows[i].status, text);
    }
}

static void strangers_may_do_nothing(void **state)
{
    static const struct row rows[] = {
        {"alice", "GET", "/api/v1/nodes", NULL, 403},       {"alice", "GET", PODS "/p", NULL, 403},
        {"alice", "POST", "/api/v1/namespaces", "{}", 403}, {"alice", "DELETE", FIXTURE_VMIS "/vm1", NULL, 403},
        {NODE_A, "GET", "/api/v1/nodes/node-a", NULL, 403}, /* the name alone makes no agent */
    };

    run(*state, "dev", rows, ARRAY_SIZE(rows));
}

static void refusals_are_worded_as_in_kubernetes(void **state)
{
    _cleanup_free_ char *text = NULL;

    assert_int_equal(fixture_call(*state, "viewer", "dev", "GET",
                                  "/apis/kubevirt.io/v1/namespaces/default/virtualmachines", NULL, &text),
                     403);
    assert_non_null(
        strstr(text, "virtualmachines.kubevirt.io is forbidden: User \\\"viewer\\\" cannot list resource "
                     "\\\"virtualmachines\\\" in API group \\\"kubevirt.io\\\" in the namespace \\\"default\\\""));
    assert_non_null(strstr(text, "\"details\":{\"group\":\"kubevirt.io\",\"kind\":\"virtualmachines\"}"));
}

static void masters_and_controllers_may_do_all(void **state)
{
    assert_int_equal(fixture_call(*state, "x", "system:masters", "GET", "/api/v1/nodes", NULL, NULL), 200);
    assert_int_equal(fixture_call(*state, "x", "system:godwit:controllers", "GET", "/api/v1/nodes", NULL, NULL), 200);
}

#define WITHDRAW "\"status\":{\"migrationState\":{\"handover\":{\"withdraw\":{\"epoch\":1}}}}}"

static void declare_dead(struct fixture *f, bool dead)
{
    const char *patch = dead ? "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"effect\":\"NoExecute\"}]}}"
                             : "{\"spec\":{\"taints\":null}}";

    assert_int_equal(fixture_call(f, "root", "system:masters", "PATCH", "/api/v1/nodes/node-a", patch, NULL), 200);
}

/* The controllers say that a node is dead; the server looks for itself. */
static void controllers_stand_in_for_the_dead_only(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL;

    assert_int_equal(fixture_call(f, "c", "system:godwit:controllers", "PATCH", FIXTURE_VMIS "/vm1", "{" WITHDRAW, &text), 403);
    assert_non_null(strstr(text, "source's node is declared dead"));
    declare_dead(f, true);
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm1", "{" WITHDRAW), 200);
}

/* Once the rules have allowed the write, and before it is made, the node is well again. */
static int authorize_then_recover(void *data, const struct api_user *user, const struct rest_target *target,
                                  yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    struct rest_server *s = data;
    int r = authz_check(data, user, target, old, object, err);

    if (r == 0 && old && object) {
        s->authorize = authz_check;
        declare_dead((struct fixture *)((char *)s - offsetof(struct fixture, rest)), false);
    }
    return r;
}

static void what_a_write_rests_on_holds_when_it_is_made(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL, *demanding = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    assert_int_equal(fixture_call(f, "root", "system:masters", "GET", FIXTURE_VMIS "/vm1", NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &vmi, NULL), 0);
    demanding = xasprintf("{\"metadata\":{\"resourceVersion\":\"%s\"}," WITHDRAW,
                          json_str(yyjson_doc_get_root(vmi), "/metadata/resourceVersion"));
    declare_dead(f, true);
    f->rest.authorize = authorize_then_recover;
    assert_int_equal(fixture_call(f, "c", "system:godwit:controllers", "PATCH", FIXTURE_VMIS "/vm1", demanding, NULL), 409);
    declare_dead(f, true);
    f->rest.authorize = authorize_then_recover; /* and one that takes any version is judged anew */
    assert_int_equal(fixture_call(f, "c", "system:godwit:controllers", "PATCH", FIXTURE_VMIS "/vm1", "{" WITHDRAW, NULL), 403);
}

#define CLAIM "/api/v1/namespaces/default/persistentvolumeclaims/c"

/* Late caches of the controllers do not take a disk from a VM that uses it. */
static void a_claim_in_use_is_given_to_nobody_else(void **state)
{
    static const char attached[] = "{\"status\":{\"volumeStatus\":[{\"name\":\"hot\",\"target\":\"sda\","
                                   "\"hotplugVolume\":{},\"persistentVolumeClaimInfo\":{\"claimName\":\"c\"}}]}}",
                      other[] = "{\"metadata\":{\"annotations\":{\"godwit.io/used-by\":\"vm2/u2\"}}}";
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL, *given = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    assert_int_equal(fixture_call(f, "root", "system:masters", "GET", FIXTURE_VMIS "/vm1", NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &vmi, NULL), 0);
    given = xasprintf("{\"metadata\":{\"annotations\":{\"godwit.io/used-by\":\"vm1/%s\"}}}",
                      json_str(yyjson_doc_get_root(vmi), "/metadata/uid"));
    assert_int_equal(fixture_admin(f, "POST", "/api/v1/namespaces/default/persistentvolumeclaims",
                                   "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}"), 201);
    assert_int_equal(fixture_admin(f, "PATCH", CLAIM, given), 200);
    assert_int_equal(fixture_admin(f, "PATCH", CLAIM, other), 200); /* vm1 does not name it */
    assert_int_equal(fixture_admin(f, "PATCH", CLAIM, given), 200); /* vm2 is not there */
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm1", attached), 200);
    free(text);
    assert_int_equal(fixture_call(f, "c", "system:godwit:controllers", "PATCH", CLAIM, other, &text), 403);
    assert_non_null(strstr(text, "virtual machine instance vm1 uses it"));
    f->rest.authorize = NULL;
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm1", "{\"status\":{\"phase\":\"Failed\"}}"), 200);
    f->rest.authorize = authz_check;
    assert_int_equal(fixture_admin(f, "PATCH", CLAIM, other), 200);
}

static void an_agent_sees_to_its_own_node(void **state)
{
    static const struct row rows[] = {
        {NODE_A, "GET", "/api/v1/nodes/node-a", NULL, 200},
        {NODE_A, "GET", "/api/v1/nodes/node-c", NULL, 403},
        {NODE_A, "GET", "/api/v1/nodes", NULL, 403},
        {NODE_A, "GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dnode-a", NULL, 200},
        {NODE_A, "GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dnode-c", NULL, 403},
        {NODE_B, "POST", "/api/v1/nodes",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-x\"}}", 403},
        {NODE_B, "POST", "/api/v1/nodes",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-b\"}}", 201},
        {NODE_A, "PATCH", "/api/v1/nodes/node-a", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200},
        {NODE_A, "PATCH", "/api/v1/nodes/node-a/status", "{\"status\":{\"phase\":\"Running\"}}", 200},
        {NODE_A, "PATCH", "/api/v1/nodes/node-c/status", "{\"status\":{\"phase\":\"Running\"}}", 403},
        {NODE_A, "PATCH", "/api/v1/nodes/node-a", "{\"spec\":{\"unschedulable\":true}}", 403},
        {NODE_A, "PATCH", "/api/v1/nodes/node-a", "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}",
         403},
        {NODE_A, "DELETE", "/api/v1/nodes/node-a", NULL, 403},
        {NODE_A, "DELETE", "/api/v1/nodes/node-c", NULL, 403},
    };

    run(*state, "system:nodes", rows, ARRAY_SIZE(rows));
}

static void an_agent_keeps_its_own_lease(void **state)
{
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/"
#define LEASE(name) \
    "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"" name "\"}}"
    static const struct row rows[] = {
        {NODE_A, "POST", LEASES "kube-node-lease/leases", LEASE("node-c"), 403},
        {NODE_A, "POST", LEASES "default/leases", LEASE("node-a"), 403},
        {NODE_A, "POST", LEASES "kube-node-lease/leases", LEASE("node-a"), 201},
        {NODE_A, "PATCH", LEASES "kube-node-lease/leases/node-a", "{\"spec\":{\"holderIdentity\":\"node-a\"}}", 200},
        {NODE_C, "PATCH", LEASES "kube-node-lease/leases/node-a", "{\"spec\":{\"holderIdentity\":\"node-c\"}}", 403},
    };

    run(*state, "system:nodes", rows, ARRAY_SIZE(rows));
}

static void an_agent_sees_pods_bound_to_its_node(void **state)
{
    static const struct row rows[] = {
        {NODE_A, "GET", PODS "/p", NULL, 200},
        {NODE_C, "GET", PODS "/p", NULL, 403},
        {NODE_C, "GET", PODS "/absent", NULL, 404},
        {NODE_A, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a", NULL, 200},
        {NODE_A, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-c", NULL, 403},
        {NODE_A, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%21%3Dnode-c", NULL, 403},
        {NODE_A, "GET", "/api/v1/pods", NULL, 403},
        {NODE_A, "PATCH", PODS "/p/status", "{\"status\":{\"phase\":\"Running\"}}", 200},
        {NODE_C, "PATCH", PODS "/p/status", "{\"status\":{\"phase\":\"Failed\"}}", 403},
        {NODE_A, "PATCH", PODS "/p", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 403},
        {NODE_A, "POST", PODS, "{}", 403},
        {NODE_C, "DELETE", PODS "/p", NULL, 403},
    };

    run(*state, "system:nodes", rows, ARRAY_SIZE(rows));
}

static void an_agent_sees_vmis_that_concern_it(void **state)
{
    static const struct row rows[] = {
        {NODE_A, "GET", FIXTURE_VMIS "/vm1", NULL, 200},
        {NODE_B, "GET", FIXTURE_VMIS "/vm1", NULL, 200}, /* it is on its way there */
        {NODE_C, "GET", FIXTURE_VMIS "/vm1", NULL, 403},
        {NODE_C, "PATCH", FIXTURE_VMIS "/vm1", "{\"status\":{\"phase\":\"Failed\"}}", 403},
        {NODE_A, "GET", FIXTURE_VMIS, NULL, 403},
        {NODE_A, "GET", FIXTURE_VMIS "?labelSelector=kubevirt.io/nodeName%3Dnode-a", NULL, 200},
        {NODE_A, "GET", FIXTURE_VMIS "?labelSelector=x%3Dy,kubevirt.io/migrationTargetNodeName%3Dnode-a", NULL, 200},
        {NODE_A, "GET", FIXTURE_VMIS "?labelSelector=kubevirt.io/nodeName%3Dnode-c", NULL, 403},
        {NODE_A, "GET", FIXTURE_VMIS "?labelSelector=kubevirt.io/nodeName%3Dnode-ab", NULL, 403},
        {NODE_A, "GET", FIXTURE_VMIS "?labelSelector=x%20in%20(a,kubevirt.io/nodeName%3Dnode-a,b)", NULL, 403},
        {NODE_A, "GET", FIXTURE_VMIS "?fieldSelector=status.nodeName%3Dnode-a", NULL, 200},
        {NODE_B, "GET", FIXTURE_VMIS "?fieldSelector=metadata.name%3Dvm1", NULL, 200},
        {NODE_C, "GET", FIXTURE_VMIS "?fieldSelector=metadata.name%3Dvm1", NULL, 403},
        {NODE_A, "DELETE", FIXTURE_VMIS "/vm1", NULL, 403},
        {NODE_A, "POST", FIXTURE_VMIS, "{}", 403},
    };

    run(*state, "system:nodes", rows, ARRAY_SIZE(rows));
}

static void a_launcher_pod_makes_a_vmi_concern_its_node(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL, *pod = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    assert_int_equal(fixture_call(f, "x", "system:masters", "GET", FIXTURE_VMIS "/vm1", NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &vmi, NULL), 0);
    assert_int_equal(fixture_call(f, NODE_C, "system:nodes", "GET", FIXTURE_VMIS "/vm1", NULL, NULL), 403);
    pod = xasprintf(FIXTURE_POD("virt-launcher-vm1-abcde", "\"kubevirt.io/created-by\":\"%s\",", "node-c"),
                    json_str(yyjson_doc_get_root(vmi), "/metadata/uid"));
    assert_int_equal(fixture_admin(f, "POST", PODS, pod), 201);
    assert_int_equal(fixture_call(f, NODE_C, "system:nodes", "GET", FIXTURE_VMIS "/vm1", NULL, NULL), 200);
}

static void an_agent_reads_secrets_that_its_vmis_name(void **state)
{
    static const struct row rows[] = {
        {NODE_A, "GET", SECRETS "/needed", NULL, 200},
        {NODE_B, "GET", SECRETS "/needed", NULL, 200},
        {NODE_C, "GET", SECRETS "/needed", NULL, 403},
        {NODE_A, "GET", SECRETS "/other", NULL, 403},
        {NODE_A, "GET", SECRETS, NULL, 403},
        {NODE_A, "GET", SECRETS "?fieldSelector=metadata.name%3Dneeded", NULL, 403},
        {NODE_A, "PATCH", SECRETS "/needed", "{}", 403},
        {NODE_A, "GET", "/api/v1/namespaces/default/configmaps/c", NULL, 403},
        {NODE_A, "PATCH", "/api/v1/namespaces/default/configmaps/c", "{}", 403},
    };

    run(*state, "system:nodes", rows, ARRAY_SIZE(rows));
}

/* What a forbidden patch does must not tell what is in the object. */
static void a_json_patch_is_no_oracle(void **state)
{
    const char *const groups[] = {"system:nodes"};
    static const char *const tests[] = {
        "[{\"op\":\"test\",\"path\":\"/spec/nodeName\",\"value\":\"node-a\"}]",
        "[{\"op\":\"test\",\"path\":\"/spec/nodeName\",\"value\":\"wrong\"}]",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        const struct api_request q = {.method = "PATCH",
                                      .target = PODS "/p/status",
                                      .content_type = "application/json-patch+json",
                                      .body = tests[i],
                                      .body_len = strlen(tests[i]),
                                      .user = {.name = NODE_C, .groups = groups, .n_groups = 1}};
        _cleanup_response_ struct api_response response = {0};

        rest_handle(&f->rest, &q, &response);
        assert_int_equal(response.status, 403);
    }
}

#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CSR(name, signer) \
    "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"" name \
    "\"},\"spec\":" \
    "{\"request\":\"eA==\",\"signerName\":\"" signer "\",\"usages\":[\"client auth\"],\"username\":\"root\"}}"

static void joining_nodes_ask_for_a_certificate(void **state)
{
    static const struct row joining[] = {
        {"system:bootstrap:abc", "POST", CSRS, CSR("j1", "kubernetes.io/kube-apiserver-client-kubelet"), 201},
        {"system:bootstrap:abc", "GET", CSRS "/j1", NULL, 200},
        {"system:bootstrap:abc", "GET", CSRS "/absent", NULL, 404},
        {"system:bootstrap:abc", "GET", CSRS, NULL, 403},
        {"system:bootstrap:abc", "POST", CSRS, CSR("j2", "kubernetes.io/kubelet-serving"), 403},
        {"system:bootstrap:xyz", "GET", CSRS "/j1", NULL, 403},
        {"system:bootstrap:abc", "PATCH", CSRS "/j1", "{}", 403},
        {"system:bootstrap:abc", "GET", "/api/v1/nodes/node-a", NULL, 403},
    };
    static const struct row agents[] = {
        {NODE_A, "POST", CSRS, CSR("n1", "godwit.io/migration"), 201},
        {NODE_A, "GET", CSRS "/n1", NULL, 200},
        {NODE_A, "GET", CSRS "?fieldSelector=metadata.name%3Dn1", NULL, 200},
        {NODE_C, "GET", CSRS "/n1", NULL, 403},
        {NODE_C, "GET", CSRS "?fieldSelector=metadata.name%3Dn1", NULL, 403},
        {NODE_A, "GET", CSRS "/j1", NULL, 403},
        {NODE_A, "PATCH", CSRS "/n1/status", "{}", 403},
        {NODE_C, "DELETE", CSRS "/n1", NULL, 403},
        {NODE_A, "PATCH", CSRS "/n1/approval", "{}", 404}, /* not served by this core */
        {NODE_A, "DELETE", CSRS "/n1", NULL, 200},
        {NODE_A, "DELETE", CSRS "/j1", NULL, 403},
    };

    run(*state, "system:bootstrappers", joining, ARRAY_SIZE(joining));
    run(*state, "system:nodes", agents, ARRAY_SIZE(agents));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strangers_may_do_nothing, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(refusals_are_worded_as_in_kubernetes, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(masters_and_controllers_may_do_all, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(controllers_stand_in_for_the_dead_only, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_claim_in_use_is_given_to_nobody_else, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_a_write_rests_on_holds_when_it_is_made, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_agent_sees_to_its_own_node, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_agent_keeps_its_own_lease, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_agent_sees_pods_bound_to_its_node, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_agent_sees_vmis_that_concern_it, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_launcher_pod_makes_a_vmi_concern_its_node, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_agent_reads_secrets_that_its_vmis_name, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_json_patch_is_no_oracle, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(joining_nodes_ask_for_a_certificate, fixture_set_up, fixture_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

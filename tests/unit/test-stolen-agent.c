/* Somebody has the certificate of an agent. A VMI runs on node-a and moves to node-b; node-c has nothing to do with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/account_token.h"
#include "apiserver/reviews.h"
#include "apiserver/vm_subresources.h"
#include "server/guest.h"
#include "server-fixture.h"

#define VM FIXTURE_VMIS "/vm1"
#define PODS "/api/v1/namespaces/default/pods"
#define SECRETS "/api/v1/namespaces/default/secrets"
#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
#define NETWORKS "/apis/godwit.io/v1alpha1/nodenetworks"
#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define ACCOUNTS "/api/v1/namespaces/default/serviceaccounts"
#define NAMED(version, kind, name) \
    "{\"apiVersion\":\"" version "\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name "\"}}"

static const struct rest_extra *const extras[] = {account_token_extras, guest_extras, review_extras, vm_extras, NULL};

static int setup(void **state)
{
    int r = fixture_set_up(state);

    ((struct fixture *)*state)->rest.extras = extras;
    return r;
}

static int as_node(struct fixture *f, char node, const char *method, const char *target, const char *body,
                   char **ret_text)
{
    _cleanup_free_ char *user = xasprintf("system:node:node-%c", node);

    return fixture_call(f, user, "system:nodes", method, target, body, ret_text);
}

static void must_be(struct fixture *f, char node, const char *method, const char *target, const char *body, int want)
{
    _cleanup_free_ char *text = NULL;
    int status = as_node(f, node, method, target, body, &text);

    if (status != want)
        fail_msg("node-%c: %s %s %s: %d instead of %d: %s", node, method, target, body ? body : "", status, want, text);
}

/* --- Claiming a VM --- */

#define STEP(name, node) "\"" name "\":{\"epoch\":1,\"time\":\"2026-11-21T08:00:00Z\"" node "}"
#define H(steps) "{\"status\":{\"migrationState\":{\"handover\":{" steps "}}}}"
#define CLAIM(node) \
    "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"" node "\"}},\"status\":{\"nodeName\":\"" node "\"," \
    "\"migrationState\":{\"completed\":true,\"handover\":{" STEP("claim", ",\"node\":\"" node "\"") "}}}}"

enum { OPEN, RECEIVED, GRANTED, RETURNED, CLAIMED, CLOSED, N_PHASES };

/* How each is reached from another, by the agents themselves. */
static const struct {
    int from;
    char node;
    const char *write;
} phases[N_PHASES] = {
    [OPEN] = {OPEN, 0, NULL}, /* the fixture's */
    [RECEIVED] = {OPEN, 'b', H(STEP("received", ""))},
    [GRANTED] = {RECEIVED, 'a', H(STEP("grant", ",\"node\":\"node-b\",\"by\":\"Source\""))},
    [RETURNED] = {RECEIVED, 'b', H(STEP("returned", ",\"node\":\"node-b\""))},
    [CLAIMED] = {GRANTED, 'b', CLAIM("node-b")},
    [CLOSED] = {RETURNED, 'a', "{\"status\":{\"migrationState\":{\"completed\":true,\"failed\":true}}}"},
};

static void reach(struct fixture *f, int phase)
{
    if (!phases[phase].write)
        return;
    reach(f, phases[phase].from);
    must_be(f, phases[phase].node, "PATCH", VM, phases[phase].write, 200);
}

#define NODE_NAME "{\"status\":{\"nodeName\":\"node-@\"}}"
#define CLAIM_AS CLAIM("node-@")
#define GRANT_AS H("\"grant\":{\"epoch\":1,\"time\":\"2026-11-21T08:01:00Z\",\"node\":\"node-@\",\"by\":\"Source\"}")
#define IN(phase) (1u << (phase))
#define EVER (IN(N_PHASES) - 1)

static const struct {
    char node;
    const char *write; /* @ stands for the node's letter */
    unsigned allowed;  /* phases in which it is right, or says what is so already */
} attempts[] = {
    {'c', NODE_NAME, 0},
    {'c', CLAIM_AS, 0},
    {'c', GRANT_AS, 0},
    {'b', NODE_NAME, IN(CLAIMED)},
    {'b', CLAIM_AS, IN(GRANTED) | IN(CLAIMED)},
    {'b', GRANT_AS, 0},
    {'a', NODE_NAME, EVER & ~IN(CLAIMED)},
    {'a', CLAIM_AS, 0},
    {'a', GRANT_AS, 0},
};

static void nobody_claims_out_of_turn(void **state)
{
    for (int phase = 0; phase < N_PHASES; phase++) {
        void *fresh = NULL;

        setup(&fresh);
        reach(fresh, phase);
        for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
            char node = attempts[i].node;
            _cleanup_free_ char *write = xstrdup(attempts[i].write);

            for (char *at = write; (at = strchr(at, '@'));)
                *at = node;
            must_be(fresh, node, "PATCH", VM "?dryRun=All", write, attempts[i].allowed & IN(phase) ? 200 : 403);
        }
        fixture_tear_down(&fresh);
    }
}

/* --- Tables of what is tried as node-c --- */

struct row {
    const char *method, *target, *body;
};

static void all_refused(struct fixture *f, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        must_be(f, 'c', rows[i].method, rows[i].target, rows[i].body, 403);
}

static void no_writes_to_what_is_others(void **state)
{
    static const struct row rows[] = {
        {"PATCH", "/api/v1/nodes/node-a", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}"},
        {"PATCH", "/api/v1/nodes/node-a/status", "{\"status\":{\"phase\":\"x\"}}"},
        {"PUT", "/api/v1/nodes/node-a", NAMED("v1", "Node", "node-a")},
        {"POST", "/api/v1/nodes", NAMED("v1", "Node", "node-x")},
        {"DELETE", "/api/v1/nodes/node-a", NULL},
        {"DELETE", "/api/v1/nodes", NULL},
        {"POST", LEASES, NAMED("coordination.k8s.io/v1", "Lease", "node-x")},
        {"PATCH", LEASES "/node-a", "{\"spec\":{\"holderIdentity\":\"node-c\"}}"},
        {"PUT", LEASES "/node-a", NAMED("coordination.k8s.io/v1", "Lease", "node-a")},
        {"DELETE", LEASES "/node-a", NULL},
        {"POST", NETWORKS, NAMED("godwit.io/v1alpha1", "NodeNetwork", "node-x")},
        {"PATCH", NETWORKS "/node-a", "{\"spec\":{}}"},
        {"PATCH", NETWORKS "/node-a/status", "{\"status\":{}}"},
        {"DELETE", NETWORKS "/node-a", NULL},
        {"POST", PODS, FIXTURE_POD("mine", "", "node-c")},
        {"PATCH", PODS "/p", "{\"spec\":{\"nodeName\":\"node-c\"}}"},
        {"PATCH", PODS "/p/status", "{\"status\":{\"phase\":\"Failed\"}}"},
        {"DELETE", PODS "/p", NULL},
        {"DELETE", PODS "?fieldSelector=spec.nodeName%3Dnode-c", NULL},
        {"POST", PODS "/p/binding", "{\"target\":{\"name\":\"node-c\"}}"},
        {"POST", PODS "/p/eviction", NAMED("policy/v1", "Eviction", "p")},
        {"PUT", VM, "{}"},
        {"POST", FIXTURE_VMIS, NAMED("kubevirt.io/v1", "VirtualMachineInstance", "mine")},
        {"DELETE", VM, NULL},
        {"PATCH", CSRS "/a", "{\"spec\":{\"username\":\"system:node:node-c\"}}"},
        {"PATCH", CSRS "/a/status", "{\"status\":{}}"},
        {"DELETE", CSRS "/a", NULL},
    };
    struct fixture *f = *state;

    must_be(f, 'a', "POST", LEASES, NAMED("coordination.k8s.io/v1", "Lease", "node-a"), 201);
    must_be(f, 'a', "POST", NETWORKS,
            "{\"apiVersion\":\"godwit.io/v1alpha1\",\"kind\":\"NodeNetwork\",\"metadata\":{\"name\":\"node-a\"}}", 201);
    must_be(f, 'a', "POST", CSRS,
            "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":"
            "\"a\"},\"spec\":{\"request\":\"eA==\",\"signerName\":\"kubernetes.io/kubelet-serving\","
            "\"usages\":[\"server auth\"]}}",
            201);
    all_refused(f, rows, ARRAY_SIZE(rows));
}

static void nothing_is_read_that_its_vms_do_not_use(void **state)
{
    static const struct row rows[] = {
        {"GET", SECRETS "/needed", NULL},
        {"GET", SECRETS "/other", NULL},
        {"GET", SECRETS, NULL},
        {"GET", SECRETS "?watch=1", NULL},
        {"GET", SECRETS "?fieldSelector=metadata.name%3Dneeded", NULL},
        {"GET", "/api/v1/secrets", NULL},
        {"PATCH", SECRETS "/needed", "{}"},
        {"POST", SECRETS, NAMED("v1", "Secret", "mine")},
        {"GET", CONFIGMAPS "/c", NULL},
        {"GET", CONFIGMAPS, NULL},
        {"GET", CONFIGMAPS "?watch=1", NULL},
        {"GET", "/api/v1/configmaps", NULL},
        {"GET", VM, NULL},
        {"GET", PODS "/p", NULL},
    };
    struct fixture *f = *state;

    all_refused(f, rows, ARRAY_SIZE(rows));
    must_be(f, 'a', "GET", SECRETS "/needed", NULL, 200);
    must_be(f, 'a', "GET", SECRETS "/other", NULL, 403);
    must_be(f, 'a', "GET", CONFIGMAPS "/c", NULL, 403);
    assert_int_equal(fixture_admin(f, "POST", "/api/v1/namespaces", NAMED("v1", "Namespace", "kube-system")), 201);
    assert_int_equal(fixture_admin(f, "POST", "/api/v1/namespaces/kube-system/configmaps",
                                   NAMED("v1", "ConfigMap", "godwit-ca")),
                     201);
    must_be(f, 'c', "GET", "/api/v1/namespaces/kube-system/configmaps/godwit-ca", NULL, 200);
}

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define VOLUMES "/api/v1/persistentvolumes"
#define EVENTS "/api/v1/namespaces/default/events"
#define CLAIM_BODY(name) \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Mi\"}}}}"
#define VOLUME_BODY(name, claim) \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"capacity\":{\"storage\":\"1Mi\"}," \
    "\"hostPath\":{\"path\":\"/x\"},\"claimRef\":{\"namespace\":\"default\",\"name\":\"" claim "\"}}}"

/* VM vm2 on node-a names claim used; nobody names spare. */
static void claims_and_volumes_are_those_of_its_vms(void **state)
{
    static const struct row rows[] = {
        {"GET", CLAIMS "/used", NULL},      {"GET", CLAIMS "/spare", NULL},   {"GET", CLAIMS, NULL},
        {"GET", CLAIMS "?watch=1", NULL},   {"GET", VOLUMES "/pv-used", NULL}, {"GET", VOLUMES "/pv-spare", NULL},
        {"GET", VOLUMES, NULL},             {"GET", VOLUMES "?labelSelector=godwit.io/node%3Dnode-z", NULL},
        {"GET", VOLUMES "?labelSelector=godwit.io/place%3Delsewhere", NULL},
        {"GET", VOLUMES "?watch=1&labelSelector=godwit.io/node", NULL},         {"PATCH", CLAIMS "/used", "{}"},  {"DELETE", VOLUMES "/pv-used", NULL},
        {"GET", "/apis/kubevirt.io/v1/virtualmachineinstancemigrations", NULL},
        {"GET", "/apis/storage.k8s.io/v1/storageclasses", NULL},
    };
    struct fixture *f = *state;

    assert_int_equal(fixture_admin(f, "POST", CLAIMS, CLAIM_BODY("used")), 201);
    assert_int_equal(fixture_admin(f, "POST", CLAIMS, CLAIM_BODY("spare")), 201);
    assert_int_equal(fixture_admin(f, "POST", VOLUMES, VOLUME_BODY("pv-used", "used")), 201);
    assert_int_equal(fixture_admin(f, "POST", VOLUMES, VOLUME_BODY("pv-spare", "spare")), 201);
    assert_int_equal(fixture_admin(f, "POST", FIXTURE_VMIS,
                                   "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"vm2\"},"
                                   "\"spec\":{\"domain\":{\"resources\":{\"requests\":{\"memory\":\"128Mi\"}},\"devices\":{\"disks\":[{"
                                   "\"name\":\"d\",\"disk\":{\"bus\":\"virtio\"}}]}},\"volumes\":[{\"name\":\"d\","
                                   "\"persistentVolumeClaim\":{\"claimName\":\"used\"}}]}}"), 201);
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm2", "{\"status\":{\"nodeName\":\"node-a\"}}"), 200);
    all_refused(f, rows, ARRAY_SIZE(rows));
    must_be(f, 'a', "GET", CLAIMS "/used", NULL, 200);
    must_be(f, 'a', "GET", VOLUMES "/pv-used", NULL, 200);
    must_be(f, 'a', "GET", CLAIMS "/spare", NULL, 403);
    must_be(f, 'a', "GET", VOLUMES "/pv-spare", NULL, 403);
    must_be(f, 'a', "GET", VOLUMES "?labelSelector=godwit.io/node%3Dnode-a", NULL, 200);
    must_be(f, 'a', "GET", VOLUMES "?labelSelector=godwit.io/node%3Dnode-c", NULL, 403);
    must_be(f, 'a', "GET", VOLUMES "?labelSelector=godwit.io/place%3Dshared-directory", NULL, 200);
    must_be(f, 'a', "GET", VOLUMES "/absent", NULL, 404); /* so an agent learns that a folder may go */
}

#define EVENT(name, host, instance) \
    "{\"metadata\":{\"name\":\"" name "\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"default\",\"name\":\"p\"}," \
    "\"reason\":\"R\",\"message\":\"m\",\"type\":\"Normal\",\"source\":{\"component\":\"godwit-agent\",\"host\":\"" host "\"}," \
    "\"reportingComponent\":\"godwit-agent\",\"reportingInstance\":\"" instance "\"}"

static void events_are_told_in_its_own_name(void **state)
{
    static const struct row rows[] = {
        {"POST", EVENTS, EVENT("e", "node-a", "node-a")},
        {"POST", EVENTS, EVENT("e", "node-c", "node-a")},
        {"POST", EVENTS, EVENT("e", "node-a", "node-c")},
        {"POST", EVENTS, EVENT("e", "", "")},
        {"PATCH", EVENTS "/mine", "{\"count\":2}"},
        {"GET", EVENTS, NULL},
        {"DELETE", EVENTS "/mine", NULL},
    };
    struct fixture *f = *state;

    must_be(f, 'a', "POST", EVENTS, EVENT("mine", "node-a", "node-a"), 201);
    must_be(f, 'a', "PATCH", EVENTS "/mine", "{\"count\":2}", 200);
    must_be(f, 'a', "PATCH", EVENTS "/mine", "{\"source\":{\"host\":\"node-c\"}}", 403);
    all_refused(f, rows, ARRAY_SIZE(rows));
}

/* Naming a Secret or a VMI in an object that an agent may write opens nothing. */
static void no_reading_by_a_detour(void **state)
{
    static const char volumes[] =
        "{\"spec\":{\"volumes\":[{\"name\":\"d\",\"cloudInitNoCloud\":{\"secretRef\":{\"name\":\"other\"}}}]}}";
    struct fixture *f = *state;
    _cleanup_free_ char *text = NULL;

    must_be(f, 'a', "PATCH", VM, volumes, 422); /* spec is nobody's to change */
    must_be(f, 'a', "PATCH", VM, "{\"metadata\":{\"annotations\":{\"secretName\":\"other\"}}}", 403);
    must_be(f, 'a', "PATCH", PODS "/p/status", "{\"metadata\":{\"labels\":{\"kubevirt.io/created-by\":\"u\"}}}", 200);
    must_be(f, 'a', "GET", SECRETS "/other", NULL, 403);
    assert_int_equal(as_node(f, 'a', "GET", PODS "/p", NULL, &text), 200);
    assert_null(strstr(text, "kubevirt.io/created-by"));
}

static void no_standing_in_for_others(void **state)
{
    static const char *const whom[][2] = {
        {"", "users"},         {"", "groups"}, {"", "serviceaccounts"}, {"authentication.k8s.io", "uids"},
        {"authentication.k8s.io", "userextras"},
    };
    static const struct row rows[] = {
        {"POST", ACCOUNTS "/default/token", "{\"spec\":{}}"},
        {"POST", ACCOUNTS, NAMED("v1", "ServiceAccount", "mine")},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"x\"}}"},
        {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{\"spec\":{\"user\":\"x\"}}"},
        {"PUT", "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/vm1/pause", "{}"},
        {"PUT", "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/vm1/migrate", "{}"},
        {"POST", "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations",
         "{\"spec\":{\"vmiName\":\"vm1\"}}"},
        {"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "{}"},
    };
    const char *const groups[] = {"system:nodes", "system:authenticated"};
    const struct api_user node = {.name = "system:node:node-c", .groups = groups, .n_groups = 2};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(whom); i++) {
        const struct rest_target t = {.verb = "impersonate", .group = whom[i][0], .version = "v1",
                                      .resource = whom[i][1], .name = "node-c"};
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_true(authz_check(&f->rest, &node, &t, NULL, NULL, &err) < 0);
        assert_int_equal(err.reason, GW_FORBIDDEN);
    }
    all_refused(f, rows, ARRAY_SIZE(rows));
}

/* Server-side apply makes what is absent: judged as a create. */
static void no_making_by_apply(void **state)
{
    static const char body[] =
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"mine\"},"
        "\"spec\":{\"domain\":{\"devices\":{}},\"volumes\":[{\"name\":\"d\",\"cloudInitNoCloud\":{\"secretRef\":{"
        "\"name\":\"other\"}}}]},\"status\":{\"nodeName\":\"node-c\"}}";
    const char *const groups[] = {"system:nodes"};
    const struct api_request q = {.method = "PATCH",
                                  .target = FIXTURE_VMIS "/mine?fieldManager=x&force=true",
                                  .content_type = "application/apply-patch+yaml",
                                  .body = body,
                                  .body_len = strlen(body),
                                  .user = {.name = "system:node:node-c", .groups = groups, .n_groups = 1}};
    _cleanup_response_ struct api_response response = {0};
    struct fixture *f = *state;

    rest_handle(&f->rest, &q, &response);
    assert_int_equal(response.status, 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_claims_out_of_turn),
        cmocka_unit_test_setup_teardown(no_writes_to_what_is_others, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_read_that_its_vms_do_not_use, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(claims_and_volumes_are_those_of_its_vms, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(events_are_told_in_its_own_name, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(no_reading_by_a_detour, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(no_standing_in_for_others, setup, fixture_tear_down),
        cmocka_unit_test_setup_teardown(no_making_by_apply, setup, fixture_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

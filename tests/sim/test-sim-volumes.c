/* Claims and their volumes; with restarts and a bad network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster.h"

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define VOLUMES "/api/v1/persistentvolumes"

static void make_claim(struct cluster *c, const char *name, const char *class, const char *mode, const char *size)
{
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"storageClassName\":\"%s\",\"accessModes\":[\"%s\"],"
                  "\"resources\":{\"requests\":{\"storage\":\"%s\"}}}}", name, class, mode, size);
    sim_post(c->s, CLAIMS, body);
}

static void test_shared_volume_is_made(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 1);

    sim_patch(c->s, NODES "/n000", "{\"metadata\":{\"annotations\":{\"godwit.io/shared-directory\":\"/srv/shared\"}}}");
    sim_run(c->s, 1000);
    make_claim(c, "data", "shared", "ReadWriteMany", "1Gi");
    sim_run(c->s, 2000);
    assert_string_equal(cluster_str(c, CLAIMS "/data", "/status/phase"), "Bound");
    assert_string_equal(cluster_str(c, CLAIMS "/data", "/status/capacity/storage"), "1Gi");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", cluster_str(c, CLAIMS "/data", "/spec/volumeName"));
    assert_string_equal(cluster_str(c, volume, "/status/phase"), "Bound");
    assert_string_equal(cluster_str(c, volume, "/spec/claimRef/name"), "data");
    assert_true(str_starts(cluster_str(c, volume, "/spec/hostPath/path"), "/srv/shared/pvc-"));
    sim_delete(c->s, CLAIMS "/data");
    sim_run(c->s, 2000);
    assert_int_equal(sim_count(c->s, CLAIMS, NULL, NULL), 0);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    cluster_free(c);
}

#define USES(claim) "\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"" claim "\"}}]"

static void test_local_volume_follows_its_consumer(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 3);

    make_claim(c, "disk", "local", "ReadWriteOnce", "1Gi");
    sim_run(c->s, 2000);
    assert_string_equal(cluster_str(c, CLAIMS "/disk", "/status/phase"), "Pending");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "WaitForFirstConsumer"), 1);
    cluster_pod(c, "p", USES("disk") ",\"nodeSelector\":{\"kubernetes.io/hostname\":\"n002\"}", "");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, PODS "/p", "/status/phase"), "Running");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", cluster_str(c, CLAIMS "/disk", "/spec/volumeName"));
    assert_string_equal(cluster_str(c, volume, "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0"), "n002");
    sim_delete(c->s, PODS "/p");
    sim_run(c->s, 2000);
    cluster_pod(c, "q", USES("disk"), "");
    cluster_pod(c, "r", USES("disk") ",\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, PODS "/q", "/spec/nodeName"), "n002");
    assert_string_equal(cluster_str(c, PODS "/r", "/status/conditions/0/message"),
                        "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 node(s) didn't match Pod's "
                        "node affinity/selector.");
    cluster_free(c);
}

static void test_claim_in_use_stays(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 1);

    make_claim(c, "data", "shared", "ReadWriteMany", "1Gi");
    cluster_pod(c, "p", USES("data"), "");
    sim_run(c->s, 5000);
    sim_delete(c->s, CLAIMS "/data");
    sim_run(c->s, 60000);
    assert_string_equal(cluster_str(c, CLAIMS "/data", "/status/phase"), "Bound");
    sim_delete(c->s, PODS "/p");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, CLAIMS "/data", "/status/phase"), "");
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    cluster_free(c);
}

#define VMIS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"

/* A VM that runs is the consumer of a claim that is to be plugged into it, and has it until it says that it is out. */
static void test_claim_of_a_hot_volume(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 3);

    make_claim(c, "disk", "local", "ReadWriteOnce", "1Gi");
    sim_post(c->s, VMIS,
             "{\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{\"disks\":[{"
             "\"name\":\"hot\",\"disk\":{\"bus\":\"scsi\"}}]}},\"volumes\":[{\"name\":\"hot\",\"persistentVolumeClaim\":{"
             "\"claimName\":\"disk\",\"hotpluggable\":true}}]}}");
    sim_run(c->s, 2000);
    assert_string_equal(cluster_str(c, CLAIMS "/disk", "/status/phase"), "Pending");
    sim_patch(c->s, VMIS "/vm1",
              "{\"status\":{\"phase\":\"Running\",\"nodeName\":\"n001\",\"volumeStatus\":[{\"name\":\"hot\",\"target\":\"sda\","
              "\"phase\":\"Ready\",\"hotplugVolume\":{},\"persistentVolumeClaimInfo\":{\"claimName\":\"disk\"}}]}}");
    sim_run(c->s, 2000);
    assert_string_equal(cluster_str(c, CLAIMS "/disk", "/status/phase"), "Bound");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", cluster_str(c, CLAIMS "/disk", "/spec/volumeName"));
    assert_string_equal(cluster_str(c, volume, "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0"), "n001");
    sim_delete(c->s, CLAIMS "/disk");
    sim_patch(c->s, VMIS "/vm1", "{\"spec\":{\"domain\":{\"devices\":{\"disks\":[]}},\"volumes\":[]}}");
    sim_run(c->s, 60000);
    assert_string_equal(cluster_str(c, CLAIMS "/disk", "/status/phase"), "Bound"); /* the guest has it still */
    sim_patch(c->s, VMIS "/vm1", "{\"status\":{\"volumeStatus\":[]}}");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, CLAIMS "/disk", "/status/phase"), "");
    cluster_free(c);
}

static void make_volume(struct cluster *c, const char *name, const char *size)
{
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"storageClassName\":\"mine\",\"capacity\":{\"storage\":\"%s\"},"
                  "\"accessModes\":[\"ReadWriteMany\",\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/x\"}}}", name, size);
    sim_post(c->s, VOLUMES, body);
}

static void test_best_of_the_given_volumes(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_volume(c, "small", "1Gi");
    make_volume(c, "large", "100Gi");
    make_volume(c, "medium", "10Gi");
    sim_run(c->s, 1000);
    assert_string_equal(cluster_str(c, VOLUMES "/small", "/status/phase"), "Available");
    make_claim(c, "a", "mine", "ReadWriteOnce", "5Gi");
    make_claim(c, "b", "mine", "ReadWriteOnce", "5Gi");
    make_claim(c, "none", "mine", "ReadWriteOnce", "500Gi");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, CLAIMS "/none", "/status/phase"), "Pending");
    assert_string_equal(cluster_str(c, VOLUMES "/small", "/status/phase"), "Available");
    assert_int_equal(sim_count(c->s, VOLUMES, "/status/phase", "Bound"), 2);
    assert_int_equal(sim_count(c->s, CLAIMS, "/status/phase", "Bound"), 2);
    _cleanup_free_ char *bound = xstrdup(cluster_str(c, CLAIMS "/a", "/spec/volumeName"));
    sim_delete(c->s, CLAIMS "/a");
    sim_run(c->s, 5000);
    _cleanup_free_ char *target = xasprintf(VOLUMES "/%s", bound);
    assert_string_equal(cluster_str(c, target, "/status/phase"), "Released"); /* Retain: its data are kept */
    cluster_free(c);
}

static void test_what_cannot_be_made(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 1);
    static const struct {
        const char *name, *class, *mode, *reason;
    } rows[] = {
        {"a", "nosuch", "ReadWriteOnce", "ProvisioningFailed"},
        {"b", "", "ReadWriteOnce", "FailedBinding"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        make_claim(c, rows[i].name, rows[i].class, rows[i].mode, "1Gi");
        sim_run(c->s, 2000);
        assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", rows[i].reason), 1);
    }
    make_claim(c, "rwx", "local", "ReadWriteMany", "1Gi");
    cluster_pod(c, "p", USES("rwx"), "");
    cluster_pod(c, "q", USES("absent"), "");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "ProvisioningFailed"), 2);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    assert_string_equal(cluster_str(c, PODS "/q", "/status/conditions/0/message"),
                        "0/1 nodes are available: persistentvolumeclaim \"absent\" not found.");
    cluster_free(c);
}

static void test_volumes_in_rough_weather(void **state)
{
    struct cluster *c = cluster_new(&cluster_rough, 3);
    char name[16];

    for (int i = 0; i < 40; i++) {
        sprintf(name, "c%d", i);
        make_claim(c, name, "shared", "ReadWriteMany", "1Gi");
        sim_run(c->s, 100);
        if (i % 10 == 5) {
            cluster_kill_controllers(c);
            cluster_start_controllers(c);
        }
    }
    sim_run(c->s, 180000);
    assert_int_equal(sim_count(c->s, CLAIMS, "/status/phase", "Bound"), 40);
    assert_int_equal(sim_count(c->s, VOLUMES, "/status/phase", "Bound"), 40);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 40);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_volume_is_made),
        cmocka_unit_test(test_local_volume_follows_its_consumer),
        cmocka_unit_test(test_claim_in_use_stays),
        cmocka_unit_test(test_claim_of_a_hot_volume),
        cmocka_unit_test(test_best_of_the_given_volumes),
        cmocka_unit_test(test_what_cannot_be_made),
        cmocka_unit_test(test_volumes_in_rough_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Volumes: the plan as a function of objects; preparation with real files and the real qemu-img. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/images.h"
#include "agent/volumes/iso.h"
#include "agent/volumes/volumes.h"
#include "base/map.h"
#include "quoted.h"
#include "store-folder.h"

static int set_up(void **state)
{
    _cleanup_image_ struct image image = {0};

    (void)store_set_up(state);
    sh("truncate -s 3M root.img; mkdir -p kernel/boot share; echo k >kernel/boot/k; echo i >kernel/boot/i; tar -C "
       "kernel -cf k.tar boot");
    _cleanup_free_ char *disk = xasprintf("%s/root.img", folder), *kernel = xasprintf("%s/k.tar", folder);
    assert_return_code(image_import(store, "guest:1", disk, &image, NULL), 0);
    image_done(&image);
    assert_return_code(image_import(store, "kernel:1", kernel, &image, NULL), 0);
    return 0;
}

/* Objects by "Kind/name", as one JSON object. */
static yyjson_val *look_up(void *userdata, const char *kind, const char *name)
{
    _cleanup_free_ char *key = xasprintf("%s/%s", kind, name);

    return yyjson_obj_get(yyjson_doc_get_root(userdata), key);
}

#define VMI(disks, volumes) \
    "{'metadata':{'name':'vm1','namespace':'ns','uid':'u1'},'spec':{'domain':{'devices':{'disks':[" disks "]}}," \
    "'volumes':[" volumes "]}}"

static int plan(const char *vmi_text, const char *objects_text, struct volume_plan *ret, const char **reason,
                struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *vmi = json(vmi_text), *objects = json(objects_text);

    return volumes_plan(yyjson_doc_get_root(vmi), look_up, objects, ret, reason, err);
}

static void assert_plan_fails(const char *vmi, const char *objects, const char *reason, const char *message)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct volume_plan p;
    const char *got;

    assert_true(plan(vmi, objects, &p, &got, &err) < 0);
    assert_string_equal(got, reason);
    if (!strstr(gw_error_message(&err), message))
        fail_msg("\"%s\" does not say \"%s\"", gw_error_message(&err), message);
}

#define ONE(volume) VMI("{'name':'a','disk':{}}", "{'name':'a'," volume "}")

#define FOLDER "'PersistentVolume/v':{'spec':{'local':{'path':'/x'}}}"
#define USED_BY(who) "'annotations':{'godwit.io/used-by':'" who "'}"

static void test_what_cannot_be_planned_says_why(void **state)
{
    assert_plan_fails(VMI("{'name':'a','disk':{}}", ""), "{}", "InvalidVolume", "disk a has no volume");
    assert_plan_fails(ONE("'hostDisk':{}"), "{}", "InvalidVolume", "volume a: its source is not supported");
    assert_plan_fails(ONE("'emptyDisk':{}"), "{}", "InvalidVolume", "emptyDisk.capacity");
    assert_plan_fails(ONE("'cloudInitNoCloud':{'secretRef':{'name':'s'}}"), "{}", "FailedMount",
                      "secret s is not there");
    assert_plan_fails(ONE("'cloudInitNoCloud':{'secretRef':{'name':'s'}}"), "{'Secret/s':{'data':{}}}", "FailedMount",
                      "no key userdata");
    assert_plan_fails(ONE("'cloudInitNoCloud':{'userDataBase64':'!'}"), "{}", "InvalidVolume", "not base64");
    assert_plan_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"), "{}", "FailedMount", "claim c is not there");
    assert_plan_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"), "{'PersistentVolumeClaim/c':{}}", "FailedMount",
                      "not bound");
    assert_plan_fails(
        ONE("'persistentVolumeClaim':{'claimName':'c'}"),
        "{'PersistentVolumeClaim/c':{'spec':{'volumeName':'v'}},'PersistentVolume/v':{'spec':{'nfs':{}}}}",
        "FailedMount", "only hostPath and local");
    assert_plan_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"),
                      "{'PersistentVolumeClaim/c':{'metadata':{'name':'c'},'spec':{'volumeName':'v'}}," FOLDER "}",
                      "FailedAttachVolume", "claim c is not given to this virtual machine instance yet");
    assert_plan_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"),
                      "{'PersistentVolumeClaim/c':{'metadata':{'name':'c'," USED_BY("vm2/u2") "},'spec':{'volumeName':'v'}}," FOLDER "}",
                      "FailedAttachVolume", "claim c is in use by virtual machine instance vm2");
    assert_plan_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"), /* another one of that name */
                      "{'PersistentVolumeClaim/c':{'metadata':{'name':'c'," USED_BY("vm1/u0") "},'spec':{'volumeName':'v'}}," FOLDER "}",
                      "FailedAttachVolume", "claim c is in use");
    assert_plan_fails(
        VMI("{'name':'a','disk':{'bus':'sata','readonly':true}}", "{'name':'a','emptyDisk':{'capacity':'1Mi'}}"), "{}",
        "InvalidVolume", "cannot be read-only");
}

static void test_needs(void **state)
{
    _cleanup_doc_ yyjson_doc *vmi =
        json(VMI("", "{'name':'a','cloudInitNoCloud':{'secretRef':{'name':'s'},'networkDataSecretRef':"
                     "{'name':'s'}}},{'name':'b','persistentVolumeClaim':{'claimName':'c'}}"));
    _cleanup_doc_ yyjson_doc *none = json("{}"),
                             *claim = json("{'PersistentVolumeClaim/c':{'spec':{'volumeName':'v'}}}");
    _cleanup_strv_ struct strv first = {0}, second = {0};

    volumes_needs(yyjson_doc_get_root(vmi), look_up, none, &first);
    volumes_needs(yyjson_doc_get_root(vmi), look_up, claim, &second);
    _cleanup_free_ char *a = strv_join(&first, " "), *b = strv_join(&second, " ");
    assert_string_equal(a, "Secret/s PersistentVolumeClaim/c");
    assert_string_equal(b, "Secret/s PersistentVolumeClaim/c PersistentVolume/v");
}

static void prepare(const struct volume_plan *p, const char *place_name, struct prepared_volumes *ret)
{
    _cleanup_free_ char *at = xasprintf("%s/%s", folder, place_name);
    struct volume_place place = {.images = store, .folder = at, .uid = getuid(), .gid = getgid()};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *reason;

    if (volumes_prepare(p, &place, ret, &reason, &err) < 0)
        fail_msg("%s: %s", reason, gw_error_message(&err));
}

#define ALL_DISKS \
    "{'name':'root','disk':{}},{'name':'seed','disk':{}},{'name':'scratch','disk':{}},{'name':'data','disk':{}}," \
    "{'name':'local','disk':{}},{'name':'cd','cdrom':{}}"
#define ALL_VOLUMES \
    "{'name':'cd','containerDisk':{'image':'guest:1'}},{'name':'root','containerDisk':{'image':'guest:1'}}," \
    "{'name':'seed','cloudInitNoCloud':{'secretRef':{'name':'s'},'networkData':'version: 2'}}," \
    "{'name':'scratch','emptyDisk':{'capacity':'5Mi'}},{'name':'data','persistentVolumeClaim':{'claimName':'c'}}," \
    "{'name':'local','persistentVolumeClaim':{'claimName':'l'}}"

static void plan_all(struct volume_plan *ret)
{
    _cleanup_free_ char *objects = xasprintf(
        "{'Secret/s':{'data':{'userdata':'I2Nsb3VkLWNvbmZpZwo='}},"
        "'PersistentVolumeClaim/"
        "c':{'spec':{'volumeName':'v','accessModes':['ReadWriteMany'],'resources':{'requests':{'storage':'8Mi'}}}},"
        "'PersistentVolume/v':{'spec':{'hostPath':{'path':'%s/share'}}},"
        "'PersistentVolumeClaim/"
        "l':{'metadata':{'name':'l'," USED_BY("vm1/u1") "},'spec':{'volumeName':'w','accessModes':['ReadWriteOnce']},'status':{'capacity':{'storage':'2Mi'}}},"
        "'PersistentVolume/w':{'spec':{'local':{'path':'%s/node'}}}}",
        folder, folder);
    const char *reason;

    assert_return_code(plan(VMI(ALL_DISKS, ALL_VOLUMES), objects, ret, &reason, NULL), 0);
}

static void test_every_kind_of_volume(void **state)
{
    _cleanup_volume_plan_ struct volume_plan p = {0};
    struct prepared_volumes got = {0};
    struct stat st;

    sh("mkdir -p node");
    plan_all(&p);
    prepare(&p, "pod-a", &got);
    assert_int_equal(got.disks.len, 6);
    const struct disk *root = &got.disks.items[0], *seed = &got.disks.items[1], *scratch = &got.disks.items[2],
                      *data = &got.disks.items[3], *local = &got.disks.items[4], *cd = &got.disks.items[5];

    assert_string_equal(root->format, "qcow2");
    assert_string_equal(root->backing_format, "raw");
    assert_int_equal(root->size, 3 << 20);
    assert_true(disk_is_copied(root));
    assert_memory_equal(got.digests.items[0], "sha256:", 7);

    assert_true(seed->read_only && !disk_is_copied(seed));
    assert_int_equal(scratch->size, 5 << 20);
    assert_true(disk_is_copied(scratch));

    assert_true(data->shared && !disk_is_copied(data));
    assert_int_equal(data->size, 8 << 20);
    assert_return_code(stat(data->path, &st), 0);
    assert_int_equal(st.st_size, 8 << 20);
    assert_int_equal(st.st_blocks, 0);
    assert_true(!local->shared && disk_is_copied(local));
    assert_int_equal(local->size, 2 << 20);

    assert_true(cd->read_only && !cd->backing);
    assert_string_equal(cd->path, root->backing);
    assert_int_equal(got.writable.len, 4);
    assert_int_equal(got.read_only.len, 2);
    prepared_volumes_done(&got);
}

/* What a target prepares: the same sizes, the same seed, the very same shared file; and again, which changes nothing.
 */
static void test_a_target_prepares_the_same(void **state)
{
    _cleanup_volume_plan_ struct volume_plan p = {0};
    struct prepared_volumes a = {0}, b = {0}, again = {0};

    plan_all(&p);
    prepare(&p, "pod-a", &a);
    sh("echo written >>pod-a/disk2.qcow2; cp pod-a/disk2.qcow2 kept");
    prepare(&p, "pod-b", &b);
    prepare(&p, "pod-a", &again);
    sh("cmp pod-a/disk1.iso pod-b/disk1.iso; cmp pod-a/disk2.qcow2 kept; ! cmp -s pod-a/disk2.qcow2 pod-b/disk2.qcow2;"
       "qemu-img info pod-b/disk0.qcow2 | grep -q 'virtual size: 3 MiB';  test ! -e pod-b/disk0.qcow2.part");
    assert_string_equal(a.disks.items[3].path, b.disks.items[3].path);
    assert_string_equal(a.digests.items[0], b.digests.items[0]);
    prepared_volumes_done(&a);
    prepared_volumes_done(&b);
    prepared_volumes_done(&again);
}

/* What all nodes see is there for a VM that starts on another one, also if it is one VM's at a time. */
static void test_where_volumes_of_our_classes_lie(void **state)
{
    static const struct {
        const char *mode, *source, *where;
    } rows[] = {
        {"ReadWriteOnce", "hostPath", "all/pvc-1"}, {"ReadWriteMany", "hostPath", "all/pvc-1"}, {"ReadWriteOnce", "local", "own/pvc-1"},
    };
    _cleanup_free_ char *all = xasprintf("%s/all", folder), *own = xasprintf("%s/own", folder), *at = xasprintf("%s/pod-w", folder);
    const struct volume_place place = {.images = store, .folder = at, .shared_dir = all, .local_dir = own, .uid = getuid(), .gid = getgid()};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *objects = xasprintf(
            "{'PersistentVolumeClaim/c':{'metadata':{'name':'c'," USED_BY("vm1/u1") "},'spec':{'volumeName':'pvc-1','accessModes':['%s'],"
            "'resources':{'requests':{'storage':'1Mi'}}}},'PersistentVolume/pvc-1':{'metadata':{'annotations':"
            "{'pv.kubernetes.io/provisioned-by':'godwit.io/x'}},'spec':{'%s':{'path':'/elsewhere/pvc-1'}}}}", rows[i].mode, rows[i].source);
        _cleanup_volume_plan_ struct volume_plan p = {0};
        struct prepared_volumes got = {0};
        const char *reason;

        sh("mkdir -p all own");
        assert_return_code(plan(ONE("'persistentVolumeClaim':{'claimName':'c'}"), objects, &p, &reason, NULL), 0);
        assert_return_code(volumes_prepare(&p, &place, &got, &reason, NULL), 0);
        if (!strstr(got.disks.items[0].path, rows[i].where))
            fail_msg("row %zu: %s", i, got.disks.items[0].path);
        prepared_volumes_done(&got);
        sh("rm -r all own");
    }
}

static void assert_prepare_fails(const char *vmi, const char *objects, const char *reason, const char *message)
{
    _cleanup_free_ char *at = xasprintf("%s/pod-x", folder);
    struct volume_place place = {.images = store, .folder = at, .uid = getuid(), .gid = getgid()};
    _cleanup_volume_plan_ struct volume_plan p = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct prepared_volumes got;
    const char *why;

    assert_return_code(plan(vmi, objects, &p, &why, NULL), 0);
    assert_true(volumes_prepare(&p, &place, &got, &why, &err) < 0);
    assert_string_equal(why, reason);
    if (!strstr(gw_error_message(&err), message))
        fail_msg("\"%s\" does not say \"%s\"", gw_error_message(&err), message);
}

static void test_what_cannot_be_prepared_says_why(void **state)
{
    assert_prepare_fails(ONE("'containerDisk':{'image':'none:1'}"), "{}", "ErrImagePull",
                         "volume a: image none:1 is not in");
    assert_prepare_fails(ONE("'containerDisk':{'image':'kernel:1'}"), "{}", "ErrImagePull", "not exactly one disk");
    assert_prepare_fails(
        "{'spec':{'domain':{'devices':{'disks':[{'name':'a','disk':{}}]}},'volumes':[{'name':'a','containerDisk':"
        "{'image':'guest:1'}}]},'status':{'volumeStatus':[{'name':'a','containerDiskVolume':{'digest':'sha256:00'}}]}}",
        "{}", "ErrImagePull", "with digest sha256:00");
    assert_prepare_fails(ONE("'persistentVolumeClaim':{'claimName':'c'}"),
                         "{'PersistentVolumeClaim/c':{'metadata':{" USED_BY("vm1/u1") "},'spec':{'volumeName':'v'}},'PersistentVolume/"
                         "v':{'spec':{'local':{'path':'/nope'}}}}",
                         "FailedMount", "folder /nope on this node");
    assert_prepare_fails(
        "{'spec':{'domain':{'firmware':{'kernelBoot':{'container':{'image':'kernel:1','kernelPath':'/boot/x'}}}}}}",
        "{}", "ErrImagePull", "no file /boot/x");
}

static void test_a_full_disk_is_said(void **state)
{
    _cleanup_volume_plan_ struct volume_plan p = {0};
    struct volume_place place = {.images = store, .folder = "/dev/full/x", .uid = getuid(), .gid = getgid()};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct prepared_volumes got;
    const char *why;

    assert_return_code(plan(ONE("'emptyDisk':{'capacity':'1Mi'}"), "{}", &p, &why, NULL), 0);
    assert_true(volumes_prepare(&p, &place, &got, &why, &err) < 0);
    assert_string_equal(why, "FailedMount");
}

static void test_kernel_boot(void **state)
{
    _cleanup_volume_plan_ struct volume_plan p = {0};
    struct prepared_volumes got = {0};
    const char *reason;

    assert_return_code(
        plan("{'spec':{'domain':{'firmware':{'kernelBoot':{'container':{'image':'kernel:1','kernelPath':'/boot/k',"
             "'initrdPath':'/boot/i'}}}}}}",
             "{}", &p, &reason, NULL),
        0);
    prepare(&p, "pod-k", &got);
    assert_non_null(strstr(got.kernel, "/boot/k"));
    assert_non_null(strstr(got.initrd, "/boot/i"));
    assert_int_equal(got.read_only.len, 2);
    prepared_volumes_done(&got);
}

/* Another implementation reads what ours writes. */
static void test_iso_images_are_read_by_others(void **state)
{
    const struct iso_file files[] = {
        {"meta-data", "{}", 2}, {"network-config", "", 0}, {"user-data", "#cloud-config\n", 14}};
    _cleanup_str_ struct str a = {0}, b = {0};
    _cleanup_free_ char *path = xasprintf("%s/seed.iso", folder);

    iso_write("cidata", files, 3, &a);
    iso_write("cidata", files, 3, &b);
    assert_int_equal(a.len % 2048, 0);
    assert_memory_equal(a.data, b.data, a.len);
    assert_return_code(fs_write(path, a.data, a.len, 0600, NULL), 0);
    sh("test \"$(blkid -o value -s LABEL seed.iso)\" = cidata; rm -rf out; mkdir out;"
       "xorriso -osirrox on -indev seed.iso -extract / out >xorriso.log 2>&1; ls out >names;"
       "printf 'meta-data\\nnetwork-config\\nuser-data\\n' | cmp - names;"
       "printf '#cloud-config\\n' | cmp - out/user-data; test ! -s out/network-config; ! grep -iE 'corrupt|damaged' "
       "xorriso.log");
}

static void test_iso_images_hold_big_files(void **state)
{
    _cleanup_free_ char *big = xcalloc(1, 1000000), *path = xasprintf("%s/big.iso", folder),
                        *data = xasprintf("%s/big", folder);
    _cleanup_str_ struct str iso = {0};

    memset(big, 'x', 1000000);
    const struct iso_file files[] = {{"meta-data", "{}", 2}, {"user-data", big, 1000000}};
    iso_write("cidata", files, 2, &iso);
    assert_return_code(fs_write(path, iso.data, iso.len, 0600, NULL), 0);
    assert_return_code(fs_write(data, big, 1000000, 0600, NULL), 0);
    sh("rm -rf out2; mkdir out2; xorriso -osirrox on -indev big.iso -extract / out2 >/dev/null 2>&1; cmp "
       "out2/user-data big");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_cannot_be_planned_says_why),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_every_kind_of_volume),
        cmocka_unit_test(test_a_target_prepares_the_same),
        cmocka_unit_test(test_where_volumes_of_our_classes_lie),
        cmocka_unit_test(test_what_cannot_be_prepared_says_why),
        cmocka_unit_test(test_a_full_disk_is_said),
        cmocka_unit_test(test_kernel_boot),
        cmocka_unit_test(test_iso_images_are_read_by_others),
        cmocka_unit_test(test_iso_images_hold_big_files),
    };

    return cmocka_run_group_tests(tests, set_up, store_tear_down);
}

/* The image store on real files: disks, archives made by tar with whiteouts, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/images.h"
#include "base/str.h"
#include "store-folder.h"

static void import(const char *name, const char *file, struct image *ret)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (image_import(store, name, path, ret, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static void assert_import_fails(const char *name, const char *file, const char *message)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct image image;

    assert_true(image_import(store, name, path, &image, &err) < 0);
    if (!strstr(gw_error_message(&err), message))
        fail_msg("\"%s\" does not say \"%s\"", gw_error_message(&err), message);
}

static void test_a_raw_disk(void **state)
{
    _cleanup_image_ struct image image = {0}, again = {0};
    const struct image_file *f;
    struct stat st;

    sh("dd if=/dev/urandom of=a.img bs=1k count=64 status=none; truncate -s 1M a.img");
    import("registry.example/guest:v1", "a.img", &image);
    assert_return_code(image_find(&image, NULL, &f, NULL), 0);
    assert_string_equal(f->path, "/disk/a.img");
    assert_string_equal(f->format, "raw");
    assert_int_equal(f->virtual_size, 1 << 20);
    assert_return_code(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_true(st.st_blocks * 512 < 512 * 1024); /* holes stay holes */
    import("registry.example/guest:v1", "a.img", &again);
    assert_string_equal(image.digest, again.digest);
}

static void test_a_qcow2_disk(void **state)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    sh("qemu-img create -q -f qcow2 b.qcow2 37M");
    import("plain", "b.qcow2", &image);
    assert_string_equal(image.name, "plain:latest");
    assert_return_code(image_find(&image, "", &f, NULL), 0);
    assert_string_equal(f->format, "qcow2");
    assert_int_equal(f->virtual_size, 37 << 20);
}

static void test_old_digests_stay(void **state)
{
    _cleanup_image_ struct image first = {0}, second = {0}, old = {0}, now = {0};
    const struct image_file *f;

    sh("echo one >c.img");
    import("moving:v1", "c.img", &first);
    sh("echo two >c.img");
    import("moving:v1", "c.img", &second);
    assert_string_not_equal(first.digest, second.digest);
    assert_return_code(image_resolve(store, "moving:v1", first.digest, &old, NULL), 0);
    assert_return_code(image_find(&old, NULL, &f, NULL), 0);
    _cleanup_free_ char *text = NULL;
    assert_return_code(fs_read(f->file, 0, &text, NULL, NULL), 0);
    assert_string_equal(text, "one\n");
    assert_return_code(image_resolve(store, "moving:v1", NULL, &now, NULL), 0);
    assert_string_equal(now.digest, second.digest);
}

static void test_a_docker_archive_with_whiteouts(void **state)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    sh("mkdir -p d/l1/disk d/l1/boot/old d/l2/disk d/l2/boot d/x1 d/x2; echo old >d/l1/disk/disk.img; echo k "
       ">d/l1/boot/vmlinuz;"
       "echo gone >d/l1/boot/old/file; echo keep >d/l1/keep; touch d/l2/disk/.wh.disk.img; echo new >d/l2/disk/new.img;"
       "touch d/l2/boot/.wh..wh..opq; echo k2 >d/l2/boot/kernel;"
       "tar -C d/l1 -cf d/x1/layer.tar .; tar -C d/l2 -czf d/x2/layer.tar .;"
       "echo '[{\"Config\":\"c.json\",\"Layers\":[\"x1/layer.tar\",\"x2/layer.tar\"]}]' >d/manifest.json;"
       "tar -C d -cf docker.tar manifest.json x1 x2");
    import("docker:1", "docker.tar", &image);
    assert_int_equal(image.files.len, 3);
    assert_string_equal(image.files.items[0].path, "/boot/kernel");
    assert_string_equal(image.files.items[1].path, "/disk/new.img");
    assert_string_equal(image.files.items[2].path, "/keep");
    assert_return_code(image_find(&image, "/boot/kernel", &f, NULL), 0);
    assert_return_code(image_find(&image, NULL, &f, NULL), 0);
    assert_string_equal(f->path, "/disk/new.img");
}

static void test_an_oci_archive(void **state)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    sh("mkdir -p o/blobs/sha256 o/l/disk; echo disk >o/l/disk/d.img; tar -C o/l -czf o/blobs/sha256/aaa disk;"
       "echo '{\"layers\":[{\"digest\":\"sha256:aaa\"}]}' >o/blobs/sha256/bbb; echo "
       "'{\"imageLayoutVersion\":\"1.0.0\"}' >o/oci-layout;"
       "echo "
       "'{\"manifests\":[{\"digest\":\"sha256:zzz\",\"platform\":{\"architecture\":\"arm64\"}},{\"digest\":\"sha256:"
       "bbb\"}]}'"
       " >o/index.json; tar -C o -cf oci.tar oci-layout index.json blobs");
    import("oci:1", "oci.tar", &image);
    assert_return_code(image_find(&image, "/disk/d.img", &f, NULL), 0);
}

static void test_a_tar_file_of_just_the_files(void **state)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    sh("mkdir -p p/boot; echo k >p/boot/vmlinuz; echo i >p/boot/initrd; tar -C p -cf plain.tar boot");
    import("kernel:1", "plain.tar", &image);
    assert_return_code(image_find(&image, "/boot/initrd", &f, NULL), 0);
}

static void test_refusals(void **state)
{
    sh("qemu-img create -q -f qcow2 base.qcow2 1M; qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2;"
       "qemu-img create -q -f qcow2 -o data_file=ext.raw ext.qcow2 1M; mkdir -p e; tar -cf empty.tar e;"
       "mkdir -p n/x; tar -cf n/x/layer.tar e; echo '[{\"Layers\":[\"../../etc/passwd\"]}]' >n/manifest.json;"
       "tar -C n -cf evil.tar manifest.json x; echo '[{\"Layers\":[\"x/layer.tar\"]}]' >n/manifest.json; "
       "tar -C n -cf hollow.tar manifest.json x");
    assert_import_fails("x", "overlay.qcow2", "backing file");
    assert_import_fails("x", "ext.qcow2", "another file");
    assert_import_fails("x", "empty.tar", "neither manifest.json");
    assert_import_fails("x", "evil.tar", "../../etc/passwd");
    assert_import_fails("x", "hollow.tar", "empty");
    assert_import_fails("x", "absent.img", "not there");
    assert_import_fails("a b", "base.qcow2", "no image name");
    sh("! ls store/.import-* 2>/dev/null");
}

static void test_what_is_missing_says_what_to_do(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT, other = GW_ERROR_INIT;
    _cleanup_image_ struct image image = {0}, found = {0};
    const struct image_file *f;

    assert_true(image_resolve(store, "nope/none", NULL, &image, &err) < 0);
    assert_int_equal(err.reason, GW_NOT_FOUND);
    assert_non_null(strstr(err.message, "godwit image import nope/none:latest FILE"));
    assert_return_code(image_resolve(store, "docker:1", NULL, &found, NULL), 0);
    assert_true(image_find(&found, "/disk/absent.img", &f, &other) < 0);
    assert_non_null(strstr(other.message, "it has: /boot/kernel, /disk/new.img, /keep"));
}

static void append_name(void *userdata, const struct image *image)
{
    str_printf(userdata, "%s ", image->name);
}

static void test_list(void **state)
{
    _cleanup_str_ struct str names = {0};

    assert_return_code(image_list(store, append_name, &names, NULL), 0);
    assert_string_equal(str_text(&names), "docker:1 kernel:1 moving:v1 oci:1 plain:latest registry.example/guest:v1 ");
    names.len = 0;
    assert_return_code(image_list("/nonexistent-store", append_name, &names, NULL), 0);
    assert_int_equal(names.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_raw_disk),
        cmocka_unit_test(test_a_qcow2_disk),
        cmocka_unit_test(test_old_digests_stay),
        cmocka_unit_test(test_a_docker_archive_with_whiteouts),
        cmocka_unit_test(test_an_oci_archive),
        cmocka_unit_test(test_a_tar_file_of_just_the_files),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_is_missing_says_what_to_do),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, store_set_up, store_tear_down);
}

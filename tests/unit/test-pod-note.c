#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/pod_note.h"
#include "base/alloc.h"
#include "base/fs.h"

struct found {
    struct pod_network *pods[4];
    size_t n;
};

static void keep(void *data, struct pod_network *p)
{
    struct found *f = data;

    f->pods[f->n++] = p;
}

static void drop(struct found *f)
{
    while (f->n)
        pod_network_free(f->pods[--f->n]);
}

static int make_folder(void **state)
{
    char *folder = xstrdup("/tmp/pod-note-XXXXXX");

    *state = mkdtemp(folder);
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    int r = fs_remove_tree(*state, NULL);

    free(*state);
    return r;
}

static void test_round_trip(void **state)
{
    struct pod_port ports[] = {{IPPROTO_TCP, 22}, {IPPROTO_UDP, 53}};
    struct pod_network p = {.uid = "u-1",
                            .vmi = "default/a",
                            .vm_address = "10.244.128.7",
                            .vm_cidr = "10.0.2.0/24",
                            .guest_mac = "52:54:00:00:00:01",
                            .netns = "/run/x",
                            .host_link = "gw-1",
                            .pod_address = "10.244.1.2",
                            .guest_address = "10.0.2.2",
                            .gateway_address = "10.0.2.1",
                            .prefix_len = 24,
                            .mtu = 1450,
                            .tap_owner = 107,
                            .ports = ports,
                            .n_ports = 2,
                            .state = ADDRESS_FORWARDING,
                            .epoch = 5,
                            .target_node = "n2",
                            .forward_until = 123456789012,
                            .destroyed = true};
    struct found found = {0};

    assert_int_equal(pod_note_write(*state, &p, NULL), 0);
    p.epoch = 6;
    assert_int_equal(pod_note_write(*state, &p, NULL), 0);
    assert_int_equal(pod_note_each(*state, keep, &found, NULL), 0);
    assert_int_equal(found.n, 1);
    struct pod_network *q = found.pods[0];
    assert_string_equal(q->uid, "u-1");
    assert_string_equal(q->target_node, "n2");
    assert_string_equal(q->gateway_address, "10.0.2.1");
    assert_int_equal(q->epoch, 6);
    assert_int_equal(q->forward_until, 123456789012);
    assert_int_equal(q->state, ADDRESS_FORWARDING);
    assert_int_equal(q->tap_owner, 107);
    assert_int_equal(q->n_ports, 2);
    assert_int_equal(q->ports[1].port, 53);
    assert_true(q->destroyed);
    drop(&found);
    assert_int_equal(pod_note_remove(*state, "u-1", NULL), 0);
    assert_int_equal(pod_note_remove(*state, "u-1", NULL), 0);
    assert_int_equal(pod_note_each(*state, keep, &found, NULL), 0);
    assert_int_equal(found.n, 0);
}

/* A draft that was not renamed is no note; a torn note still names its pod. */
static void test_torn(void **state)
{
    _cleanup_free_ char *draft = xasprintf("%s/u-2.new", (char *)*state),
                        *torn = xasprintf("%s/u-3.json", (char *)*state);
    struct found found = {0};

    assert_int_equal(fs_write(draft, "{\"uid\":", 7, 0600, NULL), 0);
    assert_int_equal(fs_write(torn, "{\"uid\":\"u-3\",\"sta", 17, 0600, NULL), 0);
    assert_int_equal(pod_note_each(*state, keep, &found, NULL), 0);
    assert_int_equal(found.n, 1);
    assert_string_equal(found.pods[0]->uid, "u-3");
    assert_null(found.pods[0]->pod_address);
    assert_int_equal(found.pods[0]->state, ADDRESS_GONE);
    drop(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_torn, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

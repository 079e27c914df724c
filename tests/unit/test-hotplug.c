/* Hot disks: every step of a plug and an unplug, killed and taken up at any of them, with and without a migration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/hotplug.h"
#include "agent/volumes/volumes.h"
#include "api/volumes.h"
#include "base/str.h"
#include "quoted.h"

/* What is true of one disk, in the world of these tests. */
struct world {
    bool wanted, noted, moving;
    enum disk_phase phase;
    bool said; /* the server has an entry with a place */
    enum disk_phase said_phase;
    bool device, nodes, guest_refuses, qemu_refuses, failed;
};

static struct hotplug_view view(const struct world *w)
{
    return (struct hotplug_view){.wanted = w->wanted,
                                 .noted = w->noted,
                                 .phase = w->phase,
                                 .told = w->said && w->said_phase == w->phase,
                                 .moving = w->moving,
                                 .device = w->device,
                                 .nodes = w->nodes,
                                 .failed = w->failed};
}

/* The server hears what is noted, but in the hands of a migration; the agent's patches do this. */
static void tell(struct world *w)
{
    if (w->moving)
        return;
    w->said = w->noted;
    w->said_phase = w->phase;
}

static void enter(struct world *w, enum disk_phase phase)
{
    w->phase = phase;
}

/* QEMU is touched only for what the server knows of, and never in the hands of a migration but to take back what has
 * not begun. */
static void perform(struct world *w, enum hotplug_action action)
{
    switch (action) {
    case HOTPLUG_ATTACH:
        assert_false(w->moving);
        w->noted = true;
        w->failed = false;
        return enter(w, DISK_PLUGGING);
    case HOTPLUG_PLUG:
        assert_true(w->said && w->said_phase == DISK_PLUGGING && !w->moving);
        w->nodes = true;
        w->device = !w->qemu_refuses;
        w->failed = w->qemu_refuses;
        return;
    case HOTPLUG_READY:
    case HOTPLUG_KEEP:
        assert_true(w->device);
        return enter(w, DISK_READY);
    case HOTPLUG_AGAIN:
        return enter(w, DISK_PLUGGING);
    case HOTPLUG_DETACH:
        assert_false(w->moving);
        return enter(w, DISK_DETACHING);
    case HOTPLUG_UNPLUG:
        assert_true(w->said && w->said_phase == DISK_DETACHING && !w->moving);
        w->device = w->guest_refuses;
        return;
    case HOTPLUG_CLEAN:
        assert_false(w->device);
        w->nodes = false;
        return;
    case HOTPLUG_FORGET:
        assert_false(w->device || w->nodes); /* or its place would be given to another */
        w->noted = false;
        return;
    default:
        return;
    }
}

/* Until nothing is to be done, with the server hearing of everything. */
static void settle(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        tell(w);
        struct hotplug_view v = view(w);
        enum hotplug_action action = hotplug_next(&v);
        if (action == HOTPLUG_WAIT)
            return;
        perform(w, action);
    }
}

static void test_a_disk_comes_and_goes(void **state)
{
    struct world w = {.wanted = true};

    settle(&w);
    assert_true(w.device && w.nodes && w.said && w.said_phase == DISK_READY);
    w.wanted = false;
    settle(&w);
    assert_false(w.device || w.nodes || w.noted || w.said);
}

/* Whatever a killed agent left, the next one comes to what is wanted. */
static void test_any_state_comes_to_what_is_wanted(void **state)
{
    for (unsigned bits = 0; bits < 64; bits++)
        for (enum disk_phase phase = 0; phase < DISK_PHASE_MAX; phase++) {
            struct world w = {.wanted = bits & 1,
                              .noted = bits & 2,
                              .phase = phase,
                              .said = bits & 4,
                              .said_phase = bits & 8 ? DISK_READY : phase,
                              .device = (bits & 2) && (bits & 16),
                              .nodes = (bits & 2) && (bits & (16 | 32))}; /* what is not noted is not in QEMU */
            settle(&w);
            settle(&w); /* a disk that was on its way out comes again */
            assert_int_equal(w.device, w.wanted);
            assert_int_equal(w.noted, w.wanted);
            assert_int_equal(w.said, w.wanted);
            if (w.wanted)
                assert_int_equal(w.said_phase, DISK_READY);
            else
                assert_false(w.nodes);
        }
}

/* The step was noted, the server never heard of it, and a migration took the VM: the source goes back to what the server
 * says, as its target does. */
static void test_a_step_that_came_too_late_is_taken_back(void **state)
{
    struct world plugging = {.noted = true, .wanted = true, .phase = DISK_PLUGGING, .moving = true};
    struct world detaching = {.noted = true,
                              .phase = DISK_DETACHING,
                              .moving = true,
                              .said = true,
                              .said_phase = DISK_READY,
                              .device = true,
                              .nodes = true};

    settle(&plugging);
    assert_false(plugging.noted || plugging.device);
    settle(&detaching);
    assert_int_equal(detaching.phase, DISK_READY);
    assert_true(detaching.device);
    plugging.moving = detaching.moving = false; /* it is over */
    settle(&plugging);
    settle(&detaching);
    assert_true(plugging.device);
    assert_false(detaching.device || detaching.noted);
}

static void test_nothing_begins_in_the_hands_of_a_migration(void **state)
{
    struct world in = {.wanted = true, .moving = true};
    struct world out = {.noted = true, .said = true, .device = true, .nodes = true, .moving = true};

    settle(&in);
    settle(&out);
    assert_false(in.noted || in.device);
    assert_true(out.noted && out.device && out.phase == DISK_READY);
}

static void test_refusals(void **state)
{
    struct world by_qemu = {.wanted = true, .qemu_refuses = true};
    struct world by_guest = {.noted = true, .said = true, .device = true, .nodes = true, .guest_refuses = true};
    struct hotplug_view v;

    for (int i = 0; i < 5; i++) { /* ATTACH, PLUG, CLEAN, FORGET, and so on */
        tell(&by_qemu);
        v = view(&by_qemu);
        perform(&by_qemu, hotplug_next(&v));
    }
    assert_true(by_qemu.noted || (!by_qemu.nodes && !by_qemu.device));
    settle(&by_guest);
    assert_true(by_guest.device && by_guest.phase == DISK_DETACHING);
    v = view(&by_guest);
    v.asked_now = true;
    assert_int_equal(hotplug_next(&v), HOTPLUG_WAIT);
    by_guest.guest_refuses = false;
    settle(&by_guest);
    assert_false(by_guest.device || by_guest.noted);
}

/* --- What the two sides of a migration have --- */

#define DISK_SPEC(name) "{'name':'" name "','disk':{'bus':'scsi'}}"
#define COLD "{'name':'cold','emptyDisk':{'capacity':'1Mi'}}"
#define CLAIM(name) "{'name':'" name "','persistentVolumeClaim':{'claimName':'" name "','hotpluggable':true}}"
#define STATUS(name, target, phase) \
    "{'name':'" name "','target':'" target "','phase':'" phase "','hotplugVolume':{'disk':" DISK_SPEC( \
        name) ",'volume':" CLAIM(name) "}}"
#define VMI(disks, volumes, status) \
    "{'spec':{'domain':{'devices':{'disks':[" disks "]}},'volumes':[" volumes "]},'status':{'volumeStatus':[" status "]}}"

static char *names_of(yyjson_doc *doc)
{
    _cleanup_str_ struct str s = {0};
    yyjson_val *item;

    json_each(json_at(yyjson_doc_get_root(doc), "/spec/domain/devices/disks"), item)
        str_printf(&s, "%s=%s ", json_str(item, "/name"), json_str_or(item, "/target", ""));
    json_each(json_at(yyjson_doc_get_root(doc), "/spec/volumes"), item)
        str_printf(&s, "%s ", json_str(item, "/name"));
    return str_take(&s);
}

static void assert_effective(const char *text, bool target, const char *want)
{
    _cleanup_doc_ yyjson_doc *vmi = json(text), *doc = volumes_effective(yyjson_doc_get_root(vmi), target);
    _cleanup_free_ char *got = names_of(doc);

    assert_string_equal(got, want);
}

static void test_what_a_launcher_starts_with(void **state)
{
    const char *vmi = VMI(DISK_SPEC("hot") "," DISK_SPEC("cold") "," DISK_SPEC("new"),
                          CLAIM("hot") "," COLD "," CLAIM("new"),
                          STATUS("gone", "sdd", "Ready") "," STATUS("hot", "sdb", "Ready") ","
                          "{'name':'new','target':'','phase':'Pending','hotplugVolume':{}}");

    assert_effective(vmi, false, "cold= hot= new= cold hot new ");
    assert_effective(vmi, true, "cold= gone=sdd hot=sdb cold gone hot ");
}

static void assert_alike(const char *status, bool alike, const char *why)
{
    struct disk disks[] = {{.name = "cold", .target = "vda"}, {.name = "hot", .target = "sdb", .hot = true}};
    const struct disk_vec all = {disks, 2, 2};
    _cleanup_free_ char *text = xasprintf(VMI("", "", "%s"), status), *got = NULL;
    _cleanup_doc_ yyjson_doc *vmi = json(text);

    assert_int_equal(disks_are_those_of(yyjson_doc_get_root(vmi), &all, &got), alike);
    if (why)
        assert_string_equal(got, why);
}

static void test_a_target_has_what_the_source_has(void **state)
{
    assert_alike(STATUS("hot", "sdb", "Ready"), true, NULL);
    assert_alike(STATUS("hot", "sdb", "Ready") ",{'name':'x','target':'','phase':'Pending','hotplugVolume':{}}", true,
                 NULL);
    assert_alike("", false, "volume hot was unplugged while the target was made ready");
    assert_alike(STATUS("hot", "sdc", "Ready"), false, "volume hot was unplugged while the target was made ready");
    assert_alike(STATUS("hot", "sdb", "Ready") "," STATUS("new", "sdc", "Ready"), false,
                 "volume new was plugged while the target was made ready");
}

static void test_settled(void **state)
{
    _cleanup_doc_ yyjson_doc *settled = json(VMI("", "", STATUS("a", "sda", "Ready") ",{'name':'b','phase':'Pending',"
                                                         "'target':'','hotplugVolume':{}},{'name':'c','target':'vda'}"));
    _cleanup_doc_ yyjson_doc *moving = json(VMI("", "", STATUS("a", "sda", "Detaching")));
    const char *name = NULL;

    assert_true(volumes_settled(yyjson_doc_get_root(settled), NULL));
    assert_false(volumes_settled(yyjson_doc_get_root(moving), &name));
    assert_string_equal(name, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_disk_comes_and_goes),
        cmocka_unit_test(test_any_state_comes_to_what_is_wanted),
        cmocka_unit_test(test_a_step_that_came_too_late_is_taken_back),
        cmocka_unit_test(test_nothing_begins_in_the_hands_of_a_migration),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_a_launcher_starts_with),
        cmocka_unit_test(test_a_target_has_what_the_source_has),
        cmocka_unit_test(test_settled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

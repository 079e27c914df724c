/* The run strategies: each row of the table in KubeVirt's documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "api/volumes.h"
#include "base/alloc.h"
#include "base/str.h"
#include "controllers/vm_plan.h"
#include "quoted.h"

static enum vm_action next(enum run_strategy strategy, enum instance_state instance)
{
    return vm_next(&(struct vm_view){.strategy = strategy, .instance = instance});
}

#define EXPECT(got, want) assert_string_equal(vm_action_string(got), vm_action_string(want))

static void test_always(void **state)
{
    EXPECT(next(RUN_ALWAYS, INSTANCE_NONE), VM_START);
    EXPECT(next(RUN_ALWAYS, INSTANCE_LIVE), VM_KEEP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_SUCCEEDED), VM_STOP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_FAILED), VM_STOP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_DELETING), VM_KEEP);
}

static void test_halted(void **state)
{
    EXPECT(next(RUN_HALTED, INSTANCE_NONE), VM_KEEP);
    EXPECT(next(RUN_HALTED, INSTANCE_LIVE), VM_STOP);
    EXPECT(next(RUN_HALTED, INSTANCE_FAILED), VM_STOP);
    EXPECT(vm_next(&(struct vm_view){.strategy = RUN_HALTED, .start_asked = true}), VM_TURN_ON);
    EXPECT(vm_next(&(struct vm_view){.strategy = RUN_HALTED, .start_asked = true, .instance = INSTANCE_LIVE}), VM_STOP);
}

static void test_manual(void **state)
{
    struct vm_view v = {.strategy = RUN_MANUAL, .strategy_new = true};

    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_START);
    v.instance = INSTANCE_SUCCEEDED;
    EXPECT(vm_next(&v), VM_KEEP); /* a final one stays until it is asked to stop */
    v.stop_asked = true;
    EXPECT(vm_next(&v), VM_STOP);
}

static void test_rerun_on_failure(void **state)
{
    struct vm_view v = {.strategy = RUN_RERUN_ON_FAILURE, .strategy_new = true};

    EXPECT(vm_next(&v), VM_START);
    v.strategy_new = false;
    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_START);
    EXPECT(next(RUN_RERUN_ON_FAILURE, INSTANCE_FAILED), VM_RERUN);
    EXPECT(next(RUN_RERUN_ON_FAILURE, INSTANCE_SUCCEEDED), VM_STOP);
}

static void test_once(void **state)
{
    struct vm_view v = {.strategy = RUN_ONCE, .strategy_new = true};

    EXPECT(vm_next(&v), VM_START);
    v.strategy_new = false;
    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_KEEP);
    EXPECT(next(RUN_ONCE, INSTANCE_FAILED), VM_KEEP);
    EXPECT(next(RUN_ONCE, INSTANCE_SUCCEEDED), VM_KEEP);
}

static void test_deletion_waits_for_the_instance(void **state)
{
    for (int s = 0; s < RUN_STRATEGY_MAX; s++) {
        struct vm_view v = {.strategy = (enum run_strategy)s, .instance = INSTANCE_LIVE, .deleting = true, .start_asked = true};
        EXPECT(vm_next(&v), VM_STOP);
        v.instance = INSTANCE_DELETING;
        EXPECT(vm_next(&v), VM_KEEP);
        v.instance = INSTANCE_NONE;
        EXPECT(vm_next(&v), VM_RELEASE);
    }
}

static void test_backoff(void **state)
{
    assert_int_equal(vm_backoff_ms(1), 10000);
    assert_int_equal(vm_backoff_ms(2), 40000);
    assert_int_equal(vm_backoff_ms(5), 250000);
    assert_int_equal(vm_backoff_ms(6), 300000);
    assert_int_equal(vm_backoff_ms(1000000), 300000);
}

static enum run_strategy strategy_of(const char *spec)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(spec, strlen(spec), 0);

    return run_strategy_of(yyjson_doc_get_root(doc));
}

static void test_strategy_of_a_vm(void **state)
{
    assert_int_equal(strategy_of("{\"spec\":{\"running\":true}}"), RUN_ALWAYS);
    assert_int_equal(strategy_of("{\"spec\":{\"running\":false}}"), RUN_HALTED);
    assert_int_equal(strategy_of("{\"spec\":{\"runStrategy\":\"RerunOnFailure\"}}"), RUN_RERUN_ON_FAILURE);
    assert_int_equal(strategy_of("{\"spec\":{\"runStrategy\":\"Manual\"}}"), RUN_MANUAL);
    assert_int_equal(strategy_of("{\"spec\":{}}"), RUN_HALTED);
}

#define HOT(name, claim) "{'name':'" name "','persistentVolumeClaim':{'claimName':'" claim "','hotpluggable':true}}"
#define DISK(name) "{'name':'" name "','disk':{'bus':'scsi'}}"
#define COLD "{'name':'root','containerDisk':{'image':'i'}}"
#define SPEC(volumes, disks) "{'volumes':[" volumes "],'domain':{'devices':{'disks':[" disks "]}}}"

/* What the instance is given, as "volumes;disks", "" for nothing. */
static void assert_volumes(const char *template, const char *spec, const char *status, const char *want)
{
    _cleanup_free_ char *vm_text = xasprintf("{'spec':{'template':{'spec':%s}}}", template);
    _cleanup_free_ char *vmi_text = xasprintf("{'spec':%s,'status':%s}", spec, status);
    _cleanup_doc_ yyjson_doc *vm = json(vm_text), *bare = json(vmi_text);
    _cleanup_mut_doc_ yyjson_mut_doc *marked = json_copy(yyjson_doc_get_root(bare));
    volume_set_ephemeral(marked, yyjson_doc_get_root(bare), "eph", true);
    _cleanup_doc_ yyjson_doc *vmi = yyjson_mut_doc_imut_copy(marked, NULL);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = vm_volumes_patch(yyjson_doc_get_root(vm), yyjson_doc_get_root(vmi));
    _cleanup_str_ struct str got = {0};
    yyjson_mut_val *item;
    size_t i, n;

    if (patch) {
        yyjson_mut_arr_foreach(json_mut_at(patch, "/spec/volumes"), i, n, item)
            str_printf(&got, "%s ", yyjson_mut_get_str(yyjson_mut_obj_get(item, "name")));
        str_puts(&got, ";");
        yyjson_mut_arr_foreach(json_mut_at(patch, "/spec/domain/devices/disks"), i, n, item)
            str_printf(&got, " %s", yyjson_mut_get_str(yyjson_mut_obj_get(item, "name")));
    }
    assert_string_equal(str_text(&got), want);
}

static void test_hot_volumes_follow_the_template(void **state)
{
    static const char runs[] = "{'phase':'Running'}", starts[] = "{'phase':'Scheduled'}";
    static const char going[] = "{'phase':'Running','volumeStatus':[{'name':'a','phase':'Detaching'}]}";
    const char *without = SPEC(COLD, DISK("root")), *with = SPEC(COLD "," HOT("a", "c"), DISK("root") "," DISK("a"));

    assert_volumes(with, with, runs, "");
    assert_volumes(with, without, runs, "root a ; root a");
    assert_volumes(with, without, starts, "");
    assert_volumes(without, with, runs, "root ; root");
    assert_volumes(with, without, going, ""); /* it comes again when it is gone */
    assert_volumes(SPEC(COLD "," HOT("a", "other"), DISK("root") "," DISK("a")), with, runs, "root ; root");
    assert_volumes(without, SPEC(COLD "," HOT("eph", "c"), DISK("root") "," DISK("eph")), runs, "");
    assert_volumes(SPEC(COLD "," HOT("a", "c"), DISK("root")), without, runs, ""); /* it has no disk */
    assert_volumes(SPEC("", ""), without, runs, ""); /* cold ones wait for a restart */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always),
        cmocka_unit_test(test_halted),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_rerun_on_failure),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_deletion_waits_for_the_instance),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_strategy_of_a_vm),
        cmocka_unit_test(test_hot_volumes_follow_the_template),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

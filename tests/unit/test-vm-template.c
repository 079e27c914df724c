/* Which changes of a VM's template its running instance has to be restarted for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "controllers/vm_template.h"

static yyjson_doc *vm(const char *spec)
{
    _cleanup_free_ char *text = xasprintf("{\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"template\":{\"spec\":%s}}}", spec);
    yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

/* Whether a VM that was started from `before` needs a restart for `after`. */
static bool needs(const char *before, const char *after)
{
    _cleanup_doc_ yyjson_doc *then = vm(before), *now = vm(after), *vmi = NULL;
    char digest[TEMPLATE_DIGEST_MAX];
    _cleanup_free_ char *text = xasprintf("{\"metadata\":{\"annotations\":{\"" ANNOTATION_TEMPLATE "\":\"%s\"}}}",
                                          template_digest(yyjson_doc_get_root(then), digest));

    assert_int_equal(json_parse(text, strlen(text), &vmi, NULL), 0);
    return template_needs_restart(yyjson_doc_get_root(now), yyjson_doc_get_root(vmi));
}

#define VOLUME "{\"name\":\"a\",\"containerDisk\":{\"image\":\"i\"}}"
#define PLUGGED "{\"name\":\"p\",\"persistentVolumeClaim\":{\"claimName\":\"c\",\"hotpluggable\":true}}"
#define NOT_PLUGGED "{\"name\":\"p\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}"
#define WITH_DISK ",{\"name\":\"p\",\"disk\":{\"bus\":\"scsi\"}}"

static void test_changes(void **state)
{
    static const struct {
        const char *before, *after;
        bool restart;
    } rows[] = {
        {"{\"domain\":{\"memory\":{\"guest\":\"1Gi\"}}}", "{\"domain\":{\"memory\":{\"guest\":\"1Gi\"}}}", false},
        {"{\"domain\":{\"memory\":{\"guest\":\"1Gi\"}}}", "{\"domain\":{\"memory\":{\"guest\":\"2Gi\"}}}", true},
        {"{\"a\":1,\"b\":{\"c\":true,\"d\":\"x\"}}", "{\"b\":{\"d\":\"x\",\"c\":true},\"a\":1}", false},
        {"{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}", true},
        {"{\"a\":[1,2]}", "{\"a\":[2,1]}", true},
        {"{\"a\":1}", "{\"a\":\"1\"}", true},
        {"{\"nodeSelector\":{\"zone\":\"a\"}}", "{}", true},
        {"{\"volumes\":[" VOLUME "]}", "{\"volumes\":[" VOLUME "," NOT_PLUGGED "]}", true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (needs(rows[i].before, rows[i].after) != rows[i].restart)
            fail_msg("from %s to %s", rows[i].before, rows[i].after);
}

static void test_plugging_needs_none(void **state)
{
    static const char before[] = "{\"domain\":{\"devices\":{\"disks\":[{\"name\":\"a\",\"disk\":{}}]}},\"volumes\":[" VOLUME "]}";
    static const char plugged[] =
        "{\"domain\":{\"devices\":{\"disks\":[{\"name\":\"a\",\"disk\":{}}" WITH_DISK "]}},\"volumes\":[" VOLUME "," PLUGGED "]}";
    static const char fixed[] =
        "{\"domain\":{\"devices\":{\"disks\":[{\"name\":\"a\",\"disk\":{}}" WITH_DISK "]}},\"volumes\":[" VOLUME "," NOT_PLUGGED "]}";

    assert_false(needs(before, plugged));
    assert_false(needs(plugged, before));
    assert_true(needs(before, fixed));
}

static void test_unknown_origin(void **state)
{
    _cleanup_doc_ yyjson_doc *now = vm("{\"a\":1}"), *vmi = NULL;

    assert_int_equal(json_parse("{\"metadata\":{}}", 15, &vmi, NULL), 0);
    assert_false(template_needs_restart(yyjson_doc_get_root(now), yyjson_doc_get_root(vmi)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_plugging_needs_none),
        cmocka_unit_test(test_unknown_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

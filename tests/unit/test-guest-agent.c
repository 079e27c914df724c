/* What a guest's agent says, and what becomes of it in the API: answers of real agents, and hostile ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/core/difference.h"
#include "agent/core/guest_status.h"
#include "agent/guest/answers.h"
#include "agent/guest/talk.h"
#include "base/str.h"
#include "quoted.h"

/* What make says of text, with ' for ". */
#define ASSERT_ANSWER(make, text, expected, ...) \
    do { \
        _cleanup_doc_ yyjson_doc *in_ = json(text); \
        _cleanup_mut_doc_ yyjson_mut_doc *d_ = json_object(); \
        yyjson_mut_val *v_ = make(d_, yyjson_doc_get_root(in_) __VA_OPT__(, ) __VA_ARGS__); \
        _cleanup_free_ char *out_ = v_ ? json_text(v_) : xstrdup("nothing"); \
        for (char *c_ = out_; *c_; c_++) \
            *c_ = *c_ == '"' ? '\'' : *c_; \
        assert_string_equal(out_, expected); \
    } while (0)

static void test_systems(void **state)
{
    ASSERT_ANSWER(answer_os,
                  "{'name':'Debian GNU/Linux','kernel-release':'6.1.0','version':'12 (bookworm)','pretty-name':'Debian "
                  "12','version-id':'12','kernel-version':'#1','machine':'x86_64','id':'debian','variant':'x'}",
                  "{'name':'Debian GNU/Linux','kernelRelease':'6.1.0','version':'12 (bookworm)','prettyName':'Debian "
                  "12','versionId':'12','kernelVersion':'#1','machine':'x86_64','id':'debian'}");
    ASSERT_ANSWER(answer_os, "{'name':5,'id':['x'],'version':''}", "nothing");
    ASSERT_ANSWER(answer_os, "[]", "nothing");
    ASSERT_ANSWER(answer_timezone, "{'zone':'CET','offset':3600}", "'CET, 3600'");
    ASSERT_ANSWER(answer_timezone, "7", "', 0'");
}

/* Terminals obey control characters; texts are cut between characters. */
static void test_texts_are_cleaned(void **state)
{
    _cleanup_free_ char *much = xasprintf("'%0254dx\xc3\xa4y'", 0), *cut = xasprintf("'%0254dx'", 0);

    ASSERT_ANSWER(answer_text, "'\\u001b[2Jred\\u009b31m\\u007f\\n\xc3\xa4'", "'?[2Jred?31m??\xc3\xa4'", "");
    ASSERT_ANSWER(answer_text, much, cut, "");
    ASSERT_ANSWER(answer_text, "'a\\u0000b'", "'a'", "");
}

static void test_interfaces(void **state)
{
    ASSERT_ANSWER(
        answer_interfaces,
        "[{'name':'lo','hardware-address':'00:00:00:00:00:00'},{'name':'eth0','hardware-address':'02:AA:00:00:00:01',"
        "'ip-addresses':[{'ip-address':'10.0.2.2','ip-address-type':'ipv4','prefix':24},{'ip-address':'fe80::1'},"
        "{'ip-address':'<script>'},{'ip-address':7},{}]},{'name':'tun0','hardware-address':'../../etc/passwd'},5,{}]",
        "[{'interfaceName':'eth0','mac':'02:aa:00:00:00:01','ipAddresses':['10.0.2.2','fe80::1']},"
        "{'interfaceName':'tun0','ipAddresses':[]}]");
    ASSERT_ANSWER(answer_interfaces, "{'name':'x'}", "[]");
}

static void test_users_and_file_systems(void **state)
{
    ASSERT_ANSWER(answer_users, "[{'user':'root','login-time':1515975891.5},{'user':'a','domain':'d','login-time':-1},7]",
                  "[{'userName':'root','loginTime':1515975891.5},{'userName':'a','domain':'d'},{'userName':''}]", 10);
    ASSERT_ANSWER(answer_users, "[{'user':'a'},{'user':'b'},{'user':'c'}]", "[{'userName':'a'},{'userName':'b'}]", 2);
    ASSERT_ANSWER(answer_filesystems,
                  "[{'name':'vda1','mountpoint':'/','type':'ext4','used-bytes':10,'total-bytes':18446744073709551615,"
                  "'disk':[{'serial':'s','bus-type':'virtio','pci-controller':{}}]},{'name':'vdb','disk':[]}]",
                  "[{'diskName':'vda1','mountPoint':'/','fileSystemType':'ext4','usedBytes':10,'totalBytes':0,'disk':[{"
                  "'serial':'s','busType':'virtio'}]},{'diskName':'vdb','mountPoint':'','fileSystemType':'','usedBytes':0,"
                  "'totalBytes':0}]",
                  10);
}

#define COMMAND(name) "{'name':'" name "','enabled':true},"
#define ALL_COMMANDS \
    COMMAND("guest-ping") COMMAND("guest-get-time") COMMAND("guest-info") COMMAND("guest-shutdown") \
    COMMAND("guest-network-get-interfaces") COMMAND("guest-get-fsinfo") COMMAND("guest-get-host-name") \
    COMMAND("guest-get-users") COMMAND("guest-get-timezone")

static void test_supported_agents(void **state)
{
    _cleanup_doc_ yyjson_doc *good = json("{'supported_commands':[" ALL_COMMANDS "{'name':'guest-get-osinfo','enabled':true}]}");
    _cleanup_doc_ yyjson_doc *bad = json("{'supported_commands':[" ALL_COMMANDS "{'name':'guest-get-osinfo','enabled':false}]}");

    assert_null(answer_unsupported(yyjson_doc_get_root(good)));
    assert_string_equal(answer_unsupported(yyjson_doc_get_root(bad)),
                        "This guest agent doesn't support required basic commands");
    assert_non_null(answer_unsupported(NULL));
    ASSERT_ANSWER(answer_commands, "{'supported_commands':[{'name':'a','enabled':true},{'name':'b','enabled':false}]}",
                  "[{'name':'a','enabled':true},{'name':'b'}]");
}

static void test_the_times_of_questions(void **state)
{
    static const int64_t expected[] = {10000, 20000, 40000, 80000, 120000, 120000};

    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
        assert_int_equal(poll_pause_ms(120000, i), expected[i]);
    assert_int_equal(poll_pause_ms(5000, 0), 5000);
    assert_int_equal(poll_pause_ms(300000, 4000000000u), 300000);
}

/* --- In the status --- */

#define NOW 1763712000000

/* The least patch, with ' for "; "" for none. */
static char *patch_of(const char *vmi_text, const char *guest_text)
{
    _cleanup_doc_ yyjson_doc *vmi = json(vmi_text), *guest = guest_text ? json(guest_text) : NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *want = json_object();

    keep_conditions(want, yyjson_doc_get_root(vmi));
    want_guest(want, yyjson_doc_get_root(vmi), guest ? yyjson_doc_get_root(guest) : NULL, NOW);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_difference(yyjson_doc_get_root(vmi), want);
    char *text = patch ? json_text(yyjson_mut_doc_get_root(patch)) : xstrdup("");
    for (char *c = text; *c; c++)
        *c = *c == '"' ? '\'' : *c;
    return text;
}

#define ASSERT_PATCH(vmi, guest, expected) \
    do { \
        _cleanup_free_ char *text_ = patch_of(vmi, guest); \
        assert_string_equal(text_, expected); \
    } while (0)

#define CONNECTED \
    "{'type':'AgentConnected','status':'True','lastTransitionTime':'2025-11-21T08:00:00Z'}"

static void test_the_condition(void **state)
{
    ASSERT_PATCH("{'status':{'conditions':[]}}", "{'connected':true}", "{'status':{'conditions':[" CONNECTED "]}}");
    ASSERT_PATCH("{'status':{'conditions':[" CONNECTED "]}}", "{'connected':true}", "");
    ASSERT_PATCH("{'status':{'conditions':[" CONNECTED "]}}", "{'connected':false}", "{'status':{'conditions':[]}}");
    /* An agent that has not asked yet does not know better than those before it. */
    ASSERT_PATCH("{'status':{'conditions':[" CONNECTED "]}}", NULL, "");
    _cleanup_free_ char *unsupported = patch_of("{'status':{'conditions':[]}}", "{'connected':true,'unsupported':'why'}");
    assert_non_null(strstr(unsupported, "'type':'AgentVersionNotSupported','status':'True'"));
    assert_non_null(strstr(unsupported, "'reason':'why'"));
}

static void test_system_and_freeze(void **state)
{
    ASSERT_PATCH("{'status':{'conditions':[],'guestOSInfo':{'name':'a','version':'1'}}}",
                 "{'connected':false,'os':{'name':'b','id':'c'}}",
                 "{'status':{'guestOSInfo':{'name':'b','version':null,'id':'c'}}}");
    ASSERT_PATCH("{'status':{'conditions':[],'guestOSInfo':{'name':'b'}}}", "{'connected':false,'os':{'name':'b'}}", "");
    ASSERT_PATCH("{'status':{'conditions':[]}}", "{'connected':false,'freeze':'frozen'}",
                 "{'status':{'fsFreezeStatus':'frozen'}}");
    ASSERT_PATCH("{'status':{'conditions':[],'fsFreezeStatus':'frozen'}}", "{'connected':false,'freeze':'thawed'}",
                 "{'status':{'fsFreezeStatus':null}}");
    ASSERT_PATCH("{'status':{'conditions':[]}}", "{'connected':false,'freeze':'thawed','unfreezeAt':null}", "");
    ASSERT_PATCH("{'metadata':{'annotations':{'godwit.io/unfreeze-at':'t'}},'status':{'conditions':[]}}",
                 "{'connected':false,'unfreezeAt':null}",
                 "{'metadata':{'annotations':{'godwit.io/unfreeze-at':null}}}");
    ASSERT_PATCH("{'metadata':{'annotations':{'godwit.io/unfreeze-at':'t'}},'status':{'conditions':[]}}",
                 "{'connected':false}", "");
}

static char *merged(const char *vmi_text, const char *guest_text)
{
    _cleanup_doc_ yyjson_doc *vmi = json(vmi_text), *guest = guest_text ? json(guest_text) : NULL;
    _cleanup_doc_ yyjson_doc *domain = json("[{'name':'default','mac':'02:00:00:00:00:01','ipAddress':'10.244.0.7',"
                                            "'ipAddresses':['10.244.0.7'],'infoSource':'domain'}]");
    _cleanup_mut_doc_ yyjson_mut_doc *want = json_copy(yyjson_doc_get_root(domain));

    if (!merge_guest_interfaces(want, yyjson_mut_doc_get_root(want), yyjson_doc_get_root(vmi),
                                guest ? yyjson_doc_get_root(guest) : NULL))
        return xstrdup("kept");
    char *text = json_text(yyjson_mut_doc_get_root(want));
    for (char *c = text; *c; c++)
        *c = *c == '"' ? '\'' : *c;
    return text;
}

#define ASSERT_MERGED(vmi, guest, expected) \
    do { \
        _cleanup_free_ char *text_ = merged(vmi, guest); \
        assert_string_equal(text_, expected); \
    } while (0)
#define SPEC "'spec':{'domain':{'devices':{'interfaces':[{'name':'default','masquerade':{}}]}}}"

static void test_interfaces_in_the_status(void **state)
{
    /* The address of the pod's network stays, a masqueraded guest's link-local ones are nobody's business. */
    ASSERT_MERGED("{" SPEC "}",
                  "{'interfaces':[{'interfaceName':'eth0','mac':'02:00:00:00:00:01','ipAddresses':['10.0.2.2','fe80::1',"
                  "'fd00::2']},{'interfaceName':'docker0','mac':'02:42:00:00:00:01','ipAddresses':['172.17.0.1']}]}",
                  "[{'name':'default','mac':'02:00:00:00:00:01','infoSource':'domain, guest-agent','ipAddress':'10.244.0.7',"
                  "'ipAddresses':['10.244.0.7','fd00::2'],'interfaceName':'eth0'},{'ipAddress':'172.17.0.1','ipAddresses':["
                  "'172.17.0.1'],'mac':'02:42:00:00:00:01','interfaceName':'docker0','infoSource':'guest-agent'}]");
    /* A bridge over the card. */
    ASSERT_MERGED("{" SPEC "}",
                  "{'interfaces':[{'interfaceName':'eth0','mac':'02:00:00:00:00:01','ipAddresses':[]},"
                  "{'interfaceName':'br0','mac':'02:00:00:00:00:01','ipAddresses':['10.0.2.2']}]}",
                  "[{'name':'default','mac':'02:00:00:00:00:01','infoSource':'domain, guest-agent','ipAddress':'10.244.0.7',"
                  "'ipAddresses':['10.244.0.7'],'interfaceName':'br0'}]");
    /* A guest without an address cannot be reached by it. */
    ASSERT_MERGED("{" SPEC "}", "{'interfaces':[{'interfaceName':'eth0','mac':'02:00:00:00:00:01','ipAddresses':[]}]}",
                  "[{'name':'default','mac':'02:00:00:00:00:01','infoSource':'domain, guest-agent','interfaceName':'eth0'}]");
    ASSERT_MERGED("{" SPEC "}", NULL,
                  "[{'name':'default','mac':'02:00:00:00:00:01','ipAddress':'10.244.0.7','ipAddresses':['10.244.0.7'],"
                  "'infoSource':'domain'}]");
    ASSERT_MERGED("{" SPEC ",'status':{'interfaces':[{'infoSource':'domain, guest-agent'}]}}", NULL, "kept");
    ASSERT_MERGED("{" SPEC ",'status':{'interfaces':[{'infoSource':'domain, guest-agent'}]}}", "{'connected':true}", "kept");
}

static void test_a_guest_with_many_interfaces(void **state)
{
    _cleanup_str_ struct str text = {0};
    size_t n = 0;

    str_puts(&text, "{'interfaces':[");
    for (int i = 0; i < 50; i++)
        str_printf(&text, "%s{'interfaceName':'veth%d','ipAddresses':[]}", i ? "," : "", i);
    str_puts(&text, "]}");
    _cleanup_free_ char *all = merged("{" SPEC "}", str_text(&text));
    for (const char *at = all; (at = strstr(at, "veth")); at++)
        n++;
    assert_int_equal(n, 10);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_systems),
        cmocka_unit_test(test_texts_are_cleaned),
        cmocka_unit_test(test_interfaces),
        cmocka_unit_test(test_users_and_file_systems),
        cmocka_unit_test(test_supported_agents),
        cmocka_unit_test(test_the_times_of_questions),
        cmocka_unit_test(test_the_condition),
        cmocka_unit_test(test_system_and_freeze),
        cmocka_unit_test(test_interfaces_in_the_status),
        cmocka_unit_test(test_a_guest_with_many_interfaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The command line of many specs, compared word by word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/qemu/attach.h"
#include "agent/qemu/command.h"
#include "base/alloc.h"
#include "base/str.h"
#include "quoted.h"

static const char FACTS_TCG[] =
    "{'binary':'qemu','version':'10.0.2','kvm':false,'kvmReason':'no','machine':'pc-q35-10.0','vendor':'GenuineIntel',"
    "'machines':['pc-q35-10.0','pc-q35-9.2','q35'],'features':['aes','sse4.2'],'hostModel':'Westmere','hostFeatures':[]"
    ","
    "'models':[{'name':'Westmere','missing':[]},{'name':'Haswell','missing':['pcid','invpcid']}]}";
static const char FACTS_KVM[] =
    "{'binary':'qemu','version':'7.2.22','kvm':true,'machine':'pc-q35-7.2','vendor':'GenuineIntel',"
    "'machines':['pc-q35-7.2','q35'],'features':['aes','pcid','md-clear'],'hostModel':'Haswell',"
    "'hostFeatures':['md-clear','ssbd'],'models':[{'name':'Haswell','missing':[]}]}";

static struct qemu_facts *facts(const char *text)
{
    _cleanup_doc_ yyjson_doc *doc = json(text);
    struct qemu_facts *f = NULL;

    assert_return_code(qemu_facts_read(yyjson_doc_get_root(doc), &f, NULL), 0);
    return f;
}

/* The words from `from` up to, not including, `to`, with ' for ". */
static char *words(const struct strv *v, const char *from, const char *to)
{
    struct str s = {0};
    bool in = false;

    for (size_t i = 0; i < v->len; i++) {
        in = in || streq(v->items[i], from);
        if (in && to && streq(v->items[i], to))
            break;
        if (in)
            str_printf(&s, "%s%s", s.len ? " " : "", v->items[i]);
    }
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '"')
            s.data[i] = '\'';
    return str_take(&s);
}

#define assert_words(v, from, to, expected) \
    do { \
        _cleanup_free_ char *_got = words(v, from, to); \
        assert_string_equal(_got, expected); \
    } while (0)

static bool has_word(const struct strv *v, const char *part)
{
    for (size_t i = 0; i < v->len; i++)
        if (strstr(v->items[i], part))
            return true;
    return false;
}

static const struct qemu_setup base_setup = {.binary = "/usr/bin/qemu",
                                             .accelerator = "tcg",
                                             .machine = "pc-q35-10.0",
                                             .cpu = "Westmere-v1",
                                             .sockets = true,
                                             .console_fd = 3,
                                             .qmp_fd = 4};

static void build(const char *spec, const struct qemu_setup *s, struct strv *out)
{
    _cleanup_doc_ yyjson_doc *vmi = json(spec);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (qemu_command(yyjson_doc_get_root(vmi), s, out, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static void assert_refused(const char *spec, const struct qemu_setup *s, const char *message)
{
    _cleanup_doc_ yyjson_doc *vmi = json(spec);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_strv_ struct strv out = {0};

    assert_true(qemu_command(yyjson_doc_get_root(vmi), s, &out, &err) < 0);
    if (!strstr(gw_error_message(&err), message))
        fail_msg("\"%s\" does not say \"%s\"", gw_error_message(&err), message);
}

#define SMALL \
    "{'metadata':{'namespace':'ns','name':'vm1','uid':'11111111-2222-3333-4444-555555555555'}," \
    "'spec':{'domain':{'memory':{'guest':'128Mi'}"

#define SOCKETS \
    "-device {'driver':'virtio-scsi-pci','id':'scsi','bus':'pcie.0','addr':'0x1e.0x0'} " \
    "-device {'driver':'pcie-root-port','id':'hotport0','bus':'pcie.0','addr':'0x1d.0x0','multifunction':true," \
    "'chassis':1} " \
    "-device {'driver':'pcie-root-port','id':'hotport1','bus':'pcie.0','addr':'0x1d.0x1','chassis':2} " \
    "-device {'driver':'pcie-root-port','id':'hotport2','bus':'pcie.0','addr':'0x1d.0x2','chassis':3} " \
    "-device {'driver':'pcie-root-port','id':'hotport3','bus':'pcie.0','addr':'0x1d.0x3','chassis':4}"

static void test_the_smallest_machine(void **state)
{
    _cleanup_strv_ struct strv out = {0};

    build(SMALL "}}}", &base_setup, &out);
    assert_words(
        &out, "/usr/bin/qemu", NULL,
        "/usr/bin/qemu -name guest=ns_vm1 -uuid 11111111-2222-3333-4444-555555555555 -rtc base=utc "
        "-boot menu=off,strict=on "
        "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny "
        "-nodefaults -no-user-config -display none -msg timestamp=on -S "
        "-machine pc-q35-10.0,usb=off,vmport=off,dump-guest-core=off,memory-backend=ram -accel tcg,thread=multi "
        "-cpu Westmere-v1 -smp cpus=1,sockets=1,cores=1,threads=1 -m size=134217728b "
        "-object {'qom-type':'memory-backend-memfd','id':'ram','size':134217728,'share':true} "
        "-chardev socket,id=qmp-agent,path=qmp.sock,server=on,wait=off -mon chardev=qmp-agent,mode=control "
        "-chardev socket,id=qmp-tools,path=qmp-tools.sock,server=on,wait=off -mon chardev=qmp-tools,mode=control "
        "-chardev socket,id=qmp-launcher,fd=4 -mon chardev=qmp-launcher,mode=control "
        "-chardev socket,id=console,fd=3 -device {'driver':'isa-serial','id':'console-dev','chardev':'console'} "
        "-object {'qom-type':'rng-random','id':'rng','filename':'/dev/urandom'} "
        "-device {'driver':'virtio-rng-pci','id':'rng-dev','rng':'rng','bus':'pcie.0','addr':'0x2.0x0'} "
        "-device {'driver':'virtio-balloon-pci','id':'balloon-dev','bus':'pcie.0','addr':'0x3.0x0'} " SOCKETS);
}

/* Beside the random numbers, whose device says so by its header then: VMs that were started without the channel must
 * keep the device as it was. */
static void test_the_channel_of_the_guest_agent(void **state)
{
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.guest_agent = true;
    build(SMALL "}}}", &s, &out);
    assert_words(&out, "-object", "-chardev",
                 "-object {'qom-type':'memory-backend-memfd','id':'ram','size':134217728,'share':true}");
    assert_true(has_word(&out, "\"driver\":\"virtio-rng-pci\",\"id\":\"rng-dev\",\"rng\":\"rng\",\"bus\":\"pcie.0\",\"addr\":\"0x2."
                          "0x0\",\"multifunction\":true"));
    assert_true(has_word(&out, "\"driver\":\"virtio-serial-pci\",\"id\":\"serial\",\"bus\":\"pcie.0\",\"addr\":\"0x2.0x1\""));
    assert_true(has_word(&out, "socket,id=guest-agent,path=guest-agent.sock,server=on,wait=off"));
    assert_true(has_word(&out, "\"bus\":\"serial.0\",\"chardev\":\"guest-agent\",\"name\":\"org.qemu.guest_agent.0\""));
}

static void test_what_a_spec_can_turn_off_or_set(void **state)
{
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.accelerator = "kvm";
    s.cpu = "Haswell,enforce";
    s.incoming = true;
    s.kernel = "/images/a,b/vmlinuz";
    s.initrd = "/images/a,b/initrd";
    build("{'metadata':{'name':'v'},'spec':{'domain':{'resources':{'requests':{'memory':'1G','cpu':'1500m'}},"
          "'firmware':{'uuid':'aaaaaaaa-2222-3333-4444-555555555555','serial':'S1','kernelBoot':{'kernelArgs':'console="
          "ttyS0'}},"
          "'devices':{'autoattachSerialConsole':false,'autoattachMemBalloon':false}}}}",
          &s, &out);
    assert_words(&out, "-uuid", "-rtc", "-uuid aaaaaaaa-2222-3333-4444-555555555555 -smbios type=1,serial=S1");
    assert_words(&out, "-accel", "-object",
                 "-accel kvm -cpu Haswell,enforce -smp cpus=2,sockets=2,cores=1,threads=1 "
                 "-m size=1000000000b");
    assert_words(&out, "-kernel", "-chardev",
                 "-kernel /images/a,b/vmlinuz -initrd /images/a,b/initrd -append console=ttyS0");
    assert_false(has_word(&out, "console-dev"));
    assert_false(has_word(&out, "-vnc") || has_word(&out, "video-dev"));
    assert_false(has_word(&out, "balloon"));
    assert_words(&out, "-incoming", NULL, "-incoming defer");
}

#define DISKS(list) SMALL ",'devices':{'autoattachMemBalloon':false,'disks':[" list "]}}}}"

static void test_graphics_where_they_are_asked_for(void **state)
{
    _cleanup_strv_ struct strv out = {0};

    build("{'metadata':{'name':'v'},'spec':{'domain':{'resources':{'requests':{'memory':'1G'}},"
          "'devices':{'autoattachGraphicsDevice':true}}}}",
          &base_setup, &out);
    assert_words(&out, "-vnc", "-object",
                 "-vnc unix:vnc.sock -device {'driver':'VGA','id':'video-dev','bus':'pcie.0','addr':'0x1.0x0'}");
}

static void test_disks_of_all_kinds(void **state)
{
    const struct disk disks[] = {
        {.name = "root",
         .path = "/d/root.qcow2",
         .format = "qcow2",
         .backing = "/i/disk.img",
         .backing_format = "raw",
         .direct = true},
        {.name = "init", .path = "/d/init.iso", .format = "raw", .read_only = true},
        {.name = "data", .path = "/d/data.img", .format = "raw", .direct = true, .shared = true},
        {.name = "extra", .path = "/d/e.qcow2", .format = "qcow2"},
    };
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.disks = disks;
    s.n_disks = 4;
    build(DISKS("{'name':'root','disk':{'bus':'virtio'},'serial':'R'},{'name':'init','cdrom':{}},"
                "{'name':'data','disk':{},'io':'native'},{'name':'extra','disk':{'bus':'scsi'},'cache':'writeback'}"),
          &s, &out);
    assert_words(
        &out, "-blockdev", NULL,
        "-blockdev {'driver':'file','node-name':'disk0-base-file','filename':'/i/disk.img','read-only':true,"
        "'cache':{'direct':true},'aio':'threads'} "
        "-blockdev {'driver':'raw','node-name':'disk0-base','file':'disk0-base-file','read-only':true} "
        "-blockdev {'driver':'file','node-name':'disk0-file','filename':'/d/root.qcow2','read-only':false,"
        "'cache':{'direct':true},'aio':'threads','discard':'unmap'} "
        "-blockdev {'driver':'qcow2','node-name':'disk0','file':'disk0-file','read-only':false,'discard':'unmap',"
        "'backing':'disk0-base'} "
        "-device {'driver':'virtio-blk-pci','id':'disk0-dev','drive':'disk0','bus':'pcie.0','addr':'0x8.0x0',"
        "'multifunction':true,'serial':'R','write-cache':'on','bootindex':1} "
        "-blockdev {'driver':'file','node-name':'disk1-file','filename':'/d/init.iso','read-only':true,"
        "'cache':{'direct':false},'aio':'threads'} "
        "-blockdev {'driver':'raw','node-name':'disk1','file':'disk1-file','read-only':true} "
        "-device {'driver':'ide-cd','id':'disk1-dev','drive':'disk1','bus':'ide.0','bootindex':2} "
        "-blockdev {'driver':'file','node-name':'disk2-file','filename':'/d/data.img','read-only':false,"
        "'cache':{'direct':true},'aio':'native','discard':'unmap'} "
        "-blockdev {'driver':'raw','node-name':'disk2','file':'disk2-file','read-only':false,'discard':'unmap'} "
        "-device {'driver':'virtio-blk-pci','id':'disk2-dev','drive':'disk2','bus':'pcie.0','addr':'0x9.0x0',"
        "'multifunction':true,'write-cache':'on','bootindex':3} "
        "-blockdev {'driver':'file','node-name':'disk3-file','filename':'/d/e.qcow2','read-only':false,"
        "'cache':{'direct':false},'aio':'threads','discard':'unmap'} "
        "-blockdev {'driver':'qcow2','node-name':'disk3','file':'disk3-file','read-only':false,'discard':'unmap',"
        "'backing':null} "
        "-device {'driver':'scsi-hd','id':'disk3-dev','drive':'disk3','bus':'scsi.0','scsi-id':0,'write-cache':'on',"
        "'bootindex':4}");
    assert_true(has_word(&out, "\"virtio-scsi-pci\",\"id\":\"scsi\",\"bus\":\"pcie.0\",\"addr\":\"0x1e.0x0\""));
}

static void test_a_given_boot_order_is_the_only_one(void **state)
{
    const struct disk disks[] = {{.name = "a", .path = "/a", .format = "raw"},
                                 {.name = "b", .path = "/b", .format = "raw"}};
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.disks = disks;
    s.n_disks = 2;
    build(DISKS("{'name':'a','disk':{'bus':'sata'}},{'name':'b','disk':{},'bootOrder':7}"), &s, &out);
    assert_true(has_word(&out, "\"drive\":\"disk0\",\"bus\":\"ide.0\",\"write-cache\":\"off\"}"));
    assert_true(has_word(
        &out, "\"drive\":\"disk1\",\"bus\":\"pcie.0\",\"addr\":\"0x8.0x0\",\"multifunction\":true,\"write-cache\":\"off\","
              "\"bootindex\":7"));
}

/* Their numbers may change, their places not: the target of a migration is started with them, the source was not. */
static void test_hot_disks_stand_where_they_were_plugged(void **state)
{
    const struct disk disks[] = {{.name = "a", .path = "/a", .format = "raw", .target = "vda"},
                                 {.name = "x", .path = "/x", .format = "raw", .target = "sdc", .hot = true},
                                 {.name = "y", .path = "/y", .format = "raw", .target = "vdc", .hot = true}};
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.disks = disks;
    s.n_disks = 3;
    build(DISKS("{'name':'a','disk':{}},{'name':'x','disk':{'bus':'scsi'},'serial':'S'},{'name':'y','disk':{}}"), &s,
          &out);
    assert_true(has_word(&out, "\"driver\":\"scsi-hd\",\"id\":\"hot-sdc-dev\",\"drive\":\"hot-sdc\",\"bus\":\"scsi.0\","
                               "\"scsi-id\":2,\"serial\":\"S\",\"write-cache\":\"off\"}"));
    assert_true(has_word(&out, "\"id\":\"hot-vdc-dev\",\"drive\":\"hot-vdc\",\"bus\":\"hotport1\",\"addr\":\"0x0\""));
    assert_true(has_word(&out, "\"node-name\":\"hot-sdc-file\",\"filename\":\"/x\""));
}

static void test_places_of_hot_disks(void **state)
{
    struct disk disks[8] = {{.name = "a", .target = "vda"}, {.name = "b", .target = "sda"}};
    const struct disk_vec none = {0};
    struct disk_vec all = {disks, 2, 8};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *scsi = json("{'name':'d','disk':{'bus':'scsi'}}"),
                             *virtio = json("{'name':'d','disk':{'bus':'virtio'}}"),
                             *sata = json("{'name':'d','disk':{'bus':'sata'}}");
    char target[DISK_TARGET_MAX];
    static char names[4][DISK_TARGET_MAX];

    assert_int_equal(attachment_find_place(yyjson_doc_get_root(scsi), &none, target, &err), 0);
    assert_string_equal(target, "sda");
    assert_int_equal(attachment_find_place(yyjson_doc_get_root(scsi), &all, target, &err), 0);
    assert_string_equal(target, "sdb");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(attachment_find_place(yyjson_doc_get_root(virtio), &all, names[i], &err), 0);
        disks[all.len++] = (struct disk){.name = "h", .target = names[i], .hot = true};
    }
    assert_string_equal(names[0], "vdb");
    assert_string_equal(names[3], "vde");
    assert_true(attachment_find_place(yyjson_doc_get_root(virtio), &all, target, &err) < 0);
    assert_string_equal(gw_error_message(&err), "disk d: no free place on bus virtio, which takes 4 disks while the VM "
                                                "runs; bus scsi takes more");
    disks[3].target = NULL; /* one went */
    assert_int_equal(attachment_find_place(yyjson_doc_get_root(virtio), &all, target, &err), 0);
    assert_string_equal(target, "vdc");
    assert_true(attachment_find_place(yyjson_doc_get_root(sata), &all, target, &err) < 0);
}

static void test_no_places_where_hotplug_is_disabled(void **state)
{
    _cleanup_strv_ struct strv out = {0};

    struct qemu_setup s = base_setup;

    s.sockets = false;
    build(SMALL "}}}", &s, &out);
    assert_false(has_word(&out, "virtio-scsi-pci"));
    assert_false(has_word(&out, "pcie-root-port"));
}

static void test_thirty_disks_have_thirty_places(void **state)
{
    struct disk disks[30] = {0};
    char names[30][8];
    _cleanup_str_ struct str spec = {0};
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    str_puts(&spec, SMALL ",'devices':{'disks':[");
    for (int i = 0; i < 30; i++) {
        snprintf(names[i], sizeof(names[i]), "d%d", i);
        disks[i] = (struct disk){.name = names[i], .path = names[i], .format = "raw"};
        str_printf(&spec, "%s{'name':'d%d','disk':{}}", i ? "," : "", i);
    }
    str_puts(&spec, "]}}}}");
    s.disks = disks;
    s.n_disks = 30;
    build(str_text(&spec), &s, &out);
    assert_true(has_word(&out, "\"drive\":\"disk20\",\"bus\":\"pcie.0\",\"addr\":\"0x1c.0x0\",\"multifunction\":true"));
    assert_true(has_word(&out, "\"drive\":\"disk21\",\"bus\":\"pcie.0\",\"addr\":\"0x8.0x1\",\"write-cache\""));
    assert_true(has_word(&out, "\"drive\":\"disk29\",\"bus\":\"pcie.0\",\"addr\":\"0x10.0x1\""));
}

static void test_network(void **state)
{
    const struct qemu_nic nics[] = {{"tap0", true}, {"tap1", false}};
    struct qemu_setup s = base_setup;
    _cleanup_strv_ struct strv out = {0};

    s.nics = nics;
    s.n_nics = 2;
    build(SMALL ",'devices':{'interfaces':[{'name':'default','masquerade':{},'macAddress':'52-54-00-12-34-56'},"
                "{'name':'x','model':'e1000e','macAddress':'52:54:00:00:00:01'}]}}}}",
          &s, &out);
    assert_words(
        &out, "-netdev", NULL,
        "-netdev {'type':'tap','id':'net0','ifname':'tap0','script':'no','downscript':'no','vhost':true} "
        "-device {'driver':'virtio-net-pci','id':'net0-dev','netdev':'net0','mac':'52:54:00:12:34:56','bus':'pcie.0',"
        "'addr':'0x4.0x0','multifunction':true,'romfile':''} "
        "-netdev {'type':'tap','id':'net1','ifname':'tap1','script':'no','downscript':'no'} "
        "-device {'driver':'e1000e','id':'net1-dev','netdev':'net1','mac':'52:54:00:00:00:01','bus':'pcie.0',"
        "'addr':'0x5.0x0','multifunction':true,'romfile':''} " SOCKETS);
}

static void test_macs_follow_from_names(void **state)
{
    char a[MAC_TEXT], b[MAC_TEXT], c[MAC_TEXT];
    _cleanup_doc_ yyjson_doc *one = json("{'metadata':{'namespace':'n','name':'vm1'},'spec':{'domain':{'devices':"
                                         "{'interfaces':[{'name':'default'},{'name':'second'}]}}}}");
    _cleanup_doc_ yyjson_doc *two = json("{'metadata':{'namespace':'n','name':'vm2'},'spec':{'domain':{'devices':"
                                         "{'interfaces':[{'name':'default'}]}}}}");

    qemu_mac(yyjson_doc_get_root(one), 0, a);
    qemu_mac(yyjson_doc_get_root(one), 0, b);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 17);
    assert_memory_equal(a, "02:", 3);
    qemu_mac(yyjson_doc_get_root(one), 1, b);
    qemu_mac(yyjson_doc_get_root(two), 0, c);
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
}

static void test_refusals_name_the_field(void **state)
{
    const struct disk disk = {.name = "a", .path = "/a", .format = "raw"};
    const struct qemu_nic nic = {"tap0", false};
    struct qemu_setup s = base_setup;

    assert_refused("{'spec':{'domain':{}}}", &s, "spec.domain.memory.guest");
    assert_refused(DISKS("{'name':'a','disk':{}}"), &s, "spec.domain.devices.disks: 1 disks, 0 prepared");
    s.disks = &disk;
    s.n_disks = 1;
    assert_refused(DISKS("{'name':'b','disk':{}}"), &s, "disk a was prepared in its place");
    assert_refused(DISKS("{'name':'a','disk':{'bus':'usb'}}"), &s, "spec.domain.devices.disks[0]");
    assert_refused(DISKS("{'name':'a','cdrom':{'bus':'virtio'}}"), &s, "spec.domain.devices.disks[0]");
    s.n_disks = 0;
    assert_refused(SMALL ",'devices':{'interfaces':[{'name':'x'}]}}}}", &s, "spec.domain.devices.interfaces");
    s.nics = &nic;
    s.n_nics = 1;
    assert_refused(SMALL ",'devices':{'interfaces':[{'name':'x','model':'ne2k'}]}}}}", &s, "interfaces[0].model");
}

static void assert_cpu(const char *facts_text, const char *cpu, const char *recorded, const char *expected)
{
    struct qemu_facts *f = facts(facts_text);
    _cleanup_free_ char *spec = xasprintf("{'spec':{'domain':{'cpu':%s}}}", cpu), *got = NULL;
    _cleanup_doc_ yyjson_doc *vmi = json(spec);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    int r = qemu_cpu(f, yyjson_doc_get_root(vmi), recorded, &got, &err);
    assert_string_equal(r < 0 ? gw_error_message(&err) : got, expected);
    qemu_facts_free(f);
}

static void test_cpu(void **state)
{
    assert_cpu(FACTS_TCG, "{}", NULL, "Westmere-v1");
    assert_cpu(FACTS_TCG, "{'model':'host-model','features':[{'name':'aes','policy':'disable'}]}", NULL,
               "Westmere-v1,-aes");
    assert_cpu(FACTS_TCG, "{'model':'Westmere'}", NULL, "Westmere");
    assert_cpu(FACTS_TCG, "{'model':'host-passthrough'}", NULL, "max");
    assert_cpu(FACTS_TCG, "{'model':'Haswell'}", NULL,
               "spec.domain.cpu.model: this node lacks features of Haswell: pcid, invpcid");
    assert_cpu(FACTS_TCG, "{'model':'Z80'}", NULL, "spec.domain.cpu.model: QEMU 10.0.2 knows no model Z80");
    assert_cpu(FACTS_TCG, "{'model':'Haswell'}", "recorded,+x", "recorded,+x");
    assert_cpu(FACTS_KVM, "{}", NULL, "Haswell,+md-clear,+ssbd,enforce");
    assert_cpu(FACTS_KVM, "{'model':'host-passthrough'}", NULL, "host,enforce");
    assert_cpu(FACTS_KVM,
               "{'model':'Haswell','features':[{'name':'aes'},{'name':'pcid','policy':'optional'},"
               "{'name':'nope','policy':'optional'},{'name':'avx9','policy':'force'},{'name':'b','policy':'forbid'}]}",
               NULL, "Haswell,+aes,+pcid,+avx9,enforce");
    assert_cpu(FACTS_KVM, "{'features':[{'name':'nope'}]}", NULL,
               "spec.domain.cpu.features: this node cannot give feature nope");
    assert_cpu(FACTS_KVM, "{'features':[{'name':'aes','policy':'forbid'}]}", NULL,
               "spec.domain.cpu.features: this node has the forbidden feature aes");
}

static void test_topology(void **state)
{
    static const struct {
        const char *domain;
        struct cpu_topology expected;
    } rows[] = {
        {"{}", {1, 1, 1}},
        {"{'cpu':{'cores':2}}", {1, 2, 1}},
        {"{'cpu':{'sockets':2,'cores':3,'threads':2}}", {2, 3, 2}},
        {"{'resources':{'requests':{'cpu':'2500m'},'limits':{'cpu':'4'}}}", {4, 1, 1}},
        {"{'resources':{'requests':{'cpu':'2500m'}}}", {3, 1, 1}},
        {"{'cpu':{'cores':1},'resources':{'requests':{'cpu':'8'}}}", {1, 1, 1}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = xasprintf("{'spec':{'domain':%s}}", rows[i].domain);
        _cleanup_doc_ yyjson_doc *vmi = json(text);
        struct cpu_topology t = qemu_topology(yyjson_doc_get_root(vmi));
        assert_memory_equal(&t, &rows[i].expected, sizeof(t));
    }
}

static void assert_machine(const char *type, const char *recorded, const char *expected)
{
    struct qemu_facts *f = facts(FACTS_TCG);
    _cleanup_free_ char *spec = xasprintf("{'spec':{'domain':{'machine':%s}}}", type), *got = NULL;
    _cleanup_doc_ yyjson_doc *vmi = json(spec);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    int r = qemu_machine_type(f, yyjson_doc_get_root(vmi), recorded, &got, &err);
    assert_string_equal(r < 0 ? gw_error_message(&err) : got, expected);
    qemu_facts_free(f);
}

static void test_machine_type(void **state)
{
    assert_machine("{}", NULL, "pc-q35-10.0");
    assert_machine("{'type':'q35'}", NULL, "pc-q35-10.0");
    assert_machine("{'type':'pc-q35-9.2'}", NULL, "pc-q35-9.2");
    assert_machine("{'type':'q35'}", "pc-q35-9.2", "pc-q35-9.2");
    assert_machine("{'type':'q35'}", "pc-q35-11.0",
                   "spec.domain.machine.type: QEMU 10.0.2 on this node has no machine type pc-q35-11.0");
    assert_machine("{'type':'pc'}", NULL, "spec.domain.machine.type: QEMU 10.0.2 on this node has no machine type pc");
}

static void test_facts_say_who_may_migrate(void **state)
{
    struct qemu_facts *tcg = facts(FACTS_TCG), *kvm = facts(FACTS_KVM);

    assert_null(qemu_migration_blocker(tcg));
    assert_null(qemu_migration_blocker(kvm));
    kvm->kvm = false;
    assert_non_null(strstr(qemu_migration_blocker(kvm), "QEMU 10"));
    assert_string_equal(qemu_accelerator(tcg), "tcg");
    assert_false(qemu_model(tcg, "Haswell")->usable);
    qemu_facts_free(tcg);
    qemu_facts_free(kvm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_smallest_machine),
        cmocka_unit_test(test_the_channel_of_the_guest_agent),
        cmocka_unit_test(test_what_a_spec_can_turn_off_or_set),
        cmocka_unit_test(test_graphics_where_they_are_asked_for),
        cmocka_unit_test(test_disks_of_all_kinds),
        cmocka_unit_test(test_a_given_boot_order_is_the_only_one),
        cmocka_unit_test(test_thirty_disks_have_thirty_places),
        cmocka_unit_test(test_hot_disks_stand_where_they_were_plugged),
        cmocka_unit_test(test_places_of_hot_disks),
        cmocka_unit_test(test_no_places_where_hotplug_is_disabled),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_macs_follow_from_names),
        cmocka_unit_test(test_refusals_name_the_field),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_topology),
        cmocka_unit_test(test_machine_type),
        cmocka_unit_test(test_facts_say_who_may_migrate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

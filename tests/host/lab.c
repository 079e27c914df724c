#include "lab.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/network/pod_network.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "migration/epoch.h"

#define DISK_BYTES (32 << 20)

/* Real mode, loaded at 0x7c00 by the BIOS: counts, and writes the sector that holds the count by int 13h, for ever. */
static const unsigned char boot_code[] = {
    0x31, 0xc0,                   /* xor ax, ax */
    0x8e, 0xd8,                   /* mov ds, ax */
    0x8e, 0xd0,                   /* mov ss, ax */
    0xbc, 0x00, 0x7c,             /* mov sp, 0x7c00 */
    0x66, 0xff, 0x06, 0x00, 0x80, /* inc dword [0x8000] */
    0xa1, 0x00, 0x80,             /* mov ax, [0x8000] */
    0x25, 0xff, 0x3f,             /* and ax, 0x3fff */
    0x40,                         /* inc ax */
    0xa3, 0x48, 0x7c,             /* mov [0x7c48], ax */
    0xb8, 0x00, 0x43,             /* mov ax, 0x4300 */
    0xb2, 0x80,                   /* mov dl, 0x80 */
    0xbe, 0x40, 0x7c,             /* mov si, 0x7c40 */
    0xcd, 0x13,                   /* int 0x13 */
    0xeb, 0xe5,                   /* jmp to the inc */
};
/* The disk address packet at 0x7c40: one sector from 0:8000, to the block that the code fills in. */
static const unsigned char packet[] = {0x10, 0x00, 0x01, 0x00, 0x00, 0x80, 0x00, 0x00};

/* In the host's network any client's port may be one of ours, for a minute after its end as well (TIME_WAIT): QEMU then
 * cannot listen on it. */
static void enter_own_network(void)
{
    static bool done;

    if (done)
        return;
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    assert_int_equal(lab_run("ip link set lo up && echo " POD_NETWORK_PORTS " >/proc/sys/net/ipv4/ip_local_reserved_ports"), 0);
    done = true;
}

struct lab *lab_new(void)
{
    struct lab *l = xnew(struct lab);

    enter_own_network();
    strcpy(l->dir, "/tmp/godwit-lab.XXXXXX");
    assert_non_null(mkdtemp(l->dir));
    assert_true(sd_event_new(&l->loop) >= 0);
    assert_int_equal(pki_ca_new("migration", 3600, &l->ca, NULL), 0);
    return l;
}

static void machine_free(struct machine *m)
{
    qmp_free(m->qmp);
    machine_kill(m);
    disks_done(&m->disks);
    free(m->door);
    free(m);
}

void lab_free(struct lab *l)
{
    for (size_t i = 0; i < l->n_machines; i++)
        machine_free(l->machines[i]);
    pki_ca_free(l->ca);
    sd_event_unref(l->loop);
    fs_remove_tree(l->dir, NULL);
    free(l);
}

bool lab_wait(struct lab *l, double seconds, bool (*done)(void *data), void *data)
{
    int64_t end = clock_monotonic_ms() + (int64_t)(seconds * 1000);

    while (!done(data)) {
        if (clock_monotonic_ms() > end)
            return false;
        sd_event_run(l->loop, 20000);
    }
    return true;
}

static bool never(void *data)
{
    return false;
}

void lab_pass(struct lab *l, int64_t ms)
{
    lab_wait(l, (double)ms / 1000, never, NULL);
}

static void put(const char *dir, const char *name, const char *text)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

    assert_int_equal(fs_write(path, text, strlen(text), 0600, NULL), 0);
}

char *lab_credentials(struct lab *l, const char *name, const struct pki_ca *ca, const char *cn, const char *dns, const char *side)
{
    bool source = streq(side, "source");
    const char *sans[] = {dns, NULL};
    char *dir = xasprintf("%s/%s", l->dir, name);
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;

    assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &(struct pki_subject){.cn = cn, .sans = sans}, source ? PKI_CLIENT : PKI_SERVER, 3600,
                                        &cert, &key, NULL), 0);
    /* Whoever comes with a foreign certificate trusts its authority; and ours, because QEMU looks at both itself first. */
    _cleanup_free_ char *both = xasprintf("%s%s", pki_ca_cert_pem(l->ca), ca != l->ca ? pki_ca_cert_pem(ca) : "");
    put(dir, "ca-cert.pem", both);
    put(dir, source ? "client-cert.pem" : "server-cert.pem", cert);
    put(dir, source ? "client-key.pem" : "server-key.pem", key);
    return dir;
}

char *lab_side(struct lab *l, const char *uid, const char *side)
{
    _cleanup_free_ char *cn = epoch_cert_name(uid, side), *dns = epoch_dns_name(uid, side);
    _cleanup_free_ char *name = xasprintf("tls-%s-%s", uid, side);

    return lab_credentials(l, name, l->ca, cn, dns, side);
}

static void make_disk(const char *path, bool boots)
{
    unsigned char sector[512] = {0};
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), DISK_BYTES), 0);
    memcpy(sector, boot_code, sizeof(boot_code));
    memcpy(sector + 0x40, packet, sizeof(packet));
    sector[510] = 0x55;
    sector[511] = 0xaa;
    if (boots)
        assert_int_equal(fwrite(sector, sizeof(sector), 1, f), 1);
    fclose(f);
}

static void on_ready(void *userdata, yyjson_val *greeting)
{
    ((struct machine *)userdata)->ready = true;
}

static void on_event(void *userdata, const char *name, yyjson_val *data, int64_t time_us)
{
    struct machine *m = userdata;

    if (streq(name, "STOP"))
        m->stopped = time_us;
    else if (streq(name, "RESUME"))
        m->resumed = time_us;
    else if (streq(name, "MIGRATION"))
        snprintf(m->status, sizeof(m->status), "%s", json_str_or(data, "/status", ""));
    if (m->on_event)
        m->on_event(m->userdata, name, data, time_us);
}

static void on_closed(void *userdata, const char *why)
{
    struct machine *m = userdata;

    m->closed = true;
    m->ready = false;
    m->qmp = qmp_free(m->qmp);
    if (m->on_closed)
        m->on_closed(m->userdata);
}

static const struct qmp_handlers handlers = {on_ready, on_event, on_closed};

static bool is_ready(void *data)
{
    return ((struct machine *)data)->ready;
}

void machine_reopen(struct machine *m)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.qmp", m->lab->dir, m->name);

    qmp_free(m->qmp);
    m->ready = m->closed = false;
    assert_int_equal(qmp_new(m->lab->loop, m->door ? m->door : path, 10000, &handlers, m, &m->qmp, NULL), 0);
    assert_true(lab_wait(m->lab, 10, is_ready, m));
}

static void run_qemu(struct machine *m, bool incoming)
{
    const char *disk = m->disks.items[0].path;
    _cleanup_free_ char *qmp = xasprintf("unix:%s/%s.qmp,server=on,wait=off", m->lab->dir, m->name);
    _cleanup_free_ char *spare = xasprintf("unix:%s/%s.spare,server=on,wait=off", m->lab->dir, m->name);
    _cleanup_free_ char *log = xasprintf("%s/%s.log", m->lab->dir, m->name);
    _cleanup_free_ char *file = xasprintf("file,node-name=disk0-file,filename=%s", disk);
    const char *argv[] = {
        "qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-machine", "q35,memory-backend=ram",
        "-object", "memory-backend-memfd,id=ram,size=64M", "-m", "64", "-qmp", qmp, "-qmp", spare, "-blockdev", file, "-blockdev",
        "raw,node-name=disk0,file=disk0-file", "-device", "virtio-blk-pci,id=disk0-dev,drive=disk0,bootindex=1",
        incoming ? "-incoming" : NULL, "defer", "-S", NULL,
    };

    m->pid = fork();
    if (m->pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || !freopen(log, "w", stderr) || !freopen("/dev/null", "r", stdin))
            _exit(126);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
}

struct machine *machine_start(struct lab *l, const char *name, bool incoming)
{
    struct machine *m = xnew(struct machine);
    char *path = xasprintf("%s/%s.raw", l->dir, name);

    m->lab = l;
    snprintf(m->name, sizeof(m->name), "%s", name);
    make_disk(path, !incoming);
    disk_vec_push(&m->disks, (struct disk){.name = xstrdup("root"), .path = path, .format = xstrdup("raw"), .size = DISK_BYTES});
    l->machines[l->n_machines++] = m;
    run_qemu(m, incoming);
    machine_reopen(m);
    return m;
}

void machine_kill(struct machine *m)
{
    if (m->pid <= 0)
        return;
    kill(m->pid, SIGKILL);
    waitpid(m->pid, NULL, 0);
    m->pid = 0;
}

bool machine_lives(struct machine *m)
{
    if (m->pid > 0 && waitpid(m->pid, NULL, WNOHANG) == m->pid)
        m->pid = 0;
    return m->pid > 0;
}

struct answer {
    bool done;
    yyjson_doc *doc;
    char *fault;
};

static bool is_answered(void *data)
{
    return ((struct answer *)data)->done;
}

static void on_reply(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct answer *a = userdata;

    a->done = true;
    if (fault) {
        a->fault = xstrdup(fault->desc);
        return;
    }
    _cleanup_mut_doc_ yyjson_mut_doc *copy = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(copy, yyjson_val_mut_copy(copy, result));
    a->doc = yyjson_mut_doc_imut_copy(copy, NULL);
}

yyjson_doc *machine_call(struct machine *m, const char *command, yyjson_mut_doc *args, char **ret_fault)
{
    struct answer a = {0};

    assert_non_null(m->qmp);
    qmp_command(m->qmp, command, args, on_reply, &a);
    assert_true(lab_wait(m->lab, 30, is_answered, &a));
    if (a.fault && !ret_fault)
        fail_msg("%s: %s: %s", m->name, command, a.fault);
    if (ret_fault)
        *ret_fault = TAKE_PTR(a.fault);
    free(a.fault);
    return a.doc;
}

static void on_script(void *userdata, const char *fault)
{
    struct answer *a = userdata;

    a->done = true;
    a->fault = fault ? xstrdup(fault) : NULL;
}

char *machine_script(struct machine *m, struct script *s)
{
    struct answer a = {0};

    script_run(s, on_script, &a);
    assert_true(lab_wait(m->lab, 30, is_answered, &a));
    return a.fault;
}

bool machine_is(struct machine *m, const char *run_state)
{
    _cleanup_doc_ yyjson_doc *doc = machine_call(m, "query-status", NULL, NULL);
    const char *now = json_str_or(yyjson_doc_get_root(doc), "/status", "");

    if (!streq(now, run_state))
        print_message("%s is %s, not %s\n", m->name, now, run_state);
    return streq(now, run_state);
}

unsigned machine_counter(struct machine *m)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.mem", m->lab->dir, m->name), *text = NULL;
    yyjson_mut_doc *args = script_args("/filename", path, NULL);
    unsigned n;
    size_t len;

    json_set_int(args, "/val", LAB_COUNTER);
    json_set_int(args, "/size", sizeof(n));
    yyjson_doc_free(machine_call(m, "pmemsave", args, NULL));
    assert_int_equal(fs_read(path, 0, &text, &len, NULL), 0);
    assert_int_equal(len, sizeof(n));
    memcpy(&n, text, sizeof(n));
    return n;
}

struct wanted {
    struct machine *m;
    const char *status;
};

static bool has_status(void *data)
{
    struct wanted *w = data;

    return streq(w->m->status, w->status);
}

bool machine_reaches(struct machine *m, const char *status, double seconds)
{
    struct wanted w = {m, status};

    if (lab_wait(m->lab, seconds, has_status, &w))
        return true;
    print_message("%s: migration is %s, not %s\n", m->name, m->status, status);
    return false;
}

/* Below the ports that the kernel gives to clients, so that none of them gets it before its listener. */
int lab_port(void)
{
    static int last = 20000;

    return ++last;
}

int lab_run(const char *command)
{
    int status = system(command);

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

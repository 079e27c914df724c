/* Whether an accelerator runs guests is found by running one. The guest is a ROM that does in a few dozen instructions
 * what every operating system does first: it builds page tables, enters 64-bit mode, flushes TLB entries, reads CPUID
 * and writes memory. Then it writes to isa-debug-exit, which turns the value into QEMU's exit code (value << 1) | 1.
 *
 * Real mode alone proves nothing: there are nested KVMs that emulate it and then spin for ever in 64-bit mode. The CPU
 * is `host` under KVM, because that is what host-model guests get. */
#include "agent/qemu/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/process.h"

#define ROM_SIZE 65536
#define CODE_AT 0xf000 /* offset in the ROM, which the CPU sees at 0xf0000 */
#define EXIT_SAID ((0x2a << 1) | 1)
#define PATIENCE_MS 10000

/* clang-format off */
static const unsigned char code[] = {
    0xfa,                                                         /* cli */
    0xb8, 0x00, 0x10,                                             /* mov $0x1000,%ax */
    0x8e, 0xc0,                                                   /* mov %ax,%es */
    0x31, 0xff,                                                   /* xor %di,%di */
    0x31, 0xc0,                                                   /* xor %ax,%ax */
    0xb9, 0x00, 0x18,                                             /* mov $0x1800,%cx */
    0xf3, 0xab,                                                   /* rep stosw; three zeroed pages at 0x10000 */
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x00, 0x03, 0x10, 0x01, 0x00,   /* movl $0x11003,%es:0; PML4[0] */
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x01, 0x00,   /* movl $0x12003,%es:0x1000; PDPT[0] */
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x20, 0x83, 0x00, 0x00, 0x00,   /* movl $0x83,%es:0x2000; PD[0]: 2 MiB at 0 */
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x9e, 0xf0,                     /* lgdtl %cs:gdtr */
    0x66, 0xb8, 0x00, 0x00, 0x01, 0x00,                           /* mov $0x10000,%eax */
    0x0f, 0x22, 0xd8,                                             /* mov %eax,%cr3 */
    0x0f, 0x20, 0xe0,                                             /* mov %cr4,%eax */
    0x66, 0x83, 0xc8, 0x20,                                       /* or $PAE,%eax */
    0x0f, 0x22, 0xe0,                                             /* mov %eax,%cr4 */
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,                           /* mov $EFER,%ecx */
    0x0f, 0x32,                                                   /* rdmsr */
    0x66, 0x0d, 0x00, 0x01, 0x00, 0x00,                           /* or $LME,%eax */
    0x0f, 0x30,                                                   /* wrmsr */
    0x0f, 0x20, 0xc0,                                             /* mov %cr0,%eax */
    0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,                           /* or $PG|PE,%eax */
    0x0f, 0x22, 0xc0,                                             /* mov %eax,%cr0 */
    0x66, 0xea, 0x6b, 0xf0, 0x0f, 0x00, 0x08, 0x00,               /* ljmpl $8,$long */
    0xbe, 0xe8, 0x03, 0x00, 0x00,                                 /* long: mov $1000,%esi */
    0x0f, 0x01, 0x3c, 0x25, 0x00, 0x20, 0x01, 0x00,               /* 1: invlpg 0x12000 */
    0x31, 0xc0,                                                   /* xor %eax,%eax */
    0x0f, 0xa2,                                                   /* cpuid */
    0xff, 0x04, 0x25, 0x00, 0x30, 0x01, 0x00,                     /* incl 0x13000 */
    0xff, 0xce,                                                   /* dec %esi */
    0x75, 0xe9,                                                   /* jnz 1b */
    0xb0, 0x2a,                                                   /* mov $0x2a,%al */
    0xe6, 0xf4,                                                   /* out %al,$0xf4 */
    0xf4,                                                         /* 2: hlt */
    0xeb, 0xfd,                                                   /* jmp 2b */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,               /* gdt: the null descriptor */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00,               /* 64-bit code */
    0x0f, 0x00, 0x8e, 0xf0, 0x0f, 0x00,                           /* gdtr */
};
/* clang-format on */

/* At ROM_SIZE - 16 the CPU begins. */
static const unsigned char reset[] = {0xea, 0x00, 0xf0, 0x00, 0xf0}; /* ljmp $0xf000,$CODE_AT */

static int write_rom(char *path, struct gw_error *err)
{
    _cleanup_free_ unsigned char *rom = xcalloc(1, ROM_SIZE);
    _cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);

    memcpy(rom + CODE_AT, code, sizeof(code));
    memcpy(rom + ROM_SIZE - 16, reset, sizeof(reset));
    if (fd < 0 || write(fd, rom, ROM_SIZE) != ROM_SIZE)
        return gw_error_errno(err, errno, "%s", path);
    return 0;
}

int qemu_try_accelerator(const char *binary, const char *accelerator, struct gw_error *err)
{
    char path[] = "/tmp/godwit-probe-XXXXXX";
    int status = -1, r = write_rom(path, err);

    if (r < 0)
        return r;
    const char *argv[] = {binary,
                          "-accel",
                          accelerator,
                          "-machine",
                          "q35",
                          "-cpu",
                          streq(accelerator, "kvm") ? "host" : "max",
                          "-nodefaults",
                          "-no-user-config",
                          "-display",
                          "none",
                          "-m",
                          "16",
                          "-bios",
                          path,
                          "-no-reboot",
                          "-device",
                          "isa-debug-exit,iobase=0xf4,iosize=4",
                          NULL};
    struct process_options options = {.timeout_ms = PATIENCE_MS, .ret_status = &status};
    r = process_run(argv, &options, NULL, err);
    unlink(path);
    if (r == -ETIMEDOUT)
        return gw_error_set(err, GW_INTERNAL_ERROR, "a guest started under %s but got nowhere in %d s", accelerator,
                            PATIENCE_MS / 1000);
    if (r < 0)
        return r;
    if (status != EXIT_SAID)
        return gw_error_set(err, GW_INTERNAL_ERROR, "a guest cannot run under %s (QEMU ended with code %d)",
                            accelerator, status);
    return 0;
}

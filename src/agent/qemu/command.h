/* From a VMI's spec, and what was prepared for it on this node, to QEMU's command line. Pure: same input, same bytes.
 *
 * Source and target must present the same machine to the guest. So everything that the guest sees follows from the
 * VMI's spec and from what the source recorded (machine type, CPU argument): PCI addresses come from a device's place
 * in its list, never from what happened to be free, and MAC addresses from the VM's name. Paths, descriptors and tap
 * names may differ. The layout of bus pcie.0 (q35 itself holds 0x00 and 0x1f):
 *
 *   0x02 rng   0x02.1 guest agent's channel   0x03 balloon   0x04-0x07 network   0x08-0x1c virtio disks
 *   0x1d.0-3 ports for hot virtio disks   0x1e SCSI controller   0x1f.2 SATA (built in)
 *
 * What later versions add is there for VMs that were started with it only: the source records it, and the target goes
 * by that (guest_agent and sockets below). */
#pragma once

#include "agent/qemu/disk.h"
#include "agent/qemu/facts.h"
#include "base/json.h"
#include "base/strv.h"

/* Sockets in QEMU's working folder, the pod's run_dir. */
#define QEMU_QMP_SOCKET "qmp.sock"             /* the agent's */
#define QEMU_VNC_SOCKET "vnc.sock"             /* of VMs with a graphics device */
#define QEMU_QMP_SPARE_SOCKET "qmp-tools.sock" /* for tools and people */
#define QEMU_GA_SOCKET "guest-agent.sock"      /* the host's end of the guest agent's channel */

/* The chardev of that channel, and the port: its id in VSERPORT_CHANGE. */
#define QEMU_GA_CHARDEV "guest-agent"
#define QEMU_GA_PORT "guest-agent-dev"

struct qemu_nic {
    const char *ifname;
    bool vhost;
};

struct qemu_setup {
    const char *binary;
    const char *accelerator;  /* "kvm" or "tcg" */
    const char *machine;      /* versioned type */
    const char *cpu;          /* argument of -cpu */
    const struct disk *disks; /* one per spec.domain.devices.disks, same order */
    size_t n_disks;
    const struct qemu_nic *nics; /* one per spec.domain.devices.interfaces, same order */
    size_t n_nics;
    const char *kernel, *initrd; /* kernelBoot; NULL without */
    int console_fd;              /* a connected socket that QEMU inherits: the serial console */
    int qmp_fd;                  /* another: the launcher's QMP session */
    bool sockets;                /* has what disks are plugged into while the guest runs (attach.h) */
    bool guest_agent;            /* has the guest agent's channel, as all have that this version starts */
    bool incoming;               /* waits for a migration instead of starting */
};

/* vmi: the whole VMI. Appends to ret. Invalid, with the field, for what cannot be built. QEMU is always started with
 * -S: the agent lets the guest run. */
int qemu_command(yyjson_val *vmi, const struct qemu_setup *s, struct strv *ret, struct gw_error *err);

/* The versioned machine type for spec.domain.machine.type; recorded (NULL: a first start) is what the VMI already runs
 * with and must be had exactly. Caller frees. */
int qemu_machine_type(const struct qemu_facts *f, yyjson_val *vmi, const char *recorded, char **ret,
                      struct gw_error *err);

/* The -cpu argument for spec.domain.cpu; recorded as above. Invalid when this host lacks the model or a feature that it
 * needs: QEMU would refuse (enforce) with less of a reason. */
int qemu_cpu(const struct qemu_facts *f, yyjson_val *vmi, const char *recorded, char **ret, struct gw_error *err);

struct cpu_topology {
    int sockets, cores, threads;
};
struct cpu_topology qemu_topology(yyjson_val *vmi);

/* Bytes of guest RAM: memory.guest, else the request, else the limit. 0 when none is given. */
int64_t qemu_guest_memory(yyjson_val *vmi);

#define MAC_TEXT 18
/* The MAC of interface i: spec's, else one made from the VM's namespace and name and the interface's, so that it stays
 * over restarts and migrations. buf holds MAC_TEXT; returns buf. */
char *qemu_mac(yyjson_val *vmi, size_t i, char *buf);

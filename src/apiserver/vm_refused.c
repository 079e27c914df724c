/* What virtctl and KubeVirt's API have beyond Godwit: each is refused by name, with what to do instead. Not announced:
 * nobody is to count on them. */
#include "apiserver/vm_subresources.h"

#define IN_VERSION(v, r, s, ...) \
    { \
        .group = "subresources.kubevirt.io", .version = v, .resource = r, .subresource = s, .namespaced = true, \
        .refused = __VA_ARGS__ \
    }
#define ROWS(...) IN_VERSION("v1", __VA_ARGS__), IN_VERSION("v1alpha3", __VA_ARGS__)

#define VM "virtualmachines"
#define VMI "virtualmachineinstances"
#define BACKUP "Godwit makes no backups. Disks are files at the node: copy them while the VM is stopped"
#define DUMP "Godwit writes no dumps of a guest's memory. Have the guest write one (kdump)"
#define GRAPH "Godwit draws no graph. kubectl describe shows what belongs to a VM"

const struct rest_extra vm_refused_extras[] = {
    ROWS(VM, "backup", BACKUP),
    ROWS(VM, "memorydump", DUMP),
    ROWS(VM, "objectgraph", GRAPH),
    ROWS(VM, "removememorydump", "Godwit writes no dumps of a guest's memory"),
    ROWS(VMI, "backup", BACKUP),
    ROWS(VMI, "objectgraph", GRAPH),
    ROWS(VMI, "sev", "Godwit has no confidential guests", .takes_below = true),
    ROWS(VMI, "usbredir", "Godwit passes no USB devices on"),
    ROWS(VMI, "vnc/screenshot", "Godwit takes no pictures of the screen. Look at it by virtctl vnc"),
    ROWS(VMI, "vsock", "Godwit's VMs have no vsock. Reach them by virtctl port-forward"),
    {0},
};

/* Verbs of KubeVirt's virtctl for what Godwit has not: they say why, whatever options they are called with. */
#include "cli/virtctl/virtctl.h"

#define ABSENT(verb, why) \
    { \
        .name = (verb), .help = "Refused: " why ".", .refused = "virtctl " verb ": " why \
    }
#define NO_CREDENTIALS "Godwit puts no keys and no passwords into guests that run; cloud-init does at their first start"
#define NO_TYPES "Godwit has no instance types and no preferences; a VM's spec says what it needs"

const struct verb absent_verbs[] = {
    ABSENT("create clone", "Godwit makes no copies of VMs; apply the VM's manifest under another name"),
    ABSENT("create instancetype", NO_TYPES),
    ABSENT("create preference", NO_TYPES),
    {.name = "credentials", .help = "Refused: " NO_CREDENTIALS "."},
    ABSENT("credentials add-ssh-key", NO_CREDENTIALS),
    ABSENT("credentials remove-ssh-key", NO_CREDENTIALS),
    ABSENT("credentials set-password", NO_CREDENTIALS),
    ABSENT("guestfs", "Godwit starts no pods but those of VMs; look into a stopped VM's disk at its node"),
    ABSENT("image-upload", "Godwit has no importer that fills volumes; godwit image import brings images to the nodes"),
    ABSENT("memory-dump", "Godwit writes no dumps of a guest's memory"),
    ABSENT("objectgraph", "Godwit has no graph of a VM's objects; kubectl describe tells of them"),
    ABSENT("permitted-devices", "Godwit assigns no devices of the host to guests"),
    ABSENT("template", "Godwit has no VirtualMachineTemplates; kubectl apply takes manifests"),
    ABSENT("usbredir", "Godwit passes no USB devices on"),
    ABSENT("vmexport", "Godwit does not export disks; they are files, and can be copied at the node of a stopped VM"),
    ABSENT("vnc screenshot", "Godwit takes no pictures of the screen; virtctl vnc shows it"),
    {0},
};

/* What virtctl and KubeVirt's API have beyond Godwit: each is refused by name, with what to do instead. */
#include <string.h>

#include "apiserver/vm_subresources.h"

#define GROUP "subresources.kubevirt.io"

static const struct {
    const char *subresource, *why;
} refused[] = {
    {"backup", "Godwit makes no backups. Disks are files at the node: copy them while the VM is stopped"},
    {"memorydump", "Godwit writes no dumps of a guest's memory. Have the guest write one (kdump)"},
    {"objectgraph", "Godwit draws no graph. kubectl describe shows what belongs to a VM"},
    {"removememorydump", "Godwit writes no dumps of a guest's memory"},
    {"sev", "Godwit has no confidential guests"},
    {"usbredir", "Godwit passes no USB devices on"},
    {"vnc/screenshot", "Godwit takes no pictures of the screen. Look at it by virtctl vnc"},
    {"vsock", "Godwit's VMs have no vsock. Reach them by virtctl port-forward"},
};

static int refuse(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    const char *why = "";

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (streq(refused[i].subresource, t->subresource))
            why = refused[i].why;
    return gw_error_set(err, GW_FORBIDDEN, "%s.kubevirt.io \"%s\" is forbidden: %s", t->resource, t->name, why);
}

#define IN_VERSION(v, r, s) \
    { \
        .group = GROUP, .version = v, .resource = r, .subresource = s, .namespaced = true, .handle = refuse \
    }
#define ROWS(...) IN_VERSION("v1", __VA_ARGS__), IN_VERSION("v1alpha3", __VA_ARGS__)

/* Not announced: nobody is to count on them. */
const struct rest_extra vm_refused_extras[] = {
    ROWS("virtualmachines", "backup"),
    ROWS("virtualmachines", "memorydump"),
    ROWS("virtualmachines", "objectgraph"),
    ROWS("virtualmachines", "removememorydump"),
    ROWS("virtualmachineinstances", "backup"),
    ROWS("virtualmachineinstances", "objectgraph"),
    ROWS("virtualmachineinstances", "usbredir"),
    ROWS("virtualmachineinstances", "vnc/screenshot"),
    ROWS("virtualmachineinstances", "vsock"),
    {.group = GROUP,
     .version = "v1",
     .resource = "virtualmachineinstances",
     .subresource = "sev",
     .namespaced = true,
     .takes_below = true,
     .handle = refuse},
    {0},
};

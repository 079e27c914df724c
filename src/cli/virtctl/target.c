#include "cli/virtctl/target.h"

#include <string.h>

#include "cli/virtctl/virtctl.h"

/* A dot belongs to the name: virtctl 1.8 has no longer the form NAME.NAMESPACE (pkg/virtctl/portforward). */
int target_read(char *text, struct target *ret, struct gw_error *err)
{
    const char *kind = strsep(&text, "/"), *name = strsep(&text, "/"), *ns = strsep(&text, "/");

    if (!*kind && !name)
        return gw_error_set(err, GW_BAD_REQUEST, "target cannot be empty");
    if (!name)
        return gw_error_set(err, GW_BAD_REQUEST, "target must contain type and name separated by '/'");
    if (text)
        return gw_error_set(err, GW_BAD_REQUEST, "target is not valid with more than two '/'");
    if (ns && !*ns)
        return gw_error_set(err, GW_BAD_REQUEST, "namespace cannot be empty");
    if (virtctl_kind(kind) < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "unsupported resource type '%s'", kind);
    if (!*name)
        return gw_error_set(err, GW_BAD_REQUEST, "name cannot be empty");
    *ret = (struct target){virtctl_kind(kind) == 0 ? "vm" : "vmi", name, ns};
    return 0;
}

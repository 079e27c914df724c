#include "server/controllers.h"

#include "controllers/kubevirt.h"
#include "controllers/kubernetes.h"

/* One row per controller of src/controllers. */
const struct controller *const server_controllers[] = {
    &vm_controller,
    &vmi_controller,
    &migration_controller,
    &evacuation_controller,
    &scheduler_controller,
    &node_controller,
    &volume_controller,
    &namespace_controller,
    &gc_controller,
    &crd_controller,
    NULL,
};

int server_controllers_start(struct server_state *state, uint16_t port, struct controllers_thread **ret,
                             struct gw_error *err)
{
    _cleanup_client_config_ struct client_config config = {0};
    int r;

    if (!server_controllers[0])
        return 0;
    r = state_controllers_config(state, port, &config, err);
    /* No leader election: the embedded store belongs to one process, so there is no second server to compete with, and
     * a server that was killed resumes at once. */
    return r < 0 ? r : controllers_run(&config, NULL, server_controllers, ret, err);
}

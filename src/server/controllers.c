#include "server/controllers.h"

#include "apiserver/authz.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"
#include "server/loopback.h"

/* One row per controller of src/controllers. */
const struct controller *const server_controllers[] = {
    &vm_controller,        &vmi_controller,  &migration_controller, &evacuation_controller,
    &scheduler_controller, &node_controller, &volume_controller,    &namespace_controller,
    &gc_controller,        &crd_controller,  &root_ca_controller,   NULL,
};

static int connect_to_server(void *data, sd_event *loop, struct api_client **ret, struct gw_error *err)
{
    return loopback_client_new(data, loop, ret, err);
}

int server_controllers_start(struct front *front, struct http_server *http, struct controllers_thread **ret,
                             struct gw_error *err)
{
    struct loopback_config config = {
        .front = front, .http = http, .user = GROUP_CONTROLLERS, .group = GROUP_CONTROLLERS};

    /* No leader election: the embedded store belongs to one process, so there is no second server to compete with, and
     * a server that was killed resumes at once. */
    return controllers_run(connect_to_server, &config, NULL, server_controllers, ret, err);
}

/* The transport of the controllers that run inside the server: their calls go to the server's own workers, and through
 * authorization, resources and audit like everybody's, without HTTP, TLS and sockets in between
 * (docs/decisions/0009-loopback.md). */
#pragma once

#include <systemd/sd-event.h>

#include "client/client.h"
#include "server/front.h"

struct loopback_config {
    struct front *front;
    struct http_server *http; /* its workers do the work; must outlive the client */
    const char *user, *group; /* as whom */
};

/* A client for the thread that runs loop. Freeing it waits for the calls that are being served. */
int loopback_client_new(const struct loopback_config *config, sd_event *loop, struct api_client **ret,
                        struct gw_error *err);

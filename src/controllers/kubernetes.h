/* The controllers that Kubernetes has as well (those of VMs: kubevirt.h). */
#pragma once

#include "controllers/controller.h"

extern const struct controller scheduler_controller, node_controller, gc_controller, namespace_controller,
    volume_controller, crd_controller, root_ca_controller;

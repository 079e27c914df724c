/* The Node object, as a function of what QEMU and the kernel say. Pure. */
#pragma once

#include "agent/qemu/facts.h"
#include "base/json.h"

struct host_facts {
    const char *node, *address;
    int cpus;
    int64_t memory, disk; /* bytes; disk is of the state directory's file system */
    const char *machine_id, *system_uuid, *boot_id, *kernel, *os_image;
    const char *version;                /* of this program */
    const char *shared_dir, *local_dir; /* for volumes; NULL: none */
    const char *authorities;            /* authorities_report() (node/authorities.h); NULL: not said */
    int port;                           /* of the agent's endpoint; 0: it does not listen yet */
};

/* {"metadata": {labels, annotations}}: labels of KubeVirt's node labeller and of Kubernetes. Labels of earlier facts
 * (in `old`, may be NULL) that are not true any more are set to null, for a merge patch. */
yyjson_mut_doc *node_metadata(const struct host_facts *h, const struct qemu_facts *q, yyjson_val *old, int64_t now_ms);

/* {"status": {...}}: capacity, allocatable, addresses, nodeInfo, conditions. */
yyjson_mut_doc *node_status(const struct host_facts *h, const struct qemu_facts *q, yyjson_val *old, int64_t now_ms);

/* The verbs of KubeVirt's virtctl: the same arguments, requests, texts and exit codes. */
#pragma once

#include "cli/api.h"

/* Options that a verb may know; those for reaching the API are known by all. */
enum virtctl_flag {
    FLAG_DRY_RUN = 1 << 0,
    FLAG_PAUSED = 1 << 1,
    FLAG_FORCE = 1 << 2,
    FLAG_GRACE = 1 << 3,
    FLAG_SELECTOR = 1 << 4,
    FLAG_CLIENT = 1 << 5,
    FLAG_VM = 1 << 6,
    FLAG_FILE = 1 << 7,
    FLAG_OUTPUT = 1 << 8,
    FLAG_TIMEOUT = 1 << 9,
    FLAG_ADDRESS = 1 << 10,
    FLAG_STDIO = 1 << 11,
    FLAG_VOLUME = 1 << 12,
    FLAG_SERIAL = 1 << 13,
    FLAG_CACHE = 1 << 14,
    FLAG_PERSIST = 1 << 15,
    FLAG_DISK_TYPE = 1 << 16,
    FLAG_BUS = 1 << 17,
    FLAG_PROXY_ONLY = 1 << 18,
    FLAG_PORT = 1 << 19,
    FLAG_MORE = 1 << 20, /* no option: takes any number of further arguments */
};

/* One call of it. Texts belong to argv. */
struct virtctl {
    struct cli_api api;
    const char *ns;
    const char *verb;
    char **args; /* as many as the verb takes */
    size_t n_args;
    bool dry_run, paused, force, client_only, stdio, persist, proxy_only;
    const char *grace_period, *selector, *vm, *file, *output, *timeout, *address; /* NULL: not given */
    const char *volume, *serial, *cache, *disk_type, *bus, *port;                 /* the same */
};

/* 0 after printing what there is to say, or negative with the whole text for the user in err. */
typedef int virtctl_fn(struct virtctl *v, struct gw_error *err);

virtctl_fn virtctl_start, virtctl_stop, virtctl_restart, virtctl_migrate, virtctl_migrate_cancel,
    virtctl_evacuate_cancel;
virtctl_fn virtctl_pause, virtctl_unpause, virtctl_soft_reboot, virtctl_reset, virtctl_guest_info;
virtctl_fn virtctl_console, virtctl_port_forward, virtctl_vnc;
virtctl_fn virtctl_add_volume, virtctl_remove_volume;
virtctl_fn virtctl_version, virtctl_expand;

/* PUT to (or, with method "GET", reading of) subresources.kubevirt.io: resource is "virtualmachines" or
 * "virtualmachineinstances". body and ret may be NULL. */
int virtctl_sub(struct virtctl *v, const char *method, const char *resource, const char *name, const char *sub,
                yyjson_mut_doc *body, yyjson_doc **ret, struct gw_error *err);

/* Puts text before the message of a failure, as it is. Returns r. */
int virtctl_fail(struct gw_error *err, int r, const char *fmt, ...) _printf_(3, 4);

/* An empty object, or with --dry-run {"dryRun":["All"]} and a word of it. Caller frees. */
yyjson_mut_doc *virtctl_options(const struct virtctl *v);

/* "vm", "VMS", "virtualmachine"...: 0 for VMs, 1 for VMIs, negative with err filled for anything else. */
int virtctl_kind(const char *word, struct gw_error *err);

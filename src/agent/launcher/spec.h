/* What a launcher is to do: written by the agent as a JSON file, read once by `godwit-launcher FILE`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strv.h"

/* Descriptors that QEMU inherits; the command line names them. */
#define LAUNCHER_CONSOLE_FD 3
#define LAUNCHER_QMP_FD 4

/* Files in the pod's folder. */
#define LAUNCHER_SPEC_FILE "launcher-spec.json"
#define LAUNCHER_NOTE_FILE "launcher.json" /* who runs: pids, start times, boot id */
#define LAUNCHER_EXIT_FILE "exit.json"     /* how QEMU ended */
#define LAUNCHER_CONTROL_SOCKET "launcher.sock"
#define LAUNCHER_CONSOLE_SOCKET "console.sock"
#define LAUNCHER_CONSOLE_LOG "console.log"
#define LAUNCHER_LOG "launcher.log" /* launcher/log.h */

struct dhcp_config {
    char *interface; /* where the guest's frames arrive; NULL: no DHCP */
    char *mac;       /* the guest's */
    char *address, *gateway;
    int prefix_len;
    int mtu;         /* 0: not said */
    struct strv dns; /* IPv4 addresses */
    char *hostname;
    char *search; /* domain, or NULL */
};

struct launcher_spec {
    char *dir;        /* the pod's folder: notes, sockets */
    char *run_dir;    /* QEMU's working folder */
    struct strv argv; /* QEMU's command line */
    char *netns;      /* path, or NULL for the caller's */
    uid_t uid;
    gid_t gid;
    struct strv read_only; /* files and folders that QEMU may read, at the same paths */
    struct strv writable;
    struct strv devices; /* below /dev, beyond null, zero, random and urandom */
    char *cgroup;        /* "godwit/<pod uid>", or NULL */
    int64_t memory_max;  /* bytes; 0: no limit */
    int64_t cpu_milli;   /* limit in thousandths of a CPU; 0: none */
    int64_t cpu_request_milli;
    int64_t console_log_max; /* bytes, of the current file and of the one before */
    struct dhcp_config dhcp;
};

void launcher_spec_done(struct launcher_spec *s);
#define _cleanup_launcher_spec_ _cleanup_(launcher_spec_done)

int launcher_spec_write(const struct launcher_spec *s, const char *path, struct gw_error *err);
int launcher_spec_read(const char *path, struct launcher_spec *ret, struct gw_error *err);

/* The launcher: one small process per pod, QEMU's parent, which outlives the agent.
 *
 * It goes into the pod's network namespace, starts QEMU in a sandbox (sandbox.h) and a cgroup, then answers DHCP, keeps
 * the console and notes how QEMU ended. A launcher that is killed takes QEMU with it (death signal): no guest runs
 * without a parent that would tell how it ended.
 *
 * It lives in a program of its own, godwit-launcher, linked with little: the libraries of the whole executable would
 * cost each VM more than a megabyte of private memory for relocations alone. */
#pragma once

/* Reads the spec file, leaves the caller's session and process group (double fork), starts QEMU and runs until it ends.
 * The first process waits for the start: returns 0 once QEMU was executed, else 1 with the reason on stderr. */
int launcher_main(const char *spec_path);

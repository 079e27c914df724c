/* What a QEMU binary can do on this machine, as it says itself. Kept as JSON between runs of the agent. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/vec.h"

struct cpu_model {
    char *name;
    bool usable;         /* all its features are there with our accelerator */
    struct strv missing; /* those that are not */
};
VEC_DEFINE(cpu_model_vec, struct cpu_model);

struct qemu_facts {
    char *binary;
    char *version; /* "10.0.2" */
    int major, minor;
    bool kvm;             /* a guest has really run code under KVM here */
    char *kvm_reason;     /* why not, for people; "" when it has */
    char *machine;        /* newest versioned q35, "pc-q35-10.0" */
    struct strv machines; /* versioned q35 types that are not deprecated, and "q35" */
    struct cpu_model_vec models;
    struct strv features;      /* CPU features that a guest can have here and that survive a migration */
    char *host_model;          /* the named model that comes nearest to what the host offers */
    struct strv host_features; /* what the host offers beyond that model */
    char *vendor;              /* of that model as guests see it: "GenuineIntel" */
};

/* Under TCG the host model is this one on every node, whatever QEMU's version offers: TCG can do all of it since long
 * (x86-64-v2), it needs no feature of the host, and it is versioned, so that it stays the same. */
#define QEMU_TCG_MODEL "Westmere-v1"
#define QEMU_TCG_LABEL "Westmere"

/* "kvm" or "tcg". */
const char *qemu_accelerator(const struct qemu_facts *f);

/* NULL when a running guest can be moved safely by this QEMU; else why not. QEMU before version 10 under TCG loses
 * writes of a busy guest during pre-copy (its dirty bitmap is not coherent with TCG's writes). */
const char *qemu_migration_blocker(const struct qemu_facts *f);

const struct cpu_model *qemu_model(const struct qemu_facts *f, const char *name);

struct qemu_facts *qemu_facts_free(struct qemu_facts *f);
DEFINE_CLEANUP(struct qemu_facts *, qemu_facts_free)

/* Reads what qemu_probe noted. Invalid when it is not that. */
int qemu_facts_read(yyjson_val *v, struct qemu_facts **ret, struct gw_error *err);

/* Asks the binary, or reads the answers noted in cache_path if they are of this binary (path, size, time of change),
 * this kernel and this boot (KVM may come and go). Blocks for up to some seconds. cache_path may be NULL. */
int qemu_probe(const char *binary, const char *cache_path, struct qemu_facts **ret, struct gw_error *err);

/* Runs a tiny guest under "kvm" or "tcg" to its end; 0 if it got there. A device node, or even a working ioctl, proves
 * nothing (nested virtualisation often offers a /dev/kvm that cannot run a guest). Up to ten seconds. */
int qemu_try_accelerator(const char *binary, const char *accelerator, struct gw_error *err);

/* A pair of real QEMUs and what their migration needs, for tests of the agent's parts: one loop, certificates, a guest of 512
 * bytes that writes to memory and disk without end. Needs root and qemu-system-x86_64; every failure ends the test. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "agent/migration/script.h"
#include "agent/qemu/disk.h"
#include "pki/pki.h"
#include "qmp/qmp.h"

/* The guest counts in the word at this address, and writes the count to the sector 1 + count % LAB_SECTORS of its disk. */
#define LAB_COUNTER 0x8000
#define LAB_SECTORS 16384

struct machine;

struct lab {
    char dir[64];
    sd_event *loop;
    struct pki_ca *ca;
    struct machine *machines[8];
    size_t n_machines;
};

/* The first one takes the process into a network of its own, where the migration ports are reserved as in a pod's. */
struct lab *lab_new(void);
/* Kills what runs, removes all files. */
void lab_free(struct lab *l);

/* Runs the loop until done(data) or seconds are over; false: they are. */
bool lab_wait(struct lab *l, double seconds, bool (*done)(void *data), void *data);
/* Runs the loop for that long. */
void lab_pass(struct lab *l, int64_t ms);

/* tls-creds-x509 files below DIR/name: a certificate of ca for cn and dns, as side "source" (client) or "target" (server). */
char *lab_credentials(struct lab *l, const char *name, const struct pki_ca *ca, const char *cn, const char *dns, const char *side);
/* The right ones for migration uid; the path is freed by the caller. */
char *lab_side(struct lab *l, const char *uid, const char *side);

typedef void (*machine_event_fn)(void *userdata, const char *name, yyjson_val *data, int64_t time_us);

struct machine {
    struct lab *lab;
    char name[16];
    pid_t pid;
    struct qmp *qmp;
    bool ready, closed;
    char *door;                   /* the QMP socket where it is not QEMU's own (gate.h) */
    struct disk_vec disks;        /* one: raw, its own file */
    /* Times of events by QEMU's clock in microseconds; 0 = not yet */
    int64_t stopped, resumed;
    char status[32];              /* of the last MIGRATION event */
    machine_event_fn on_event;    /* besides; may be NULL */
    void (*on_closed)(void *userdata);
    void *userdata;
};

/* A guest with one disk of 32 MiB. The first one boots; an incoming one waits with -S -incoming defer and an empty disk. */
struct machine *machine_start(struct lab *l, const char *name, bool incoming);
void machine_kill(struct machine *m);
bool machine_lives(struct machine *m);
/* A new QMP session, as a restarted agent has it. */
void machine_reopen(struct machine *m);

/* One command; the answer (freed by the caller), or NULL with *ret_fault (freed by the caller; NULL: a failure fails the test). */
yyjson_doc *machine_call(struct machine *m, const char *command, yyjson_mut_doc *args, char **ret_fault);
/* Runs a script; NULL or the fault, freed by the caller. */
char *machine_script(struct machine *m, struct script *s);
bool machine_is(struct machine *m, const char *run_state);
/* The guest's counter now. */
unsigned machine_counter(struct machine *m);
/* Waits until the last MIGRATION event has this status. */
bool machine_reaches(struct machine *m, const char *status, double seconds);
/* A TCP port of 127.0.0.1 that nobody else uses: another one each time. */
int lab_port(void);
/* Runs a program; its exit code. */
int lab_run(const char *command);

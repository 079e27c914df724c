/* The inside of a fleet: fleet.c has what it hears, fleet_pod.c the life of a pod, fleet_migrate.c what both sides of a
 * migration do, fleet_member.c what these need. */
#pragma once

#include "api/meta.h"
#include "base/map.h"
#include "client/informer.h"
#include "fleet.h"
#include "migration/source.h"
#include "migration/target.h"

struct fleet {
    struct sim *s;
    struct env *env;
    struct fleet_config cfg;
    struct informer *pods, *vmis;
    struct map *members; /* pod uid -> struct member */
    struct map *runs;    /* VMI uid -> struct member that runs the guest */
    bool *cordoned;
    size_t lost, restarts;
};

/* A launcher pod and its QEMU. */
struct member {
    struct fleet *f;
    char *key, *uid, *name, *vmi_key, *vmi_uid;
    bool target;
    struct env_timer *timer;
    bool busy;            /* a write is under way */
    bool up;
    const char *end;      /* how it ended: told until the API knows */
    bool alive;           /* QEMU */
    enum waiting_state waiting;
    enum copy_state copy;
    int64_t copy_end, complete_since;
    bool credentials;
    /* noted durably */
    enum note note;
    int64_t epoch;
    bool proof;
    /* in the agent's memory */
    bool direct, cont_sent, given_up;
};

/* --- fleet_member.c --- */

bool fleet_chance(struct fleet *f, int per_mille);
int64_t fleet_between(struct fleet *f, int64_t from, int64_t to);

/* Looks again after so long, unless it will anyway. */
void member_kick(struct member *m, int64_t ms);

bool member_runs(const struct member *m);
/* Fails the test when the guest runs elsewhere. */
void member_set_runs(struct member *m, bool runs);
void member_kill_qemu(struct member *m);

/* Writes; the member is busy until they are answered. patch is freed. */
yyjson_mut_doc *member_parse(const char *text);
void member_patch_pod(struct member *m, const char *fmt, ...) _printf_(2, 3);
void member_patch_vmi(struct member *m, yyjson_val *vmi, yyjson_mut_doc *patch);
void member_patch_state(struct member *m, yyjson_val *vmi, const char *fmt, ...) _printf_(3, 4);
void member_end_vmi(struct member *m, yyjson_val *vmi, const char *phase);
void member_written(void *userdata, struct api_answer *answer);

/* Its QEMU is gone, and its pod is over. */
void member_finish(struct member *m, const char *phase);

/* --- fleet_migrate.c --- */

/* True if a migration has something to do with the pod. */
bool member_migrate(struct member *m, yyjson_val *vmi, yyjson_val *pod);

/* --- fleet_pod.c --- */

void member_tick(void *userdata);

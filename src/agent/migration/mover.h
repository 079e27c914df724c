/* One side of one migration on this node: looks, decides (migration/source.h, migration/target.h), acts, looks again.
 *
 * A mover belongs to a pod and lives as long as it; a pod is at most once a target and may be a source many times, each
 * time in a new epoch. One act is under way at a time. Everything a mover remembers beyond that act is a cache of the
 * note, of what QEMU answers and of the VMI's status; it can be lost at any instant (docs/handover.md, section 5).
 *
 * Below, each file uses those before it, and turn.c the driver of the side. */
#pragma once

#include "agent/agent.h"
#include "agent/migration/copy.h"
#include "agent/migration/direct.h"
#include "agent/migration/migration.h"
#include "agent/migration/mirror.h"
#include "agent/pod.h"
#include "migration/brake.h"
#include "migration/note.h"
#include "migration/progress.h"
#include "migration/target.h"
#include "migration/watchdog.h"

enum side { SIDE_NONE, SIDE_SOURCE, SIDE_TARGET, SIDE_MAX };

struct credentials_call;
struct mover;

/* What is done at one side. */
struct side_driver {
    void (*act)(struct mover *m);      /* one decision on what is known, and the beginning of its act */
    void (*observed)(struct mover *m); /* after each round of QEMU's answers; NULL: nothing */
};

/* One per agent. */
struct mover_services {
    struct agent *agent;
    const struct side_driver *drivers[SIDE_MAX];
    struct direct_server direct;
    void (*listening)(void *userdata);
    void *userdata;
    struct credentials_call *serving_call; /* the endpoint's certificate is being made */
    struct env_timer *timer;
};

struct mover {
    struct mover_services *services;
    struct pod *pod;
    enum side side;
    struct epoch epoch; /* read afresh before each decision; its strings are NULL, the copies below serve */
    char *source_node, *target_node;
    struct handover_note note; /* of this epoch, or empty */
    bool note_broken;          /* it cannot be read: then nothing is done at all */
    char *uid;                 /* the migration's, while side is not SIDE_NONE */
    char *tls_dir;

    bool stop_wanted; /* the core asked to stop the pod; it waits for the epoch to settle */
    bool finished;    /* pod_finish was called */

    /* What is under way */
    bool busy;
    struct script *script;
    struct credentials_call *credentials_call;
    bool refused_once; /* the certificate */
    struct env_timer *tick;

    /* What QEMU said last */
    bool observed;   /* all of what follows is of this session and newer than the last act */
    int observing;   /* replies still to come */
    bool look_again; /* an event came between them: they may be older than it */
    void (*looked)(struct mover *m);
    char *run_state;         /* query-status */
    struct copy_report copy; /* error is in copy_error */
    char *copy_error;
    bool has_credentials;
    bool earlier_copy_left; /* QEMU has not cleaned up an earlier migration (copy_is_left) */
    enum disks_state disks;
    int64_t disk_total, disk_done;

    /* source */
    bool copy_started; /* by this process in this epoch, or QEMU is configured for it */
    bool given_up;     /* by the watchdog, or because the VM is to stop, or a step was refused; at both sides */
    char *failure;     /* why the copy was given up, for failureReason */
    struct progress progress;
    struct watchdog watchdog;
    int64_t downtime_limit; /* that QEMU was told, in ms; 0 = none by this process */
    struct brake brake;
    int64_t brake_told; /* the limit that QEMU has */
    int64_t progress_told_ms;
    bool telling; /* a patch is on its way beside the act */
    int asked;    /* what QEMU was told last to do and takes its time with: an enum source_action */
    int64_t asked_ms;
    struct direct_channel *channel;
    char *proof; /* signature of the grant, made when the copy starts so that it costs nothing later */
    bool grant_recorded;
    bool figures_asked, figures_told; /* QEMU's final figures, for the grant's record or after the claim */
    int64_t grant_sent_ms;

    /* target */
    char *direct_proof; /* of a direct grant, verified */
    int granted_paused; /* whether it said that the user had paused the guest; -1: there was none */
    bool nbd_stopped;
    bool cont_sent;
    int64_t complete_since; /* monotonic ms; 0 = not complete */

    bool route_failed; /* the address is not yet where the guest is */
};

/* --- mover.c: what it is and remembers --- */

/* The mover of a pod, made when it is first needed. */
struct mover *mover_of(struct mover_services *services, struct pod *p);
void mover_free(struct mover *m);

/* Ends what an earlier epoch left in memory. */
void mover_forget(struct mover *m);

/* QEMU's session ended without a word to those who waited for its replies, or is a new one. */
void mover_session_lost(struct mover *m);

/* Reads the epoch afresh; false if there is none that concerns this pod (or its note is unreadable). Harmless while an
 * act is under way: then nothing is changed. */
bool mover_refresh(struct mover *m);

/* Gives up the copy for a reason that a user can act on (the first one stays). */
void mover_fail(struct mover *m, const char *reason);

/* Writes the note (durably) and takes it over; mover_note is for acts. */
int mover_save_note(struct mover *m, enum note note, const char *reason, const char *proof, struct gw_error *err);

struct copy_names mover_names(const struct mover *m);
/* The VMI's migrationState, or NULL. */
yyjson_val *mover_state(const struct mover *m);
/* The time of day as the API writes it; buf holds CLOCK_TEXT_MAX. */
char *mover_now(const struct mover *m, char *buf);
bool mover_qemu_alive(const struct mover *m);
bool mover_qmp_ready(const struct mover *m);
/* The guest was paused by its user: whoever owns it must not let it run. A direct grant is newer than what the target
 * has heard from the server. */
bool mover_paused_by_user(const struct mover *m);

/* --- route.c --- */

/* The VM's address goes where its guest is, if it is elsewhere. Costs nothing when all is in order. */
void mover_route(struct mover *m);

/* --- observe.c: what QEMU says --- */

/* Asks QEMU; looked is called when all is answered. */
void mover_observe(struct mover *m, void (*looked)(struct mover *m));

/* What an event asks for; what it says is taken in at once. */
enum news {
    NEWS_NONE,
    NEWS_LOOK,
    NEWS_URGENT, /* the guest stands still: act on what is known */
};
enum news mover_hear(struct mover *m, const char *name, yyjson_val *data);

/* --- turn.c: when it looks and decides, and how its acts begin and end --- */

/* Look and act, as soon as nothing is under way. */
void mover_kick(struct mover *m);

/* An event of QEMU's: the same, sooner. */
void mover_event(struct mover *m, const char *name, yyjson_val *data);

/* The act is over; why is NULL or what failed (it is logged, and tried again a little later). */
void mover_done(struct mover *m, const char *why);

/* The act was refused for good: the epoch fails for this reason. */
void mover_refused(struct mover *m, const char *why);

/* Writes the note (durably) as an act; the state is not advanced when that fails. */
int mover_note(struct mover *m, enum note note, const char *reason, const char *proof);

/* Starts a script as the act under way. */
void mover_run(struct mover *m, struct script *s);

/* A merge patch of the VMI with this epoch in it, as the act under way: {"status":{"migrationState": ...}}. */
yyjson_mut_doc *mover_patch(struct mover *m);
void mover_send(struct mover *m, yyjson_mut_doc *patch);

/* --- tls.c --- */

/* Asks for the certificate of this migration and side, stores it and gives it to QEMU, as the act under way. */
void mover_get_credentials(struct mover *m);

/* Writes the TLS files of this side for QEMU: ca-cert.pem, SIDE-cert.pem, SIDE-key.pem in m->tls_dir. */
int mover_store_credentials(struct mover *m, const char *cert_pem, const char *key_pem, struct gw_error *err);

/* --- source_driver.c, target_driver.c --- */

extern const struct side_driver source_driver, target_driver;

/* The copy of a guest's memory, as QEMU does it: the commands on both sides, and what query-migrate says.
 *
 * Objects in QEMU are named by epoch ("tls7", "authz7"): a QEMU sees several epochs in its life, first as a target,
 * later as a source, and what is left of an earlier one must not be taken for this one's. */
#pragma once

#include "agent/migration/script.h"
#include "migration/progress.h"
#include "migration/settings.h"
#include "migration/source.h"

/* Connections that carry memory. One TLS stream of QEMU's costs two system calls per page; two channels of multifd need
 * half the work for the same memory (measured, docs/decisions/0003-migration-tls.md). */
#define COPY_CHANNELS 2

/* Names of one epoch, for both sides. */
struct copy_names {
    int64_t epoch;
    const char *migration_uid;
    const char *tls_dir; /* ca-cert.pem, and cert and key of this side, as QEMU's tls-creds-x509 wants them */
};

/* The TLS objects: of the source (a client), or of the target (a server, which admits the source's certificate only).
 */
void copy_add_credentials(struct script *s, const struct copy_names *n, bool source);

/* "tls7", and "authz7": for NBD too. buf holds 32. */
char *copy_tls_id(int64_t epoch, char *buf);
char *copy_authz_id(int64_t epoch, char *buf);

/* Whether the answer of `qom-list /objects` has this epoch's credentials. */
bool copy_has_credentials(yyjson_val *objects, int64_t epoch);

/* Whether the answer of `query-yank` shows a migration. QEMU says "failed" before it has cleaned up, and a `migrate`
 * until then leaves it in "setup" for ever ("duplicate yank instance", QEMU 10.0): so the next one waits for this. */
bool copy_is_left(yyjson_val *yank);

/* Source: settings, then `migrate`. hold: stop before the switch-over, for disks that must be detached first. */
void copy_start(struct script *s, const struct copy_names *n, const struct migration_settings *settings, bool hold,
                const char *address, int port);

/* Source, while it copies: how long the guest may stand still (migration/downtime.h). Not waited for. */
void copy_limit_downtime(struct qmp *q, int64_t ms);

/* Target: settings, then `migrate-incoming`. */
void copy_listen(struct script *s, const struct copy_names *n, const char *address, int port);

/* What query-migrate said. */
struct copy_report {
    enum copy_state state;
    struct copy_sample sample;     /* memory only; now_ms is the caller's */
    int64_t total_ms, downtime_ms; /* of a completed copy; -1 while unknown */
    const char *error;             /* QEMU's error-desc, or NULL; lives as long as the answer */
};
void copy_read(yyjson_val *answer, struct copy_report *ret);
/* The state behind one of QEMU's MigrationStatus names. */
enum copy_state copy_state_from(const char *status);

/* Cuts the connections of a migration that was cancelled and does not end: QEMU waits for a target that takes nothing
 * and says nothing any more. */
void copy_cut(struct script *s);

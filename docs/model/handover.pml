/* The hand-over of docs/handover.md for one epoch, for exhaustive checking with spin (tools/spin.sh).
 *
 * Environment: either agent may crash and restart (its volatile knowledge goes, notes stay), either QEMU may be killed,
 * direct messages may be lost or late, the last acknowledgement between the QEMUs may be lost, the source node may be
 * declared dead. Server writes are atomic and durable; an agent that cannot reach the server is one that is not scheduled.
 *
 * Checked: never two running copies; never a copy that lags behind what the guest did since; and when nothing can move any
 * more, the guest runs on exactly one node, unless the QEMU that ran it (or held the only copy) was killed.
 *
 * Each -D below seeds one mistake, which the check must find:
 *   MISTAKE_GRANT_NOT_NOTED  the source tells the target before its own note is durable
 *   MISTAKE_CLAIM_NOT_NOTED  the target runs the guest without noting the claim
 *   MISTAKE_EARLY_CONT  the target runs the guest when its state is complete, without a grant
 *   MISTAKE_DOUBLE_GRANT  the controller grants for a source that is only silent
 *   MISTAKE_RETURN_CLAIMED  the target returns an epoch that it had claimed
 *   MISTAKE_CLOSE_GRANTED  the source takes the guest back while its grant is out
 *   MISTAKE_STALE_FENCE  the controller grants for a dead source although a disk is shared
 *   MISTAKE_CLOSE_UNSEEN  the controller closes for a dead source without looking what became of the target */

mtype = { running, switching, completed, failed, dead,          /* Qs */
          inmigrate, complete, runs,                             /* Qt (and dead) */
          none, opened, granted, closed,                         /* note at the source */
          prepared, claimed, destroyed };                        /* note at the target */

mtype qs = running, qt = inmigrate;
mtype s_note = opened, t_note = prepared;

bool direct;            /* a direct grant is on its way */
bool t_has_direct;      /* At received it: volatile until it is part of the claim's note */
bool t_cont_sent;       /* this incarnation of At sent cont (volatile: a fresh one must assume it) */
bool t_fresh = true;    /* this incarnation of At was there when the note was written */

bool sv_grant, sv_claim, sv_returned, sv_closed, sv_received, sv_withdraw;  /* the VMI's status */

bool shared;            /* a disk is shared between the nodes */
bool resumed;           /* the guest ran on at the source after its state had been sent */
bool qt_ran, fenced, lost;
byte crashes = 4, losses = 2;

#define SETTLED (sv_claim || sv_closed)

/* Qs runs again: nothing else may run, or have run, from the same moment on. */
inline run_source() {
    assert(qt != runs && !qt_ran);
    qs = running;
    resumed = true
}

/* Qt runs: the source stands still, and has not run on; after a fence its history ended with the node. */
inline run_target() {
    assert(qs != running && qs != failed && qs != switching);
    assert(!resumed || (fenced && !shared));
    assert(!sv_closed);
    qt = runs;
    qt_ran = true
}

/* The guest counts as ended, and its VM may be started anew: no copy may run then, or later. */
inline close_for_the_dead() {
    assert(qt != runs);
    sv_closed = true
}

/* QEMU's own part: copy, stop, send the last state, acknowledge. */
proctype Migration() {
    if
    :: atomic { qs == running && !resumed -> qs = switching }
    :: atomic { qs == dead -> goto end }
    fi;
    if
    :: atomic { qs == switching && qt == inmigrate -> qt = complete }           /* all state is there */
    :: atomic { qs == switching -> assert(qt != runs); qs = failed; resumed = true; goto end }  /* fails: resumes by itself */
    :: atomic { qs == dead -> goto end }
    fi;
    if
    :: atomic { qs == switching && qt != dead -> qs = completed }               /* acknowledged */
    :: atomic { qs == switching -> assert(qt != runs); qs = failed; resumed = true }    /* the acknowledgement is lost */
    :: atomic { qs == dead -> skip }
    fi;
end: skip
}

/* As: the acts of src/agent/migration/source_handover.c; names in brackets are functions. Each option is one durable or visible act; a crash falls between any two. */
active proctype Source() {
end:
    do
    :: fenced -> break
    /* [source_note_granted] */
#ifdef MISTAKE_GRANT_NOT_NOTED
    :: atomic { !fenced && s_note == opened && qs == completed && !direct && !t_has_direct -> direct = true }
#endif
    :: atomic { !fenced && s_note == opened && qs == completed && !sv_returned -> s_note = granted }
    /* [source_send_grant]: direct, and recorded [record_grant] */
    :: atomic { !fenced && s_note == granted && !direct && !t_has_direct && losses > 0 && !sv_claim && !sv_returned -> direct = true }
    :: atomic { !fenced && s_note == granted && !sv_grant && !sv_closed && !sv_returned && !sv_claim -> sv_grant = true }
    /* [source_note_closed]: the copy failed, the guest runs here */
    :: atomic { !fenced && s_note == opened && qs == failed -> s_note = closed; qs = running }
    /* [source_take_back]: no grant is out, or it was returned */
    :: atomic { !fenced && s_note == opened && qs == completed -> s_note = closed }
    :: atomic { !fenced && s_note == granted && sv_returned -> s_note = closed }
#ifdef MISTAKE_CLOSE_GRANTED
    :: atomic { !fenced && s_note == granted && !sv_claim -> s_note = closed }
#endif
    :: atomic { !fenced && s_note == closed && qs == completed -> run_source() }
    /* [source_record_close]: the server refuses it while a grant is out */
    :: atomic { !fenced && s_note == closed && !sv_closed && !sv_claim && (!sv_grant || sv_returned) -> sv_closed = true }
    /* [source_request_return]: Qs died without a grant; wanted is the target's return */
    :: atomic { !fenced && s_note == opened && qs == dead && !sv_withdraw -> sv_withdraw = true }
    :: atomic { !fenced && s_note == opened && qs == dead && sv_returned -> s_note = closed }
    /* [source_quit] */
    :: atomic { !fenced && sv_claim && qs == completed -> qs = dead }
    od
}

/* At: the acts of src/agent/migration/target_driver.c. */
active proctype Target() {
end:
    do
    :: atomic { direct && !t_has_direct -> direct = false; t_has_direct = true }
#ifdef MISTAKE_EARLY_CONT
    :: atomic { t_note == prepared && qt == complete -> t_note = claimed }
#endif
    /* [note_claimed, run] */
#ifdef MISTAKE_CLAIM_NOT_NOTED
    :: atomic { t_note == prepared && qt == complete && (t_has_direct || sv_grant) -> run_target() }
    :: atomic { t_note == prepared && qt == runs -> t_note = claimed }
#else
    :: atomic { t_note == prepared && qt == complete && (t_has_direct || sv_grant) -> t_note = claimed; t_fresh = true; t_cont_sent = false }
    :: atomic { t_note == claimed && qt == complete -> t_cont_sent = true; run_target() }
#endif
    /* [record_claim]: the note holds the proof of a direct grant */
    :: atomic { t_note == claimed && qt != complete && (qt_ran || !t_fresh) && !sv_claim -> sv_claim = true }
    /* Qt died between the note and cont, and this very process knows that it sent none */
    :: atomic { t_note == claimed && qt == dead && t_fresh && !t_cont_sent && !sv_claim -> t_note = destroyed }
#ifdef MISTAKE_RETURN_CLAIMED
    :: atomic { t_note == claimed && qt == dead && !sv_claim -> t_note = destroyed }
#endif
    /* [note_destroyed, destroy], and below [give_back] */
    :: atomic { t_note == prepared && qt == dead -> t_note = destroyed }
    :: atomic { t_note == prepared && sv_closed -> t_note = destroyed; qt = dead }
    :: atomic { t_note == prepared && sv_withdraw && !t_has_direct && !sv_grant -> t_note = destroyed; qt = dead }
    /* its pod is deleted: a grant may be recorded already without its knowledge */
    :: atomic { t_note == prepared && !t_has_direct && crashes > 0 -> crashes--; t_note = destroyed; qt = dead;
                if
                :: qs == dead -> lost = true
                :: else -> skip
                fi }
    /* [tell_received] */
    :: atomic { t_note == prepared && qt == complete && !t_has_direct && !sv_grant && !sv_received -> sv_received = true }
    :: atomic { t_note == destroyed && !sv_returned && !sv_claim -> sv_returned = true }
    od
}

/* C: src/migration/phase.c, its part for nodes that were declared dead: [in_place_of_the_dead, without_source]. */
active proctype Controller() {
end:
    do
    :: atomic { fenced && (shared || !sv_received) && !sv_grant && !sv_withdraw && !SETTLED -> sv_withdraw = true }
#ifdef MISTAKE_STALE_FENCE
    :: atomic { fenced && sv_received && !sv_grant && !sv_withdraw && !sv_returned && !SETTLED -> sv_grant = true }
#else
    :: atomic { fenced && sv_received && !shared && !sv_grant && !sv_withdraw && !sv_returned && !SETTLED -> sv_grant = true }
#endif
#ifdef MISTAKE_DOUBLE_GRANT
    :: atomic { qt == complete && !sv_grant && !sv_returned && !SETTLED -> sv_grant = true }
#endif
    :: atomic { fenced && sv_returned && !SETTLED -> close_for_the_dead() }
#ifdef MISTAKE_CLOSE_UNSEEN
    :: atomic { fenced && !sv_grant && !SETTLED -> close_for_the_dead() }
#else
    /* the target's pod has ended, too [evidence_side_is_gone] */
    :: atomic { fenced && qt == dead && !sv_grant && !SETTLED -> close_for_the_dead() }
#endif
    od
}

/* Deaths. A copy is lost only when the last process that held what the guest needs was killed. */
proctype Deaths() {
end:
    do
    :: atomic { crashes > 0 && !fenced -> crashes-- }                                        /* As: it knows only notes */
    :: atomic { crashes > 0 -> crashes--; t_has_direct = false; t_fresh = false }            /* At */
    :: atomic { losses > 0 && direct -> losses--; direct = false }
    :: atomic { crashes > 0 && qs != dead -> crashes--;
                if
                :: s_note == granted && !sv_returned && qt != dead -> skip
                :: else -> lost = true
                fi;
                qs = dead }
    :: atomic { crashes > 0 && qt != dead -> crashes--;
                if
                :: t_note == claimed || qs == dead -> lost = true
                :: else -> skip
                fi;
                qt = dead }
    :: atomic { crashes > 0 && !fenced && !sv_claim -> crashes--; fenced = true; qs = dead;
                if
                :: sv_grant && qt != dead -> skip
                :: else -> lost = true
                fi }
    od
}

init {
    atomic {
        if
        :: shared = true
        :: shared = false
        fi;
        run Migration();
        run Deaths()
    };
    /* Nothing can move any more: one owner, or a death that explains the loss. */
    timeout;
    assert(lost || (qs == running && qt != runs) || (qt == runs && qs != running));
    assert(SETTLED || lost)
}

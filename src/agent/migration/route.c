/* The VM's address follows the guest. The acts call this at the instant that matters for the blackout, and every
 * decision calls it again: an agent that was killed between the guest's move and its address's finds the rest to do in
 * its next life, and what the kernel refused is tried until it works. */
#include "agent/migration/mover.h"
#include "agent/network/pod_network.h"
#include "base/log.h"
#include "base/str.h"

/* The source's guest is the target's to run; the target comes to know of that first, if this agent is the one to tell.
 */
static bool gave_away(const struct mover *m)
{
    if (m->side != SIDE_SOURCE)
        return false;
    return m->epoch.state == EPOCH_CLAIMED || m->epoch.state == EPOCH_GRANTED ||
           (m->note.note == NOTE_GRANTED && m->epoch.state == EPOCH_OPEN && m->grant_sent_ms);
}

/* A guest that never left keeps the epoch with which it came. */
static bool took_over(const struct mover *m)
{
    const struct pod_network *p = m->pod->network;

    if (!mover_qemu_alive(m))
        return false;
    if (m->side == SIDE_SOURCE)
        return m->note.note == NOTE_CLOSED && p->state != ADDRESS_ACTIVE;
    return m->note.note == NOTE_CLAIMED && m->cont_sent && (p->state != ADDRESS_ACTIVE || p->epoch != m->epoch.number);
}

void mover_route(struct mover *m)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct network *network = m->services->agent->network;
    int r = 0;

    if (!m->pod->network)
        return;
    if (gave_away(m) && m->pod->network->state == ADDRESS_ACTIVE)
        r = pod_network_forward(network, m->pod->uid, m->target_node, &err);
    else if (took_over(m))
        r = pod_network_activate(network, m->pod->uid, m->epoch.number, &err);
    if (r < 0 && !m->route_failed)
        log_error("%s/%s: the address does not follow the guest yet: %s", m->pod->ns, m->pod->vmi_name,
                  gw_error_message(&err));
    m->route_failed = r < 0;
}

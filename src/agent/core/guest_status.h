/* What the agent inside the guest adds to VMI.status, as KubeVirt has it. Pure.
 *
 * What is known of it is a document (pod.h's pod_set_guest), made by agent/guest/:
 *   {"connected": true,            the guest has opened its port
 *    "unsupported": "...",         why KubeVirt would not support that agent
 *    "os": {...},                  VirtualMachineInstanceGuestOSInfo
 *    "interfaces": [{"interfaceName", "mac", "ipAddresses"}],
 *    "freeze": "frozen"|"thawed",
 *    "unfreezeAt": "..."|null}     VMI_UNFREEZE_AT
 * What is absent is not known (yet), and then the VMI keeps what it says: a restarted agent, or a migration's target,
 * knows less at first than those before it did. */
#pragma once

#include "base/json.h"

/* Annotation: when frozen file systems are thawed if nobody did before. It goes with the guest. */
#define VMI_UNFREEZE_AT "godwit.io/unfreeze-at"

/* Conditions AgentConnected and AgentVersionNotSupported, guestOSInfo, fsFreezeStatus and the annotation. want holds
 * the conditions that are there (keep_conditions). */
void want_guest(yyjson_mut_doc *want, yyjson_val *vmi, yyjson_val *guest, int64_t now_ms);

/* Adds to the interfaces of the domain (items of list, as status.interfaces has them) what the guest says of them, and
 * its own ones behind them. False: nothing is known, and status.interfaces holds what was known before: it is to stay.
 */
bool merge_guest_interfaces(yyjson_mut_doc *want, yyjson_mut_val *list, yyjson_val *vmi, yyjson_val *guest);

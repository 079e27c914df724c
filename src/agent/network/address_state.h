/* Where a VM's address stands on one node (pod_network.h draws how it gets there), and the names for notes and peers.
 */
#pragma once

enum address_state { ADDRESS_HOLDING, ADDRESS_ACTIVE, ADDRESS_FORWARDING, ADDRESS_GONE, ADDRESS_STATE_MAX };

const char *address_state_string(enum address_state state);
/* ADDRESS_STATE_MAX when the name is none. */
enum address_state address_state_from(const char *name);

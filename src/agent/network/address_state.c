#include "agent/network/address_state.h"

#include <assert.h>

#include "base/cleanup.h"
#include "base/str.h"

static const char *const states[] = {
    [ADDRESS_HOLDING] = "Holding",
    [ADDRESS_ACTIVE] = "Active",
    [ADDRESS_FORWARDING] = "Forwarding",
    [ADDRESS_GONE] = "Gone",
};
static_assert(ARRAY_SIZE(states) == ADDRESS_STATE_MAX, "each state needs its name");

const char *address_state_string(enum address_state state)
{
    return states[state];
}

enum address_state address_state_from(const char *name)
{
    size_t i = 0;

    while (i < ADDRESS_STATE_MAX && !str_same(states[i], name))
        i++;
    return (enum address_state)i;
}

/* certificatesigningrequests/approval: how an administrator approves or denies. Only conditions can be written there.
 */
#pragma once

#include "apiserver/rest.h"

extern const struct rest_extra approval_extras[];

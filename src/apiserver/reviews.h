/* Questions about rights and identities: the kinds of authorization.k8s.io and authentication.k8s.io. They are answered
 * at once and never stored. */
#pragma once

#include "apiserver/rest.h"

extern const struct rest_extra review_extras[];

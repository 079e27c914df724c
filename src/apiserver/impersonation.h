/* Impersonation: a request that is made as somebody else, by who has the verb impersonate on that user (or service
 * account), on each group, uid and further attribute. */
#pragma once

#include "apiserver/identity.h"
#include "apiserver/rest.h"

/* headers: those of the request, any of them. *ret is who it is to be made as, NULL when no header asks for that.
 * Forbidden when who may not, and *ret_about (of headers' texts) is whom he may not be; BadRequest when groups and the
 * like come without a user. */
int impersonation_apply(struct rest_server *s, const struct api_user *who, const struct api_headers *headers,
                        struct identity **ret, struct api_subject *ret_about, struct gw_error *err);

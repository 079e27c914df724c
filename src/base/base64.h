/* Base64 (RFC 4648, section 4), as Secrets, kubeconfigs and CertificateSigningRequests carry bytes. */
#pragma once

#include <stddef.h>

/* With padding, without line breaks; the caller frees. */
char *base64_encode(const void *data, size_t len);

/* Strict but for white space, which is skipped. *ret gets a NUL behind its last byte and is freed by the caller;
 * ret_len may be NULL. -EINVAL if text is no base64. */
int base64_decode(const char *text, size_t len, char **ret, size_t *ret_len);

/* CertificateSigningRequests, for those who ask for a certificate. */
#pragma once

#include "base/json.h"

enum csr_use { CSR_CLIENT = 1 << 0, CSR_SERVER = 1 << 1 };

/* The object to create. csr_pem is a PKCS #10 request; uses, of enum csr_use, what the certificate is to be good for.
 */
yyjson_mut_doc *csr_object(const char *name, const char *signer, const char *csr_pem, unsigned uses);

enum csr_state { CSR_PENDING, CSR_ISSUED, CSR_REFUSED };

/* What has become of it. *ret, freed by the caller: the certificate as PEM, or why it was refused; NULL while neither.
 */
enum csr_state csr_read(yyjson_val *csr, char **ret);

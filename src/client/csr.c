#include "client/csr.h"

#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/str.h"

yyjson_mut_doc *csr_object(const char *name, const char *signer, const char *csr_pem, unsigned uses)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *list = yyjson_mut_arr(d);
    _cleanup_free_ char *request = base64_encode(csr_pem, strlen(csr_pem));

    json_set_str(d, "/metadata/name", name);
    json_set_str(d, "/spec/request", request);
    json_set_str(d, "/spec/signerName", signer);
    yyjson_mut_arr_add_str(d, list, "digital signature");
    if (uses & CSR_CLIENT)
        yyjson_mut_arr_add_str(d, list, "client auth");
    if (uses & CSR_SERVER)
        yyjson_mut_arr_add_str(d, list, "server auth");
    json_set(d, "/spec/usages", list);
    return d;
}

/* The denial's message, if there is one. */
static const char *refusal(yyjson_val *csr)
{
    yyjson_val *condition;

    json_each(json_at(csr, "/status/conditions"), condition) {
        const char *type = json_str_or(condition, "/type", "");
        if (streq(type, "Denied") || streq(type, "Failed"))
            return json_str_or(condition, "/message", type);
    }
    return NULL;
}

enum csr_state csr_read(yyjson_val *csr, char **ret)
{
    const char *certificate = json_str(csr, "/status/certificate");

    *ret = NULL;
    if (certificate && base64_decode(certificate, strlen(certificate), ret, NULL) == 0)
        return CSR_ISSUED;
    *ret = xstrdup(certificate ? "the certificate is no base64" : refusal(csr));
    return *ret ? CSR_REFUSED : CSR_PENDING;
}

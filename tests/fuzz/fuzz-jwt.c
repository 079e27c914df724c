/* Bearer tokens of any form. None can be good, because nobody has the key. */
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "pki/jwt.h"
#include "pki/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwt_key *key;
    _cleanup_key_ char *pem = NULL;
    _cleanup_free_ char *token = xstrndup((const char *)data, size);
    yyjson_doc *claims = NULL;

    if (!key && (pki_key_new(&pem, NULL) < 0 || jwt_key_new(pem, &key, NULL) < 0))
        abort();
    if (jwt_verify(key, token, &claims, NULL) == 0)
        abort();
    return 0;
}

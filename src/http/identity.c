#include <errno.h>
#include <string.h>

#include "http/http_internal.h"

static int fail(struct gw_error *err, int code, const char *what)
{
    return gw_error_set(err, GW_INVALID, "cannot use the server's %s: %s", what, gnutls_strerror(code));
}

static int load(struct http_identity *i, const char *cert_pem, const char *key_pem, struct gw_error *err)
{
    gnutls_datum_t cert = {(unsigned char *)cert_pem, (unsigned)strlen(cert_pem)};
    gnutls_datum_t key = {(unsigned char *)key_pem, (unsigned)strlen(key_pem)};
    unsigned n = ARRAY_SIZE(i->chain);
    int r = gnutls_pcert_list_import_x509_raw(i->chain, &n, &cert, GNUTLS_X509_FMT_PEM,
                                              GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);

    if (r < 0)
        return fail(err, r, "certificate");
    i->n = n;
    r = gnutls_privkey_init(&i->key);
    if (r >= 0)
        r = gnutls_privkey_import_x509_raw(i->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    return r < 0 ? fail(err, r, "key") : 0;
}

int http_identity_load(const char *cert_pem, const char *key_pem, struct http_identity **ret, struct gw_error *err)
{
    struct http_identity *i = xnew(struct http_identity);
    int r = load(i, cert_pem, key_pem, err);

    if (r < 0)
        http_identity_free(i);
    else
        *ret = i;
    return r;
}

void http_identity_free(struct http_identity *i)
{
    while (i) {
        struct http_identity *older = i->older;

        for (unsigned k = 0; k < i->n; k++)
            gnutls_pcert_deinit(&i->chain[k]);
        if (i->key)
            gnutls_privkey_deinit(i->key);
        free(i);
        i = older;
    }
}

/* MHD leaves its connection as the session's pointer; ours hangs on that one. */
int http_identity_retrieve(gnutls_session_t session, const gnutls_datum_t *req_ca_rdn, int nreqs,
                           const gnutls_pk_algorithm_t *pk_algos, int pk_algos_length, gnutls_pcert_st **pcert,
                           unsigned *pcert_length, gnutls_privkey_t *privkey)
{
    struct MHD_Connection *mhd = gnutls_session_get_ptr(session);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const struct http_connection *c = info->socket_context;

    *pcert = c->s->identity->chain;
    *pcert_length = c->s->identity->n;
    *privkey = c->s->identity->key;
    return 0;
}

/* The TLS files of one migration and side: asked of the server, stored for QEMU, and given to it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/migration/credentials.h"
#include "agent/migration/mover.h"
#include "base/alloc.h"
#include "base/fs.h"

static int store(const struct mover *m, const char *name, const char *text, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", m->tls_dir, name);
    int r = fs_write(path, text, strlen(text), 0600, err);

    if (r >= 0 && chown(path, m->pod->qemu_uid, m->pod->qemu_gid) < 0)
        r = gw_error_errno(err, errno, "cannot give %s to QEMU's user", path);
    return r;
}

int mover_store_credentials(struct mover *m, const char *cert_pem, const char *key_pem, struct gw_error *err)
{
    bool source = m->side == SIDE_SOURCE;
    int r = fs_mkdirs(m->tls_dir, 0700, err);

    if (r >= 0 && chown(m->tls_dir, m->pod->qemu_uid, m->pod->qemu_gid) < 0)
        r = gw_error_errno(err, errno, "cannot give %s to QEMU's user", m->tls_dir);
    if (r >= 0)
        r = store(m, "ca-cert.pem", m->services->agent->migration_ca, err);
    if (r >= 0)
        r = store(m, source ? "client-cert.pem" : "server-cert.pem", cert_pem, err);
    if (r >= 0)
        r = store(m, source ? "client-key.pem" : "server-key.pem", key_pem, err);
    return r;
}

/* The server knows sooner than we that a migration is over, and refuses: not that is the cause, but what comes to be
 * known of the epoch in the meantime. So a refusal counts when it is repeated. */
static void have_credentials(void *userdata, const char *cert_pem, const char *key_pem, const struct gw_error *failure)
{
    struct mover *m = userdata;
    bool source = m->side == SIDE_SOURCE;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct copy_names names = mover_names(m);

    m->credentials_call = NULL;
    if (failure && !m->refused_once) {
        m->refused_once = true;
        mover_done(m, gw_error_message(failure));
        return;
    }
    if (failure || mover_store_credentials(m, cert_pem, key_pem, &err) < 0) {
        mover_refused(m, gw_error_message(failure ? failure : &err));
        return;
    }
    if (!mover_qmp_ready(m)) {
        mover_done(m, "QEMU went away");
        return;
    }
    struct script *s = script_new(m->pod->qmp);
    copy_add_credentials(s, &names, source);
    mover_run(m, s);
}

void mover_get_credentials(struct mover *m)
{
    const char *side = m->side == SIDE_SOURCE ? "source" : "target";
    _cleanup_free_ char *cn = epoch_cert_name(m->uid, side), *dns = epoch_dns_name(m->uid, side);
    _cleanup_free_ char *name = xasprintf("migration-%s-%s", m->uid, side);
    const char *sans[] = {dns, NULL};
    struct pki_subject subject = {.cn = cn, .sans = sans};

    if (!m->services->agent->migration_ca)
        return; /* comes by itself; the next tick looks again */
    m->busy = true;
    m->credentials_call = credentials_get(m->services->agent, name, "godwit.io/migration", &subject,
                                          m->side == SIDE_SOURCE ? PKI_CLIENT : PKI_SERVER, have_credentials, m);
}

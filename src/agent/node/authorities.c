#include "agent/node/authorities.h"

#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "client/informer.h"
#include "client/resources.h"
#include "pki/authority.h"

#define NAMESPACE "kube-system"
#define NAME "godwit-ca"

struct node_authorities {
    struct agent *agent;
    struct informer *informer;
    void (*changed)(void *userdata);
    void *userdata;
};

/* --- On disk: {"file": what --ca-file said, "bundle": what came from the server since} --- */

static char *kept_path(const struct agent *a)
{
    return xasprintf("%s/pki/authorities.json", a->config.state_dir);
}

int authorities_load(struct agent *a, struct gw_error *err)
{
    _cleanup_free_ char *path = kept_path(a), *kept = NULL, *file = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *root;
    size_t len = 0;
    int r = fs_read(a->config.ca_file, 0, &file, NULL, err);

    if (r < 0)
        return r;
    if (fs_read(path, 0, &kept, &len, NULL) >= 0)
        (void)json_parse(kept, len, &doc, NULL);
    root = yyjson_doc_get_root(doc);
    a->cluster_ca = str_same(json_str(root, "/file"), file) && json_str(root, "/bundle")
                        ? xstrdup(json_str(root, "/bundle"))
                        : TAKE_PTR(file);
    return 0;
}

static void keep(const struct agent *a)
{
    _cleanup_free_ char *path = kept_path(a), *file = NULL, *text = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = fs_read(a->config.ca_file, 0, &file, NULL, &err);

    if (r >= 0) {
        json_set_str(d, "/file", file);
        json_set_str(d, "/bundle", a->cluster_ca);
        text = json_text(yyjson_mut_doc_get_root(d));
        r = fs_write(path, text, strlen(text), 0600, &err);
    }
    if (r < 0)
        log_failure(r, &err, "the authorities are not kept for the next start");
}

/* --- From the server --- */

static void replace(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

static void on_config_map(void *userdata, const char *key, yyjson_val *old, yyjson_val *map)
{
    struct node_authorities *na = userdata;
    struct agent *a = na->agent;
    const char *cluster = json_key_str(map, "/data", "cluster-ca.crt"),
               *migration = json_key_str(map, "/data", "migration-ca.crt");
    struct pki_trust *of_cluster = NULL, *of_migration = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!map) /* somebody has deleted it; the server makes it again, and meanwhile we know what we know */
        return;
    if (!cluster || !migration || pki_trust_new(cluster, &of_cluster, &err) < 0 ||
        pki_trust_new(migration, &of_migration, &err) < 0) {
        log_warn("ConfigMap " NAMESPACE "/" NAME ": %s; it is left alone",
                 err.message ? err.message : "keys cluster-ca.crt and migration-ca.crt are missing");
    } else if (!str_same(a->cluster_ca, cluster) || !str_same(a->migration_ca, migration)) {
        bool known = a->migration_ca != NULL;

        replace(&a->cluster_ca, cluster);
        replace(&a->migration_ca, migration);
        pki_trust_free(a->migration_trust);
        a->migration_trust = TAKE_PTR(of_migration);
        keep(a);
        if (known)
            log_info("the cluster's authorities have changed");
        na->changed(na->userdata);
    }
    pki_trust_free(of_cluster);
    pki_trust_free(of_migration);
}

struct node_authorities *authorities_follow(struct agent *a, void (*changed)(void *userdata), void *userdata)
{
    static const struct informer_config config = {
        .resource = &API_CONFIGMAPS, .ns = NAMESPACE, .field_selector = "metadata.name=" NAME};
    struct node_authorities *na = xnew(struct node_authorities);

    *na = (struct node_authorities){.agent = a, .changed = changed, .userdata = userdata};
    na->informer = informer_new(a->env, &config);
    informer_add_handler(na->informer, on_config_map, na);
    return na;
}

struct node_authorities *authorities_stop(struct node_authorities *na)
{
    if (!na)
        return NULL;
    informer_free(na->informer);
    free(na);
    return NULL;
}

/* --- To the server --- */

static void report_trust(yyjson_mut_doc *d, const char *path, const char *bundle)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    char *pem;

    for (const char *at = bundle ? bundle : ""; (pem = pki_next_pem(&at, "CERTIFICATE")); free(pem)) {
        _cleanup_pki_info_ struct pki_info info = {0};

        if (pki_cert_read(pem, &info, NULL) == 0)
            yyjson_mut_arr_add_strcpy(d, list, info.fingerprint);
    }
    json_set(d, path, list);
}

static void report_issuer(yyjson_mut_doc *d, const char *path, const struct agent *a, const char *cert)
{
    char fingerprint[65];

    if (cert && pki_issuer_of(a->cluster_ca, cert, fingerprint, NULL) == 0)
        json_set_str(d, path, fingerprint);
}

char *authorities_report(const struct agent *a)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    report_trust(d, "/cluster", a->cluster_ca);
    report_trust(d, "/migration", a->migration_ca);
    report_issuer(d, "/client", a, a->cert_pem);
    report_issuer(d, "/serving", a, a->serving_pem);
    return json_text(yyjson_mut_doc_get_root(d));
}

#include "cli/kubeconfig_request.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/str.h"
#include "cli/api.h"
#include "client/csr.h"
#include "client/kubeconfig.h"

#define SIGNER "kubernetes.io/kube-apiserver-client"
#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define LOOK_US 50000
#define LOOKS 200 /* ten seconds */

static int create(struct cli_api *api, const char *name, const char *csr_pem, int64_t lifetime_s, yyjson_doc **ret,
                  struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = csr_object(name, SIGNER, csr_pem, CSR_CLIENT);

    json_set_int(d, "/spec/expirationSeconds", lifetime_s);
    return cli_api_call(api, "POST", CSRS, d, ret, err);
}

static int approve(struct cli_api *api, const char *path, yyjson_val *csr, struct gw_error *err)
{
    _cleanup_free_ char *target = xasprintf("%s/approval", path);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(csr);
    _cleanup_doc_ yyjson_doc *answer = NULL;
    yyjson_mut_val *condition;

    json_set(d, "/status/conditions", yyjson_mut_arr(d));
    condition = yyjson_mut_arr_add_obj(d, json_mut_at(d, "/status/conditions"));
    yyjson_mut_obj_add_str(d, condition, "type", "Approved");
    yyjson_mut_obj_add_str(d, condition, "status", "True");
    yyjson_mut_obj_add_str(d, condition, "reason", "GodwitKubeconfig");
    yyjson_mut_obj_add_str(d, condition, "message", "asked for and approved by godwit kubeconfig");
    return cli_api_call(api, "PUT", target, d, &answer, err);
}

static int await(struct cli_api *api, const char *path, char **ret_cert, struct gw_error *err)
{
    for (int i = 0; i < LOOKS; i++) {
        _cleanup_doc_ yyjson_doc *doc = NULL;
        _cleanup_free_ char *text = NULL;
        int r = cli_api_get(api, path, &doc, err);
        if (r < 0)
            return r;
        enum csr_state state = csr_read(yyjson_doc_get_root(doc), &text);
        if (state == CSR_REFUSED)
            return gw_error_set(err, GW_FORBIDDEN, "the certificate request was refused: %s", text);
        if (state == CSR_ISSUED) {
            *ret_cert = TAKE_PTR(text);
            return 0;
        }
        usleep(LOOK_US);
    }
    return gw_error_set(err, GW_TIMEOUT, "the certificate request was not signed in time; see %s", path);
}

static int get_certificate(struct cli_api *api, const char *csr_pem, int64_t lifetime_s, char **ret_cert,
                           struct gw_error *err)
{
    char suffix[11];
    _cleanup_free_ char *name = xasprintf("kubeconfig-%s", random_suffix(suffix, 10));
    _cleanup_free_ char *path = xasprintf(CSRS "/%s", name);
    _cleanup_doc_ yyjson_doc *csr = NULL, *gone = NULL;
    int r = create(api, name, csr_pem, lifetime_s, &csr, err);

    if (r < 0)
        return r;
    r = approve(api, path, yyjson_doc_get_root(csr), err);
    r = r < 0 ? r : await(api, path, ret_cert, err);
    (void)cli_api_call(api, "DELETE", path, NULL, &gone, NULL); /* stale ones are swept away by the server as well */
    return r;
}

int kubeconfig_request(const struct pki_subject *subject, int64_t lifetime_s, struct client_config *ret,
                       struct gw_error *err)
{
    _cleanup_client_config_ struct client_config own = {0};
    _cleanup_free_ char *path = cli_default_kubeconfig(), *csr = NULL;
    _cleanup_cli_api_ struct cli_api api = {0};
    int r = kubeconfig_load_list(path, NULL, &own, err);

    r = r < 0 ? r : cli_api_open(&api, NULL, err);
    r = r < 0 ? r : pki_key_new(&ret->key, err);
    r = r < 0 ? r : pki_csr_new(ret->key, subject, PKI_CLIENT, &csr, err);
    r = r < 0 ? r : get_certificate(&api, csr, lifetime_s, &ret->cert, err);
    ret->server = xstrdup(own.server);
    ret->ca = xstrdup(own.ca);
    return r;
}

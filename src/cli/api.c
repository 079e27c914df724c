#include "cli/api.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "client/client_curl.h"
#include "client/kubeconfig.h"

#define TIMEOUT_MS 10000

char *cli_default_kubeconfig(void)
{
    const char *named = getenv("KUBECONFIG"), *home = getenv("HOME");

    return named && *named ? xstrdup(named) : xasprintf("%s/.kube/config", home ? home : "/root");
}

int cli_api_open(struct cli_api *api, const char *kubeconfig, struct gw_error *err)
{
    return cli_api_open_context(api, kubeconfig, NULL, err);
}

int cli_api_open_context(struct cli_api *api, const char *kubeconfig, const char *context, struct gw_error *err)
{
    _cleanup_client_config_ struct client_config config = {0};
    _cleanup_free_ char *path = kubeconfig ? xstrdup(kubeconfig) : cli_default_kubeconfig();
    int r =
        kubeconfig ? kubeconfig_load(path, context, &config, err) : kubeconfig_load_list(path, context, &config, err);

    *api = (struct cli_api){0};
    if (r < 0)
        return r;
    r = sd_event_new(&api->loop);
    if (r < 0)
        return gw_error_errno(err, r, "event loop");
    api->namespace_ = TAKE_PTR(config.namespace_);
    return client_curl_new(api->loop, &config, &api->client, err);
}

void cli_api_done(struct cli_api *api)
{
    if (api->client)
        api_client_free(api->client);
    sd_event_unref(api->loop);
    free(api->namespace_);
    *api = (struct cli_api){0};
}

struct pending {
    bool ended;
    yyjson_doc *doc;
    struct gw_error err;
    bool failed;
};

static void answered(void *userdata, struct api_answer *answer)
{
    struct pending *p = userdata;

    p->ended = true;
    p->failed = answer->err != NULL;
    if (answer->err)
        gw_error_set(&p->err, answer->err->reason, "%s", gw_error_message(answer->err));
    else
        p->doc = TAKE_PTR(answer->doc);
}

int cli_api_get(struct cli_api *api, const char *path, yyjson_doc **ret, struct gw_error *err)
{
    return cli_api_call(api, "GET", path, NULL, ret, err);
}

int cli_api_call(struct cli_api *api, const char *method, const char *path, yyjson_mut_doc *body, yyjson_doc **ret,
                 struct gw_error *err)
{
    _cleanup_blob_ struct blob *text = body ? json_encode(yyjson_mut_doc_get_root(body)) : NULL;
    struct pending p = {0};
    int r = 0;

    api_request(api->client, method, path, text ? "application/json" : NULL, text, TIMEOUT_MS, answered, &p);
    while (!p.ended && r >= 0)
        r = sd_event_run(api->loop, UINT64_MAX);
    if (!p.ended)
        return gw_error_errno(err, r, "event loop");
    if (p.failed) {
        gw_error_move(err, &p.err);
        gw_error_done(&p.err);
        return -EIO;
    }
    *ret = p.doc;
    return 0;
}

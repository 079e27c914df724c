#include "client/kubeconfig.h"

#include <string.h>

#include "api/yaml.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

/* The entry called name in the list at `list`; what = "context" and the like, for the message. */
static int entry(yyjson_val *root, const char *list, const char *what, const char *name, yyjson_val **ret,
                 struct gw_error *err)
{
    yyjson_val *item;

    if (!name)
        return gw_error_set(err, GW_BAD_REQUEST, "kubeconfig: no %s is chosen", what);
    json_each(json_at(root, list), item) {
        if (!streq(json_str_or(item, "/name", ""), name))
            continue;
        *ret = yyjson_obj_get(item, what);
        return 0;
    }
    return gw_error_set(err, GW_NOT_FOUND, "kubeconfig: %s \"%s\" is not defined", what, name);
}

/* A file named in the kubeconfig, relative to its folder. */
static int read_file(const char *folder, const char *name, char **ret, struct gw_error *err)
{
    if (!folder)
        return gw_error_set(err, GW_BAD_REQUEST, "kubeconfig: file names (%s) are not allowed here", name);
    _cleanup_free_ char *path = *name == '/' ? xstrdup(name) : xasprintf("%s/%s", folder, name);
    return fs_read(path, KUBECONFIG_MAX, ret, NULL, err);
}

/* A PEM text that is given as KEY-data (base64) or in the file KEY; *ret stays NULL if neither is there. */
static int data_or_file(yyjson_val *v, const char *key, const char *folder, char **ret, struct gw_error *err)
{
    _cleanup_free_ char *file_key = json_path("", key), *data_key = xasprintf("%s-data", file_key);
    const char *data = json_str_or(v, data_key, ""), *file = json_str_or(v, file_key, "");

    if (*data && base64_decode(data, strlen(data), ret, NULL) < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "kubeconfig: %s-data is not base64", key);
    return *data || !*file ? 0 : read_file(folder, file, ret, err);
}

static int read_cluster(yyjson_val *cluster, const char *folder, struct client_config *cfg, struct gw_error *err)
{
    const char *server = json_str_or(cluster, "/server", "");
    size_t len = strlen(server);

    while (len && server[len - 1] == '/')
        len--;
    if (!len)
        return gw_error_set(err, GW_BAD_REQUEST, "kubeconfig: the cluster has no server");
    cfg->server = xstrndup(server, len);
    cfg->server_name = xstrdup(json_str(cluster, "/tls-server-name"));
    cfg->insecure = json_bool(cluster, "/insecure-skip-tls-verify", false);
    return data_or_file(cluster, "certificate-authority", folder, &cfg->ca, err);
}

static void trim_end(char *text)
{
    size_t len = strlen(text);

    while (len && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
}

static int read_user(yyjson_val *user, const char *folder, struct client_config *cfg, struct gw_error *err)
{
    static const char *const refused[] = {"/exec", "/auth-provider", "/username"};
    const char *token_file = json_str_or(user, "/tokenFile", "");
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (json_at(user, refused[i]))
            return gw_error_set(err, GW_BAD_REQUEST,
                                "kubeconfig: users with %s are not supported; use a client certificate or a token",
                                refused[i] + 1);
    if ((r = data_or_file(user, "client-certificate", folder, &cfg->cert, err)) < 0 ||
        (r = data_or_file(user, "client-key", folder, &cfg->key, err)) < 0)
        return r;
    cfg->token = xstrdup(json_str(user, "/token"));
    if (!cfg->token && *token_file && (r = read_file(folder, token_file, &cfg->token, err)) < 0)
        return r;
    if (cfg->token)
        trim_end(cfg->token);
    return 0;
}

static int read_context(yyjson_val *root, const char *name, const char *folder, struct client_config *cfg,
                        struct gw_error *err)
{
    yyjson_val *context, *cluster, *user;
    int r;

    if ((r = entry(root, "/contexts", "context", name ? name : json_str(root, "/current-context"), &context, err)) <
            0 ||
        (r = entry(root, "/clusters", "cluster", json_str(context, "/cluster"), &cluster, err)) < 0 ||
        (r = read_cluster(cluster, folder, cfg, err)) < 0)
        return r;
    cfg->namespace_ = xstrdup(json_str_or(context, "/namespace", "default"));
    if (!json_str(context, "/user"))
        return 0;
    if ((r = entry(root, "/users", "user", json_str(context, "/user"), &user, err)) < 0)
        return r;
    return read_user(user, folder, cfg, err);
}

int kubeconfig_parse(const char *text, size_t len, const char *folder, const char *context, struct client_config *ret,
                     struct gw_error *err)
{
    _cleanup_client_config_ struct client_config cfg = {0};
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = yaml_parse(text, len, &doc, err);

    if (r < 0)
        return gw_error_wrap(err, r, "kubeconfig");
    r = read_context(yyjson_doc_get_root(doc), context, folder, &cfg, err);
    if (r < 0)
        return r;
    *ret = cfg;
    cfg = (struct client_config){0};
    return 0;
}

int kubeconfig_load(const char *path, const char *context, struct client_config *ret, struct gw_error *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = fs_read(path, KUBECONFIG_MAX, &text, &len, err);

    if (r >= 0)
        r = kubeconfig_parse(text, len, folder, context, ret, err);
    if (text)
        explicit_bzero(text, len);
    return r < 0 ? gw_error_wrap(err, r, "%s", path) : 0;
}

/* --- writing --- */

static void set_data(yyjson_mut_doc *d, const char *path, const char *text)
{
    if (!text)
        return;
    _cleanup_free_ char *data = base64_encode(text, strlen(text));
    json_set_str(d, path, data);
}

char *kubeconfig_write(const struct client_config *cfg, const char *cluster_name, const char *user_name)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    static const char *const lists[] = {"/clusters", "/users", "/contexts"};

    json_set_str(d, "/apiVersion", "v1");
    json_set_str(d, "/kind", "Config");
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        json_set(d, lists[i], yyjson_mut_arr(d));
        yyjson_mut_arr_append(json_mut_at(d, lists[i]), yyjson_mut_obj(d));
    }
    json_set_str(d, "/clusters/0/name", cluster_name);
    json_set_str(d, "/clusters/0/cluster/server", cfg->server);
    set_data(d, "/clusters/0/cluster/certificate-authority-data", cfg->ca);
    if (cfg->server_name)
        json_set_str(d, "/clusters/0/cluster/tls-server-name", cfg->server_name);
    json_set_str(d, "/users/0/name", user_name);
    json_set(d, "/users/0/user", yyjson_mut_obj(d));
    set_data(d, "/users/0/user/client-certificate-data", cfg->cert);
    set_data(d, "/users/0/user/client-key-data", cfg->key);
    if (cfg->token)
        json_set_str(d, "/users/0/user/token", cfg->token);
    json_set_str(d, "/contexts/0/name", cluster_name);
    json_set_str(d, "/contexts/0/context/cluster", cluster_name);
    json_set_str(d, "/contexts/0/context/user", user_name);
    json_set_str(d, "/contexts/0/context/namespace", cfg->namespace_ ? cfg->namespace_ : "default");
    json_set_str(d, "/current-context", cluster_name);
    return yyjson_mut_write(d, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);
}

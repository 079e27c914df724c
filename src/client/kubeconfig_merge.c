/* Several kubeconfig files as one, by clientcmd's rules: whoever says something first is right, and a file that is not
 * there says nothing. */
#include <string.h>

#include "api/yaml.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "client/kubeconfig.h"

static const struct {
    const char *path, *what;
} lists[] = {{"/clusters", "cluster"}, {"/users", "user"}, {"/contexts", "context"}};

/* File names are relative to the file that names them. */
static void make_absolute(yyjson_mut_doc *d, yyjson_mut_val *v, const char *folder)
{
    static const char *const keys[] = {"certificate-authority", "client-certificate", "client-key", "tokenFile"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(v, keys[i]));
        _cleanup_free_ char *path = NULL;

        if (!name || !*name || *name == '/')
            continue;
        path = xasprintf("%s/%s", folder, name);
        yyjson_mut_obj_put(v, yyjson_mut_str(d, keys[i]), yyjson_mut_strcpy(d, path));
    }
}

static void add(yyjson_mut_doc *d, yyjson_val *config, const char *folder)
{
    const char *current = json_str_or(config, "/current-context", "");
    yyjson_val *item;

    if (*current && !json_mut_str(d, "/current-context"))
        json_set_str(d, "/current-context", current);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        json_each(json_at(config, lists[i].path), item) {
            yyjson_mut_val *copy = yyjson_val_mut_copy(d, item);

            make_absolute(d, yyjson_mut_obj_get(copy, lists[i].what), folder);
            yyjson_mut_arr_append(json_mut_at(d, lists[i].path), copy); /* of one name the first is found */
        }
}

static int add_file(yyjson_mut_doc *d, const char *path, struct gw_error *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    _cleanup_free_ char *text = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    size_t len = 0;
    int r = fs_read(path, KUBECONFIG_MAX, &text, &len, err);

    r = r < 0 ? r : yaml_parse(text, len, &doc, err);
    if (text)
        explicit_bzero(text, len);
    if (r < 0)
        return gw_error_wrap(err, r, "%s", path);
    add(d, yyjson_doc_get_root(doc), folder);
    return 0;
}

static int add_files(yyjson_mut_doc *d, const char *list, struct gw_error *err)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        json_set(d, lists[i].path, yyjson_mut_arr(d));
    for (const char *p = list; *p && r == 0;) {
        size_t len = strcspn(p, ":");
        _cleanup_free_ char *path = xstrndup(p, len);

        if (*path && fs_exists(path))
            r = add_file(d, path, err);
        p += len + (p[len] == ':');
    }
    return r;
}

int kubeconfig_load_list(const char *list, const char *context, struct client_config *ret, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_blob_ struct blob *text = NULL;
    int r;

    if (!strchr(list, ':'))
        return kubeconfig_load(list, context, ret, err);
    r = add_files(d, list, err);
    if (r < 0)
        return r;
    text = json_encode(yyjson_mut_doc_get_root(d));
    r = kubeconfig_parse(text->data, text->len, ".", context, ret, err);
    explicit_bzero(text->data, text->len);
    return r < 0 ? gw_error_wrap(err, r, "%s", list) : 0;
}

#include "server/account_secrets.h"

#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "apiserver/account_token.h"
#include "apiserver/local.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/str.h"
#include "pki/pki.h"

#define PAGE 500

static bool has(yyjson_val *secret, const char *key, const char *want)
{
    _cleanup_free_ char *text = base64_encode(want, strlen(want));

    return str_same(json_key_str(secret, "/data", key), text);
}

static bool is_complete(yyjson_val *secret, yyjson_val *account, const char *ca_pem)
{
    return json_key_str(secret, "/data", "token") && has(secret, "ca.crt", ca_pem) &&
           has(secret, "namespace", meta_namespace(secret)) &&
           str_same(meta_annotation(secret, ACCOUNT_UID_ANNOTATION), meta_uid(account));
}

static void set_data(yyjson_mut_doc *d, const char *key, const char *value)
{
    _cleanup_free_ char *path = json_path("/data", key), *text = base64_encode(value, strlen(value));

    json_set_str(d, path, text);
}

static int send_change(struct rest_server *rest, const struct kind *kind, yyjson_val *secret, const char *method,
                       yyjson_mut_doc *patch, struct gw_error *err)
{
    _cleanup_free_ char *target = local_target(kind, meta_namespace(secret), meta_name(secret), NULL);
    _cleanup_blob_ struct blob *body = patch ? json_encode(yyjson_mut_doc_get_root(patch)) : NULL;
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r = local_call(rest, method, target, patch ? MERGE_PATCH : NULL, body, NULL, &why);

    if (r == 0 || why.reason == GW_NOT_FOUND || why.reason == GW_CONFLICT)
        return 0; /* somebody was faster, and their event is on the way */
    gw_error_move(err, &why);
    return r;
}

static int fill(struct rest_server *rest, const struct kind *kind, const char *ca_pem, yyjson_val *secret,
                yyjson_val *account, struct gw_error *err)
{
    _cleanup_free_ char *annotation = json_path("/metadata/annotations", ACCOUNT_UID_ANNOTATION);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    _cleanup_key_ char *token = NULL;

    if (!json_key_str(secret, "/data", "token")) {
        int r = account_token_for_secret(rest, account, secret, &token, err);

        if (r < 0)
            return r;
        set_data(patch, "token", token);
    }
    set_data(patch, "ca.crt", ca_pem);
    set_data(patch, "namespace", meta_namespace(secret));
    json_set_str(patch, annotation, meta_uid(account));
    json_set_str(patch, "/metadata/resourceVersion", meta_version(secret));
    return send_change(rest, kind, secret, "PATCH", patch, err);
}

int account_secret_ensure(struct rest_server *rest, const char *ca_pem, yyjson_val *secret, struct gw_error *err)
{
    const struct kind *accounts = kinds_find(rest->kinds, "", NULL, "serviceaccounts"),
                      *kind = kinds_find(rest->kinds, "", NULL, "secrets");
    const char *name = meta_annotation(secret, ACCOUNT_NAME_ANNOTATION),
               *uid = meta_annotation(secret, ACCOUNT_UID_ANNOTATION);
    _cleanup_doc_ yyjson_doc *account = NULL;
    bool there;

    if (!streq(json_str_or(secret, "/type", ""), ACCOUNT_SECRET_TYPE) || meta_deleting(secret) || !name || !*name ||
        !accounts || !kind || !rest->token_key)
        return 0;
    there = rest_read(rest, accounts, meta_namespace(secret), name, &account, NULL) == 0;
    if (uid && *uid && !(there && streq(uid, meta_uid(yyjson_doc_get_root(account)))))
        return send_change(rest, kind, secret, "DELETE", NULL, err);
    if (!there || meta_deleting(yyjson_doc_get_root(account)) ||
        is_complete(secret, yyjson_doc_get_root(account), ca_pem))
        return 0;
    return fill(rest, kind, ca_pem, secret, yyjson_doc_get_root(account), err);
}

int account_secrets_ensure(struct rest_server *rest, const char *ca_pem, const char *namespace, struct gw_error *err)
{
    const struct kind *kind = kinds_find(rest->kinds, "", NULL, "secrets");
    _cleanup_free_ char *prefix = kind ? xasprintf("%s%s/", kind->prefix, namespace) : NULL, *after = NULL;
    int64_t remaining = kind ? 1 : 0;
    int r = 0;

    while (remaining > 0 && r >= 0) {
        _cleanup_store_list_ struct store_list list = {0};

        r = store_list(rest->store, &(struct store_list_options){.prefix = prefix, .after_key = after, .limit = PAGE},
                       &list, err);
        for (size_t i = 0; i < list.len && r >= 0; i++) {
            const struct store_item *item = &list.items[i];
            _cleanup_doc_ yyjson_doc *doc = NULL;

            if (object_load("v1", kind->kind, item->revision, item->value->data, item->value->len, &doc, NULL) == 0)
                r = account_secret_ensure(rest, ca_pem, yyjson_doc_get_root(doc), err);
        }
        free(after);
        after = list.len ? xstrdup(list.items[list.len - 1].key) : NULL;
        remaining = list.len ? list.remaining : 0;
    }
    return r;
}

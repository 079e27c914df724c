#include "server/default_roles.h"

#include <errno.h>

#include "api/meta.h"
#include "api/object.h"
#include "base/alloc.h"
#include "rbac/rbac.h"
#include "apiserver/local.h"

#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"
#define ROUNDS 8 /* roles may collect from roles that collect */

/* --- Completing what is there --- */

static void add_missing_keys(yyjson_mut_doc *patch, const char *path, yyjson_val *have, yyjson_val *wanted)
{
    yyjson_val *key, *value, *there = json_at(have, path);

    json_each_member(json_at(wanted, path), key, value) {
        _cleanup_free_ char *at = json_path(path, yyjson_get_str(key));

        if (!yyjson_obj_get(there, yyjson_get_str(key)))
            json_set_str(patch, at, yyjson_get_str(value));
    }
}

/* A list in a merge patch replaces the one that is there, so it goes in whole. */
static void set_list(yyjson_mut_doc *patch, const char *path, yyjson_val *have, yyjson_mut_val *missing)
{
    yyjson_mut_val *list = have ? yyjson_val_mut_copy(patch, have) : yyjson_mut_arr(patch), *item;

    if (yyjson_mut_arr_size(missing) == 0)
        return;
    while ((item = yyjson_mut_arr_remove_first(missing)))
        yyjson_mut_arr_append(list, item);
    json_set(patch, path, list);
}

static void add_missing_subjects(yyjson_mut_doc *patch, yyjson_val *have, yyjson_val *wanted)
{
    yyjson_mut_val *missing = yyjson_mut_arr(patch);
    yyjson_val *list = json_at(have, "/subjects"), *subject, *item;

    json_each(json_at(wanted, "/subjects"), subject) {
        bool found = false;

        json_each(list, item)
            found = found || json_equal(item, subject);
        if (!found)
            yyjson_mut_arr_append(missing, yyjson_val_mut_copy(patch, subject));
    }
    set_list(patch, "/subjects", list, missing);
}

static void add_missing_rules(yyjson_mut_doc *patch, yyjson_val *have, yyjson_val *wanted)
{
    yyjson_mut_val *missing = yyjson_mut_arr(patch);

    rbac_rules_missing(json_at(have, "/rules"), json_at(wanted, "/rules"), patch, missing);
    set_list(patch, "/rules", json_at(have, "/rules"), missing);
}

static int patch_object(struct rest_server *rest, const struct kind *kind, yyjson_val *object, yyjson_mut_doc *patch,
                        struct gw_error *err)
{
    _cleanup_free_ char *target = local_target(kind, meta_namespace(object), meta_name(object), NULL);
    _cleanup_blob_ struct blob *body = json_encode(yyjson_mut_doc_get_root(patch));

    return local_call(rest, "PATCH", target, MERGE_PATCH, body, NULL, err);
}

int default_role_complete(struct rest_server *rest, const struct kind *kind, yyjson_val *wanted, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = rest_read(rest, kind, meta_namespace(wanted), meta_name(wanted), &doc, err);
    yyjson_val *have = yyjson_doc_get_root(doc);
    const char *autoupdate;

    if (r < 0)
        return r;
    autoupdate = meta_annotation(have, AUTOUPDATE);
    if (autoupdate && streq(autoupdate, "false"))
        return 0;
    add_missing_keys(patch, "/metadata/labels", have, wanted);
    add_missing_keys(patch, "/metadata/annotations", have, wanted);
    add_missing_rules(patch, have, wanted);
    add_missing_subjects(patch, have, wanted);
    return yyjson_mut_obj_size(patch->root) ? patch_object(rest, kind, have, patch, err) : 0;
}

/* --- Roles that collect --- */

struct loaded {
    yyjson_doc **docs;
    yyjson_val **roles;
    size_t n;
};

static void loaded_done(struct loaded *l)
{
    for (size_t i = 0; i < l->n; i++)
        yyjson_doc_free(l->docs[i]);
    free(l->docs);
    free(l->roles);
}

/* Sorted by name, as keys are. */
static int load_roles(struct rest_server *rest, const struct kind *kind, struct loaded *ret, struct gw_error *err)
{
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    _cleanup_store_list_ struct store_list list = {0};
    int r = store_list(rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, err);

    if (r < 0)
        return r;
    ret->docs = xnew_n(yyjson_doc *, list.len + 1);
    ret->roles = xnew_n(yyjson_val *, list.len + 1);
    for (size_t i = 0; i < list.len; i++) {
        const struct store_item *item = &list.items[i];

        if (object_load(api_version, kind->kind, item->revision, item->value->data, item->value->len,
                        &ret->docs[ret->n], NULL) < 0)
            continue;
        ret->roles[ret->n] = yyjson_doc_get_root(ret->docs[ret->n]);
        ret->n++;
    }
    return 0;
}

static bool has_rules(yyjson_val *role, yyjson_mut_val *rules)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_val *have = json_at(role, "/rules");

    if (!have)
        return yyjson_mut_arr_size(rules) == 0;
    return yyjson_mut_equals(yyjson_val_mut_copy(d, have), rules);
}

/* 1: the role was changed. */
static int aggregate_one(struct rest_server *rest, const struct kind *kind, yyjson_val *role, const struct loaded *all,
                         struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    yyjson_mut_val *rules = rbac_aggregate(patch, role, all->roles, all->n);
    int r;

    if (!rules || meta_deleting(role) || has_rules(role, rules))
        return 0;
    json_set(patch, "/rules", rules);
    r = patch_object(rest, kind, role, patch, err);
    return r < 0 ? r : 1;
}

static int aggregate_all(struct rest_server *rest, const struct kind *kind, struct gw_error *err)
{
    _cleanup_(loaded_done) struct loaded all = {0};
    int r = load_roles(rest, kind, &all, err), changed = 0;

    for (size_t i = 0; i < all.n && r >= 0; i++) {
        r = aggregate_one(rest, kind, all.roles[i], &all, err);
        changed |= r > 0;
    }
    return r < 0 ? r : changed;
}

int roles_aggregate(struct rest_server *rest, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(rest->kinds, RBAC_GROUP, NULL, "ClusterRole");
    int r = 1;

    for (int round = 0; kind && r > 0 && round < ROUNDS; round++)
        r = aggregate_all(rest, kind, err);
    return r < 0 ? r : 0;
}

/* --- Service accounts --- */

int default_account_ensure(struct rest_server *rest, const char *namespace, struct gw_error *err)
{
    static const char text[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"}}";
    const struct kind *accounts = kinds_find(rest->kinds, "", NULL, "serviceaccounts"),
                      *namespaces = kinds_find(rest->kinds, "", NULL, "namespaces");
    _cleanup_doc_ yyjson_doc *home = NULL, *account = NULL;
    _cleanup_blob_ struct blob *body = blob_text(text);
    _cleanup_free_ char *target = local_target(accounts, namespace, NULL, NULL);
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r;

    if (rest_read(rest, namespaces, NULL, namespace, &home, NULL) < 0 || meta_deleting(yyjson_doc_get_root(home)) ||
        rest_read(rest, accounts, namespace, "default", &account, NULL) == 0)
        return 0;
    r = local_call(rest, "POST", target, JSON_BODY, body, NULL, &why);
    if (r >= 0 || why.reason == GW_ALREADY_EXISTS || why.reason == GW_FORBIDDEN) /* it has begun to end meanwhile */
        return 0;
    gw_error_move(err, &why);
    return r;
}

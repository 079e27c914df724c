#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/patch.h"
#include "apiserver/rest_call.h"

/* --- What update and patch have in common --- */

/* Copies the value at path from old, or removes it where old has none. */
static void keep(yyjson_mut_doc *d, yyjson_val *old, const char *path)
{
    yyjson_val *value = json_at(old, path);

    if (value)
        json_set(d, path, yyjson_val_mut_copy(d, value));
    else
        json_remove(d, path);
}

static void keep_metadata(yyjson_mut_doc *d, yyjson_val *old)
{
    for (const char *const *field = rest_system_fields; *field; field++)
        keep(d, old, *field);
}

/* A subresource changes its own part alone; the object changes all but status, where that is a subresource. Returns a
 * new document or NULL for d itself. */
static yyjson_mut_doc *confine(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old)
{
    const char *part = "/status";
    yyjson_mut_doc *whole;

    if (!c->target.subresource) {
        if (call_kind(c)->has_status)
            keep(d, old, "/status");
        return NULL;
    }
    if (streq(c->target.subresource, "finalize"))
        part = "/spec/finalizers";

    yyjson_mut_val *value = json_mut_at(d, part);

    whole = json_copy(old);
    if (value)
        json_set(whole, part, yyjson_mut_val_mut_copy(whole, value));
    else
        json_remove(whole, part);
    return whole;
}

/* Who waits for an object to go must not be outrun by newcomers. */
static int check_finalizers(yyjson_mut_doc *d, yyjson_val *old, struct gw_error *err)
{
    yyjson_mut_val *list = json_mut_at(d, "/metadata/finalizers"), *item;
    size_t i, max;

    if (!meta_deleting(old) || !yyjson_mut_is_arr(list))
        return 0;
    yyjson_mut_arr_foreach(list, i, max, item) {
        const char *name = yyjson_mut_get_str(item);

        if (!name || meta_has_finalizer(old, name))
            continue;
        gw_error_add_cause(err, CAUSE_FORBIDDEN, "metadata.finalizers",
                           "Forbidden: no new finalizers can be added if the object is being deleted, found new "
                           "finalizers []string{\"%s\"}",
                           name);
    }
    return 0;
}

static bool ends_here(struct rest_call *c, yyjson_val *old, const struct blob *stored)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (!meta_deleting(old) || json_parse(stored->data, stored->len, &doc, NULL) < 0)
        return false;
    return !rest_must_linger(call_kind(c), yyjson_doc_get_root(doc));
}

static int end(struct rest_call *c, const struct rest_object *old, int64_t *revision, struct gw_error *err)
{
    bool is_namespace = !*call_kind(c)->group && streq(call_kind(c)->kind, "Namespace");
    int r = is_namespace ? rest_namespace_is_empty(c, c->target.name, err) : 0;

    return r < 0 ? r : store_change(c->server->store, old->key, NULL, old->revision, &c->facts, revision, err);
}

static int store_changed(struct rest_call *c, const struct rest_object *old, struct blob *stored, struct gw_error *err)
{
    int64_t revision = old->revision;
    int r = 0;

    if (c->dry_run)
        ;
    else if (ends_here(c, yyjson_doc_get_root(old->doc), stored))
        r = end(c, old, &revision, err);
    else
        r = store_change(c->server->store, old->key, stored, old->revision, &c->facts, &revision, err);
    if (r == -ENOENT)
        return rest_not_found(c, err);
    if (r == -ESTALE)
        return rest_conflict(c, err);
    if (r == 0)
        rest_answer_object(c, 200, stored, revision);
    return r;
}

int rest_replace(struct rest_call *c, const struct rest_object *old, yyjson_mut_doc *d, struct gw_error *err)
{
    yyjson_val *before = yyjson_doc_get_root(old->doc);
    _cleanup_mut_doc_ yyjson_mut_doc *confined = NULL;
    _cleanup_blob_ struct blob *stored = NULL;
    int r = check_finalizers(d, before, err);

    if (err && err->n_causes)
        return kind_invalid(call_kind(c), c->target.name, err);
    rest_managed_take(c, d, before);
    confined = confine(c, d, before);
    if (confined)
        d = confined;
    keep_metadata(d, before);
    if (r == 0)
        r = rest_admit(c, d, before, &stored, err);
    if (r < 0)
        return r;
    if (!stored) { /* equal: no write, no event */
        rest_answer_object(c, 200, old->stored, old->revision);
        return 0;
    }
    return store_changed(c, old, stored, err);
}

/* --- Update --- */

static int update_once(struct rest_call *c, bool *ret_demanding, struct gw_error *err)
{
    _cleanup_rest_object_ struct rest_object old = {0};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    int r = rest_body_object(c, &d, err);

    if (r == 0)
        r = rest_load_target(c, &old, err);
    if (r < 0)
        return r;

    const char *version = json_mut_str(d, "/metadata/resourceVersion");

    *ret_demanding = version && *version;
    r = rest_check_preconditions(c, &old, d, !call_kind(c)->builtin, err);
    return r < 0 ? r : rest_replace(c, &old, d, err);
}

/* Runs once until it succeeds, or fails for another reason than a faster writer, or demanded that very version. */
static int retry(struct rest_call *c, int (*once)(struct rest_call *c, bool *ret_demanding, struct gw_error *err),
                 struct gw_error *err)
{
    bool demanding = true;
    int r = rest_write_options(c, err);

    for (int attempt = 1; r == 0; attempt++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

        r = once(c, &demanding, &fault);
        if (r >= 0)
            return 0;
        if (r == -ESTALE && !demanding && attempt < REST_ATTEMPTS)
            r = 0;
        else
            gw_error_move(err, &fault);
    }
    return r;
}

int rest_update(struct rest_call *c, struct gw_error *err)
{
    int r = rest_managed_options(c, false, err);

    return r < 0 ? r : retry(c, update_once, err);
}

/* --- Patch --- */

static int apply_json(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *patch, struct gw_error *err)
{
    return patch_json(d, patch, err);
}

static int apply_merge(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *patch, struct gw_error *err)
{
    return patch_merge(d, patch, err);
}

static int apply_strategic(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *patch, struct gw_error *err)
{
    return patch_strategic(d, call_kind(c)->schema, patch, err);
}

static const struct patch_type {
    const char *media;
    bool builtin_only;
    int (*apply)(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *patch,
                 struct gw_error *err); /* NULL: rest_apply.c */
} patch_types[] = {
    {"application/json-patch+json", false, apply_json},
    {"application/merge-patch+json", false, apply_merge},
    {"application/strategic-merge-patch+json", true, apply_strategic},
    {"application/apply-patch+yaml", false, NULL},
};

static const struct patch_type *find_patch_type(struct rest_call *c, struct gw_error *err)
{
    const char *cursor = c->request->content_type ? c->request->content_type : "";
    _cleanup_str_ struct str accepted = {0};
    struct http_media m;

    if (!http_media_next(&cursor, &m))
        m.type[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(patch_types); i++) {
        if (patch_types[i].builtin_only && !call_kind(c)->builtin)
            continue;
        if (streq(patch_types[i].media, m.type))
            return &patch_types[i];
        str_printf(&accepted, "%s%s", accepted.len ? ", " : "", patch_types[i].media);
    }
    gw_error_set(err, GW_UNSUPPORTED_MEDIA_TYPE,
                 "the body of the request was in an unknown format - accepted media types include: %s",
                 str_text(&accepted));
    return NULL;
}

/* Whether the patch names the version that it is meant for; a JSON patch may set one that is not there any more. */
static bool demands_version(yyjson_val *patch, yyjson_mut_doc *d, yyjson_val *old)
{
    return (yyjson_is_obj(patch) && json_str(patch, "/metadata/resourceVersion")) ||
           !str_same(json_mut_str(d, "/metadata/resourceVersion"), meta_version(old));
}

static int patch_once(struct rest_call *c, bool *ret_demanding, struct gw_error *err)
{
    const struct patch_type *type = find_patch_type(c, err);
    _cleanup_rest_object_ struct rest_object old = {0};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *patch = NULL;
    int r = type ? json_parse(c->request->body, c->request->body_len, &patch, err) : -ENOTSUP;

    if (r == 0)
        r = rest_load_target(c, &old, err);
    if (r < 0)
        return r;
    d = json_copy(yyjson_doc_get_root(old.doc));
    r = type->apply(c, d, yyjson_doc_get_root(patch), err);
    *ret_demanding = demands_version(yyjson_doc_get_root(patch), d, yyjson_doc_get_root(old.doc));
    if (r == 0)
        r = rest_settle_identity(c, d, err);
    if (r == 0)
        r = rest_check_preconditions(c, &old, d, false, err);
    return r < 0 ? r : rest_replace(c, &old, d, err);
}

int rest_patch(struct rest_call *c, struct gw_error *err)
{
    const struct patch_type *type = find_patch_type(c, err);
    int r = type ? rest_managed_options(c, !type->apply, err) : -ENOTSUP;

    return r < 0 ? r : retry(c, type->apply ? patch_once : rest_apply_once, err);
}

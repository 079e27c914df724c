#include "server/crds.h"

#include <errno.h>

#include "api/crd.h"
#include "api/meta.h"
#include "api/object.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "apiserver/local.h"

struct outcome {
    const char *type, *status, *reason, *message;
};

/* What `kubectl wait --for=condition=Established` and people go by. Writes only what changes. */
static void write_conditions(struct rest_server *rest, yyjson_val *crd, const struct outcome *outcomes, size_t n)
{
    const struct kind *kind = kinds_find_kind(rest->kinds, "apiextensions.k8s.io", NULL, "CustomResourceDefinition");
    _cleanup_free_ char *target = local_target(kind, NULL, meta_name(crd), "status");
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_copy(crd);
    _cleanup_blob_ struct blob *body = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool changed = false;

    for (const struct outcome *o = outcomes; o < outcomes + n; o++)
        changed = condition_set(patch, o->type, o->status, o->reason, o->message, clock_wall_ms()) || changed;
    if (!changed)
        return;
    json_set(patch, "/status/acceptedNames", yyjson_val_mut_copy(patch, json_at(crd, "/spec/names")));
    json_remove(patch, "/spec");
    body = json_encode(yyjson_mut_doc_get_root(patch));
    /* A conflict means that it was changed meanwhile: it will come again. */
    if (local_call(rest, "PATCH", target, MERGE_PATCH, body, NULL, &err) < 0 && err.reason != GW_CONFLICT &&
        err.reason != GW_NOT_FOUND)
        log_failure(-EIO, &err, "CustomResourceDefinition %s", meta_name(crd));
}

/* --- Other definitions --- */

typedef int each_fn(struct rest_server *rest, yyjson_val *crd, yyjson_val *other, struct gw_error *err);

/* Calls fn for each definition that is stored, until it returns a negative: that is the answer then. */
static int each_stored(struct rest_server *rest, yyjson_val *crd, each_fn *fn, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(rest->kinds, "apiextensions.k8s.io", NULL, "CustomResourceDefinition");
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    _cleanup_store_list_ struct store_list list = {0};
    int r = store_list(rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, err);

    for (size_t i = 0; i < list.len && r >= 0; i++) {
        const struct store_item *item = &list.items[i];
        _cleanup_doc_ yyjson_doc *doc = NULL;

        r = object_load(api_version, kind->kind, item->revision, item->value->data, item->value->len, &doc, err);
        if (r == 0)
            r = fn(rest, crd, yyjson_doc_get_root(doc), err);
    }
    return r;
}

static int check_against(struct rest_server *rest, yyjson_val *crd, yyjson_val *other, struct gw_error *err)
{
    return condition_true(other, "NamesAccepted") ? crd_check_names(crd, other, err) : 0;
}

/* What had to wait for the names of one that has gone. */
static int take_waiting(struct rest_server *rest, yyjson_val *gone, yyjson_val *other, struct gw_error *err)
{
    if (!condition_true(other, "NamesAccepted") && crd_check_names(other, gone, NULL) < 0)
        crds_take(rest, other);
    return 0;
}

/* --- Coming and going --- */

static void refuse(struct rest_server *rest, yyjson_val *crd, const struct gw_error *err)
{
    const struct outcome refused[] = {
        {"NamesAccepted", "False", err->n_causes && err->causes[0].type ? err->causes[0].type : "NotServed",
         gw_error_message(err)},
        {"Established", "False", "NotAccepted", "not all names are accepted"},
    };

    write_conditions(rest, crd, refused, ARRAY_SIZE(refused));
}

void crds_take(struct rest_server *rest, yyjson_val *crd)
{
    static const struct outcome accepted[] = {
        {"NamesAccepted", "True", "NoConflicts", "no conflicts found"},
        {"Established", "True", "InitialNamesAccepted", "the initial names have been accepted"},
    };
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    /* Who has names keeps them, also after a restart, whoever comes first then. */
    int r = condition_true(crd, "NamesAccepted") ? 0 : each_stored(rest, crd, check_against, &err);

    /* One that is being deleted is served until its objects are gone, also after a restart (controllers/crd.c). */
    if (r < 0 || crd_register(rest->kinds, crd, &err) < 0)
        refuse(rest, crd, &err);
    else
        write_conditions(rest, crd, accepted, ARRAY_SIZE(accepted));
}

static void remove_objects(struct rest_server *rest, const struct kind *kind)
{
    _cleanup_store_list_ struct store_list list = {0};

    if (store_list(rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.len; i++)
        (void)store_delete(rest->store, list.items[i].key, STORE_ANY, NULL, NULL);
}

void crds_drop(struct rest_server *rest, yyjson_val *crd)
{
    const struct kind *kind =
        kinds_find(rest->kinds, json_str_or(crd, "/spec/group", ""), NULL, json_str_or(crd, "/spec/names/plural", ""));

    if (!kind || !kind->origin || !str_starts(kind->origin, meta_uid(crd)))
        return; /* a definition that was never served */
    remove_objects(rest, kind);
    crd_unregister(rest->kinds, crd);
    (void)each_stored(rest, crd, take_waiting, NULL);
}

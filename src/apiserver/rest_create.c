#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/rest_call.h"
#include "base/clock.h"
#include "base/random.h"

/* How often another name is tried when a generated one is taken. */
#define NAME_ATTEMPTS 8

/* A kubelet registers its Node together with the status; every other status is made by those who observe it. */
static bool keeps_status(const struct kind *kind)
{
    return !kind->has_status || (streq(kind->group, "") && streq(kind->kind, "Node"));
}

static int stamp(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    char uid[UUID_TEXT], time[CLOCK_TEXT_MAX];
    const char *version = json_mut_str(d, "/metadata/resourceVersion");

    if (version && *version)
        return gw_error_set(err, GW_BAD_REQUEST, "resourceVersion should not be set on objects to be created");
    for (const char *const *field = rest_system_fields; *field; field++)
        json_remove(d, *field);
    json_set_str(d, "/metadata/uid", random_uuid(uid));
    json_set_str(d, "/metadata/creationTimestamp", clock_format(c->now, time));
    if (!call_kind(c)->builtin)
        json_set_int(d, "/metadata/generation", 1);
    if (!keeps_status(call_kind(c)))
        json_remove(d, "/status");
    return 0;
}

static int already_exists(struct rest_call *c, const char *key, struct gw_error *err)
{
    _cleanup_rest_object_ struct rest_object there = {0};
    bool deleting = rest_load(c, key, &there, NULL) == 0 && meta_deleting(yyjson_doc_get_root(there.doc));

    gw_error_set(err, GW_ALREADY_EXISTS, "%s%s \"%s\" already exists", deleting ? "object is being deleted: " : "",
                 call_kind(c)->resource, c->about.name);
    return -EEXIST;
}

/* The namespace must still be as it was found: one that ends meanwhile gets nothing new. */
static int put(struct rest_call *c, const char *key, struct blob *stored, struct store_facts *facts, int64_t *revision,
               struct gw_error *err)
{
    int r = -ESTALE;

    for (int attempt = 0; r == -ESTALE && attempt < REST_ATTEMPTS; attempt++) {
        gw_error_done(err);
        r = attempt ? rest_namespace_takes(c, facts, err) : 0;
        if (r == 0)
            r = store_change(c->server->store, key, stored, STORE_ABSENT, facts, revision, err);
    }
    return r;
}

int rest_make(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_store_facts_ struct store_facts facts = {0};
    _cleanup_free_ char *key = kind_key(call_kind(c), c->target.namespace, json_mut_str(d, "/metadata/name"));
    _cleanup_blob_ struct blob *stored = NULL;
    int64_t revision = 0;
    int r = rest_namespace_takes(c, &facts, err);

    if (r == 0)
        r = stamp(c, d, err);
    if (r == 0)
        r = rest_admit(c, d, NULL, &stored, err);
    if (r < 0)
        return r;
    if (c->dry_run) {
        _cleanup_rest_object_ struct rest_object there = {0};

        if (rest_load(c, key, &there, NULL) == 0)
            return already_exists(c, key, err);
    } else {
        r = put(c, key, stored, &facts, &revision, err);
    }
    if (r == -EEXIST)
        return already_exists(c, key, err);
    if (r == 0)
        rest_answer_object(c, 201, stored, revision);
    return r;
}

/* *ret_generated: another try would have another name. */
static int create_once(struct rest_call *c, bool *ret_generated, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    const char *base;
    int r = rest_body_object(c, &d, err);

    if (r < 0)
        return r;
    base = json_mut_str(d, "/metadata/generateName");
    *ret_generated = base && *base && str_starts(json_mut_str(d, "/metadata/name"), base);
    rest_managed_set(c, NULL);
    return rest_make(c, d, err);
}

int rest_create(struct rest_call *c, struct gw_error *err)
{
    bool generated = false;
    int r = rest_write_options(c, err);

    if (r == 0)
        r = rest_managed_options(c, false, err);

    for (int attempt = 0; r == 0 && attempt < NAME_ATTEMPTS; attempt++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

        r = create_once(c, &generated, &fault);
        if (r == 0)
            return 0;
        if (r == -EEXIST && generated && attempt + 1 < NAME_ATTEMPTS)
            r = 0;
        else
            gw_error_move(err, &fault);
    }
    return r;
}

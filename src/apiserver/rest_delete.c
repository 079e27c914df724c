/* Deletion. An object goes at once unless somebody must act before: a finalizer holds it (a namespace also by
 * spec.finalizers), or a pod's processes are to end in their grace period. Then it gets a deletionTimestamp, and
 * whoever removes the last reason (rest_update.c, or a delete with gracePeriodSeconds 0) makes it go. propagationPolicy
 * is a finalizer as well, which the garbage collector removes when it is done with the dependents. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/rest_call.h"
#include "base/clock.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"
#define POD_GRACE_S 30 /* when neither the request nor the pod says */

struct delete_options {
    const char *policy; /* NULL: what the object's finalizers say already */
    int64_t grace_s;    /* -1: not said */
    const char *uid;    /* preconditions */
    const char *version;
    yyjson_doc *doc; /* what the texts point into */
};

static void delete_options_done(struct delete_options *o)
{
    yyjson_doc_free(o->doc);
}

#define _cleanup_delete_options_ __attribute__((cleanup(delete_options_done)))

static int read_query(struct rest_call *c, struct delete_options *o, struct gw_error *err)
{
    const char *grace = call_param(c, "gracePeriodSeconds");
    char *end = NULL;

    o->policy = call_param(c, "propagationPolicy");
    if (http_uri_flag(&c->uri, "orphanDependents"))
        o->policy = "Orphan";
    if (grace)
        o->grace_s = strtoll(grace, &end, 10);
    if (grace && (end == grace || *end))
        return gw_error_set(err, GW_BAD_REQUEST, "Invalid value: \"%s\" for gracePeriodSeconds: must be a number",
                            grace);
    return 0;
}

/* The version is no matter: every group has these options. Somebody who sends an object meant another method. */
static int check_body(struct rest_call *c, yyjson_val *body, struct gw_error *err)
{
    const struct kind *kind = kinds_find(c->server->kinds, "", NULL, "deleteoptions");
    const char *said = json_str_or(body, "/kind", "");
    _cleanup_error_ struct gw_error faults = GW_ERROR_INIT;
    int r;

    if (!yyjson_is_obj(body) || (*said && !streq(said, kind->kind)))
        return gw_error_set(err, GW_BAD_REQUEST, "the body of a delete must be a DeleteOptions object, or none%s%s",
                            *said ? ", and no " : "", said);
    schema_validate(kind->schema, body, "", &faults);
    if (!faults.n_causes && yyjson_is_bool(json_at(body, "/orphanDependents")) && json_str(body, "/propagationPolicy"))
        field_invalid(&faults, "propagationPolicy", json_str_or(body, "/propagationPolicy", ""),
                      "orphanDependents and deletionPropagation cannot be both set");
    if (!faults.n_causes)
        return 0;
    r = kind_invalid(kind, "", &faults);
    gw_error_move(err, &faults);
    return r;
}

static int read_body(struct rest_call *c, struct delete_options *o, struct gw_error *err)
{
    int r = rest_body(c->server, c->request, &o->doc, err);
    yyjson_val *v = yyjson_doc_get_root(o->doc), *dry_run = json_at(v, "/dryRun");

    r = r < 0 ? r : check_body(c, v, err);
    if (r < 0)
        return r;
    o->policy = json_str_or(v, "/propagationPolicy", o->policy);
    if (json_bool(v, "/orphanDependents", false))
        o->policy = "Orphan";
    o->grace_s = json_int(v, "/gracePeriodSeconds", o->grace_s);
    o->uid = json_str(v, "/preconditions/uid");
    o->version = json_str(v, "/preconditions/resourceVersion");
    if (yyjson_arr_size(dry_run) > 0 && !yyjson_equals_str(yyjson_arr_get_first(dry_run), "All"))
        return gw_error_set(err, GW_BAD_REQUEST, "dryRun: supported values: \"All\"");
    c->dry_run = c->dry_run || yyjson_arr_size(dry_run) > 0;
    return 0;
}

static int read_options(struct rest_call *c, struct delete_options *o, struct gw_error *err)
{
    int r = rest_write_options(c, err);

    if (r == 0)
        r = read_query(c, o, err);
    if (r == 0 && c->request->body_len > 0)
        r = read_body(c, o, err);
    if (r < 0)
        return r;
    if (o->policy && !streq(o->policy, "Orphan") && !streq(o->policy, "Foreground") && !streq(o->policy, "Background"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "propagationPolicy: Unsupported value: \"%s\": supported values: \"Background\", "
                            "\"Foreground\", \"Orphan\"",
                            o->policy);
    if (o->grace_s < -1)
        return gw_error_set(err, GW_BAD_REQUEST, "gracePeriodSeconds: Invalid value: %lld: must be non-negative",
                            (long long)o->grace_s);
    return 0;
}

static bool is_core(const struct kind *kind, const char *name)
{
    return *kind->group == '\0' && streq(kind->kind, name);
}

/* Only pods have processes to wait for, and only while they are on a node and not over (registry/core/pod strategy). */
static int64_t grace_period(const struct kind *kind, yyjson_val *object, const struct delete_options *o)
{
    int64_t grace = o->grace_s >= 0 ? o->grace_s : json_int(object, "/spec/terminationGracePeriodSeconds", POD_GRACE_S);

    if (!is_core(kind, "Pod") || !*json_str_or(object, "/spec/nodeName", "") || is_final(object))
        return 0;
    /* A later delete can shorten the time, never lengthen it. */
    return meta_deleting(object) ? MIN(grace, json_int(object, "/metadata/deletionGracePeriodSeconds", 0)) : grace;
}

static bool set_finalizer(yyjson_mut_doc *d, const char *name, bool wanted)
{
    return wanted ? meta_add_finalizer(d, name) : meta_remove_finalizer(d, name);
}

static bool set_policy(yyjson_mut_doc *d, const char *policy)
{
    if (!policy)
        return false;

    bool changed = set_finalizer(d, FINALIZER_ORPHAN, streq(policy, "Orphan"));

    return set_finalizer(d, FINALIZER_FOREGROUND, streq(policy, "Foreground")) || changed;
}

/* Turns old into its terminating form. False if nothing is new. */
static bool mark(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old, const struct delete_options *o)
{
    bool changed = set_policy(d, o->policy), first = !meta_deleting(old);
    int64_t grace = grace_period(call_kind(c), old, o);
    char time[CLOCK_TEXT_MAX];

    if (!first && grace >= json_int(old, "/metadata/deletionGracePeriodSeconds", 0))
        return changed;
    json_set_str(d, "/metadata/deletionTimestamp", clock_format(c->now + grace * 1000, time));
    json_set_int(d, "/metadata/deletionGracePeriodSeconds", grace);
    if (first && !call_kind(c)->builtin)
        json_set_int(d, "/metadata/generation", meta_generation(old) + 1);
    if (first && is_core(call_kind(c), "Namespace"))
        json_set_str(d, "/status/phase", "Terminating");
    return true;
}

static int check_options(struct rest_call *c, const struct rest_object *old, const struct delete_options *o,
                         struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *demanded = json_object();

    if (o->uid)
        json_set_str(demanded, "/metadata/uid", o->uid);
    if (o->version)
        json_set_str(demanded, "/metadata/resourceVersion", o->version);
    return rest_check_preconditions(c, old, demanded, false, err);
}

static void answer_gone(struct rest_call *c, yyjson_val *old)
{
    struct api_subject about = c->about;

    about.uid = meta_uid(old);
    api_response_json(c->response, 200, api_status_success(&about));
}

static int delete_loaded(struct rest_call *c, const struct rest_object *old, const struct delete_options *o,
                         struct gw_error *err)
{
    yyjson_val *before = yyjson_doc_get_root(old->doc);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(before);
    bool changed = mark(c, d, before, o);
    _cleanup_doc_ yyjson_doc *after = yyjson_mut_doc_imut_copy(d, NULL);
    bool lingers = rest_must_linger(call_kind(c), yyjson_doc_get_root(after));
    _cleanup_blob_ struct blob *stored = lingers && changed ? object_store(d) : blob_ref(old->stored);
    int64_t revision = old->revision;
    int r = 0;

    if (c->dry_run)
        ;
    else if (!lingers)
        r = store_delete(c->server->store, old->key, old->revision, &revision, err);
    else if (changed)
        r = store_put(c->server->store, old->key, stored, old->revision, &revision, err);
    if (r == -ENOENT)
        return rest_not_found(c, err);
    if (r < 0)
        return r == -ESTALE ? rest_conflict(c, err) : r;
    if (lingers)
        rest_answer_object(c, 200, stored, revision);
    else
        answer_gone(c, before);
    return 0;
}

static int delete_once(struct rest_call *c, const struct delete_options *o, struct gw_error *err)
{
    _cleanup_rest_object_ struct rest_object old = {0};
    int r = rest_load_target(c, &old, err);

    if (r == 0)
        r = check_options(c, &old, o, err);
    if (r < 0)
        return r == -ESTALE ? -ECANCELED : r; /* the client's own condition: no use in trying again */
    r = rest_admit_delete(c, yyjson_doc_get_root(old.doc), err);
    return r < 0 ? r : delete_loaded(c, &old, o, err);
}

static int delete_target(struct rest_call *c, const struct delete_options *o, struct gw_error *err)
{
    int r = -ESTALE;

    for (int attempt = 0; r == -ESTALE && attempt < REST_ATTEMPTS; attempt++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

        r = delete_once(c, o, &fault);
        if (r < 0)
            gw_error_move(err, &fault);
    }
    return r;
}

int rest_delete(struct rest_call *c, struct gw_error *err)
{
    _cleanup_delete_options_ struct delete_options o = {.grace_s = -1};
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    int r = read_options(c, &o, &fault);

    if (r == 0)
        r = delete_target(c, &o, &fault);
    if (r < 0)
        gw_error_move(err, &fault);
    return r;
}

/* --- Collections --- */

VEC_DEFINE(key_vec, char *);

static int note_key(void *data, const struct store_item *item, struct gw_error *err)
{
    key_vec_push(data, xstrdup(item->key));
    return 1;
}

/* The target becomes the object at key for the time of its deletion. What is gone meanwhile is no failure. */
static int delete_key(struct rest_call *c, const char *key, const struct delete_options *o, struct gw_error *err)
{
    _cleanup_free_ char *copy = xstrdup(key + strlen(call_kind(c)->prefix));
    char *slash = strchr(copy, '/');
    struct rest_target before = c->target;
    struct api_response list = *c->response, one = {0};

    if (slash) {
        *slash = '\0';
        c->target.namespace = copy;
    }
    c->target.name = slash ? slash + 1 : copy;
    rest_about(c, c->target.name);
    *c->response = one;

    int r = delete_target(c, o, err);

    api_response_done(c->response);
    *c->response = list;
    c->target = before;
    return r == -ENOENT ? 0 : r;
}

/* Answers with the list as it was before. */
int rest_delete_collection(struct rest_call *c, struct gw_error *err)
{
    _cleanup_delete_options_ struct delete_options o = {.grace_s = -1};
    _cleanup_selection_ struct selection selection = {0};
    struct key_vec keys = {0};
    int64_t revision = 0;
    int r = read_options(c, &o, err);

    if (r == 0)
        r = rest_select(c, &selection, err);
    if (r == 0)
        r = rest_each(c, &selection, NULL, 0, &revision, note_key, &keys, NULL, err);
    if (r == 0)
        r = rest_list(c, err);
    for (size_t i = 0; i < keys.len && r == 0; i++)
        r = delete_key(c, keys.items[i], &o, err);
    VEC_EACH(&keys, key)
        free(*key);
    key_vec_done(&keys);
    return r;
}

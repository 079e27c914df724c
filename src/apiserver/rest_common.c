#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/rest_call.h"

const char *const rest_system_fields[] = {
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/deletionTimestamp",
    "/metadata/deletionGracePeriodSeconds",
    "/metadata/generation",
    "/metadata/resourceVersion",
    "/metadata/managedFields",
    NULL,
};

void rest_object_done(struct rest_object *o)
{
    free(o->key);
    blob_unref(o->stored);
    yyjson_doc_free(o->doc);
    *o = (struct rest_object){0};
}

int rest_not_found(struct rest_call *c, struct gw_error *err)
{
    gw_error_set(err, GW_NOT_FOUND, "%s \"%s\" not found", call_kind(c)->resource, c->about.name ? c->about.name : "");
    return -ENOENT;
}

int rest_conflict(struct rest_call *c, struct gw_error *err)
{
    gw_error_set(
        err, GW_CONFLICT,
        "Operation cannot be fulfilled on %s \"%s\": the object has been modified; please apply your changes to the "
        "latest version and try again",
        call_kind(c)->resource, c->about.name ? c->about.name : "");
    return -ESTALE;
}

void rest_about(struct rest_call *c, const char *name)
{
    free(c->about_name);
    c->about_name = xstrdup(name);
    c->about.name = c->about_name;
}

int rest_load(struct rest_call *c, const char *key, struct rest_object *ret, struct gw_error *err)
{
    _cleanup_store_item_ struct store_item item = {0};
    _cleanup_free_ char *api_version = kind_api_version(call_kind(c), c->target.version);
    yyjson_doc *doc;
    int r = store_get(c->server->store, key, 0, &item, err);

    if (r == -ENOENT)
        return rest_not_found(c, err);
    if (r == 0)
        r = object_load(api_version, call_kind(c)->kind, item.revision, item.value->data, item.value->len, &doc, err);
    if (r < 0)
        return r;
    *ret = (struct rest_object){
        .key = TAKE_PTR(item.key),
        .revision = item.revision,
        .stored = TAKE_PTR(item.value),
        .doc = doc,
    };
    return 0;
}

int rest_load_target(struct rest_call *c, struct rest_object *ret, struct gw_error *err)
{
    _cleanup_free_ char *key = kind_key(call_kind(c), c->target.namespace, c->target.name);

    return rest_load(c, key, ret, err);
}

void rest_answer_object(struct rest_call *c, int status, struct blob *stored, int64_t revision)
{
    struct output_kind k = call_output(c);

    c->response->status = status;
    c->response->content_type = "application/json";
    output_object(&c->response->body, &k, &c->form, stored, revision);
}

int rest_authorize(struct rest_call *c, yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    struct rest_server *s = c->server;

    store_facts_clear(&c->facts);
    c->target.facts = &c->facts;
    return s->authorize ? s->authorize(s->data, &c->request->user, &c->target, old, object, err) : 0;
}

int rest_parse_version(const char *text, int64_t *ret, struct gw_error *err)
{
    char *end;

    *ret = 0;
    if (!text || !*text)
        return 0;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    if (*end || errno || *ret < 0 || *text < '0' || *text > '9') {
        gw_error_add_cause(err, CAUSE_INVALID, "resourceVersion", "Invalid value: \"%s\": must be a number", text);
        return gw_error_set(err, GW_BAD_REQUEST, "Invalid value: \"%s\": resourceVersion must be a number", text);
    }
    return 0;
}

static int parse_validation(struct rest_call *c, struct gw_error *err)
{
    static const char *const names[] = {
        [VALIDATION_WARN] = "Warn", [VALIDATION_STRICT] = "Strict", [VALIDATION_IGNORE] = "Ignore"};
    const char *text = call_param(c, "fieldValidation");

    if (!text || !*text)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (streq(names[i], text)) {
            c->validation = (enum field_validation)i;
            return 0;
        }
    return gw_error_set(
        err, GW_BAD_REQUEST,
        "fieldValidation: Unsupported value: \"%s\": supported values: \"Ignore\", \"Strict\", \"Warn\"", text);
}

int rest_write_options(struct rest_call *c, struct gw_error *err)
{
    const char *dry_run = call_param(c, "dryRun");

    if (dry_run && !streq(dry_run, "All"))
        return gw_error_set(err, GW_BAD_REQUEST, "dryRun: Unsupported value: \"%s\": supported values: \"All\"",
                            dry_run);
    c->dry_run = dry_run != NULL;
    return parse_validation(c, err);
}

static int version_required(struct rest_call *c, struct gw_error *err)
{
    c->about.kind = NULL; /* this refusal alone names the plural, as does its message */
    gw_error_add_cause(err, CAUSE_INVALID, "metadata.resourceVersion",
                       "Invalid value: 0: must be specified for an update");
    return gw_error_set(
        err, GW_INVALID,
        "%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
        call_kind(c)->resource, c->target.name);
}

int rest_check_preconditions(struct rest_call *c, const struct rest_object *old, yyjson_mut_doc *d, bool required,
                             struct gw_error *err)
{
    const char *version = json_mut_str(d, "/metadata/resourceVersion"), *uid = json_mut_str(d, "/metadata/uid");
    const char *present = meta_uid(yyjson_doc_get_root(old->doc));
    int64_t demanded;
    int r = rest_parse_version(version, &demanded, err);

    if (r < 0)
        return r;
    if (demanded == 0 && required)
        return version_required(c, err);
    if (uid && *uid && !streq(uid, present)) {
        gw_error_set(err, GW_CONFLICT,
                     "Operation cannot be fulfilled on %s \"%s\": Precondition failed: UID in precondition: %s, UID in "
                     "object meta: %s",
                     call_kind(c)->resource, c->target.name, uid, present);
        return -ESTALE;
    }
    return demanded && demanded != old->revision ? rest_conflict(c, err) : 0;
}

bool rest_must_linger(const struct kind *kind, yyjson_val *object)
{
    if (yyjson_arr_size(json_at(object, "/metadata/finalizers")) > 0)
        return true;
    if (!*kind->group && streq(kind->kind, "Namespace") && yyjson_arr_size(json_at(object, "/spec/finalizers")) > 0)
        return true;
    return json_int(object, "/metadata/deletionGracePeriodSeconds", 0) > 0;
}

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/protobuf.h"
#include "api/yaml.h"
#include "apiserver/rest_call.h"

#define TYPES_ACCEPTED "application/json, application/yaml, application/vnd.kubernetes.protobuf"

enum body_encoding { BODY_JSON, BODY_YAML, BODY_PROTOBUF, BODY_UNKNOWN };

static enum body_encoding body_encoding(const struct api_request *r)
{
    const char *cursor = r->content_type;
    struct http_media m;

    if (!cursor || !*cursor || !http_media_next(&cursor, &m) || streq(m.type, "application/json"))
        return BODY_JSON;
    if (streq(m.type, "application/yaml"))
        return BODY_YAML;
    return streq(m.type, "application/vnd.kubernetes.protobuf") ? BODY_PROTOBUF : BODY_UNKNOWN;
}

/* The fault comes first in Kubernetes' message, and the beginning of what was sent behind it. */
static int unrecognized(struct rest_call *c, const struct gw_error *fault, struct gw_error *err)
{
    const struct api_request *q = c->request;

    return gw_error_set(err, GW_BAD_REQUEST,
                        "the object provided is unrecognized (must be of type %s): couldn't get version/kind; json "
                        "parse error: %s (%.*s)",
                        call_kind(c)->kind, gw_error_message(fault), q->body_len ? (int)MIN(q->body_len, 64) : 7,
                        q->body_len ? (const char *)q->body : "<empty>");
}

static int read_protobuf(struct rest_server *s, const struct api_request *q, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    int r = protobuf_decode(s->kinds, q->body, q->body_len, &d, err);

    if (r == 0)
        *ret = yyjson_mut_doc_imut_copy(d, NULL);
    return r;
}

int rest_body(struct rest_server *s, const struct api_request *q, yyjson_doc **ret, struct gw_error *err)
{
    switch (body_encoding(q)) {
    case BODY_PROTOBUF:
        return read_protobuf(s, q, ret, err);
    case BODY_YAML:
        return yaml_parse(q->body, q->body_len, ret, err);
    case BODY_JSON:
        return json_parse(q->body, q->body_len, ret, err);
    default:
        return gw_error_set(err, GW_UNSUPPORTED_MEDIA_TYPE,
                            "the body of the request was in an unknown format - accepted media types include: %s",
                            TYPES_ACCEPTED);
    }
}

static int parse_object(struct rest_call *c, yyjson_mut_doc **ret, struct gw_error *err)
{
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (body_encoding(c->request) == BODY_PROTOBUF)
        return protobuf_decode(c->server->kinds, c->request->body, c->request->body_len, ret, err);

    int r = rest_body(c->server, c->request, &doc, &fault);

    if (r < 0 && fault.reason == GW_UNSUPPORTED_MEDIA_TYPE) {
        gw_error_move(err, &fault);
        return r;
    }
    if (r == 0 && !yyjson_is_obj(yyjson_doc_get_root(doc)))
        r = gw_error_set(&fault, GW_BAD_REQUEST, "the body is not an object");
    if (r < 0)
        return unrecognized(c, &fault, err);
    *ret = json_copy(yyjson_doc_get_root(doc));
    return 0;
}

static int check_type(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_free_ char *expected = kind_api_version(call_kind(c), c->target.version);
    const char *version = json_mut_str(d, "/apiVersion"), *kind = json_mut_str(d, "/kind");

    if (kind && *kind && !streq(kind, call_kind(c)->kind))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "the object provided is unrecognized (must be of type %s): it is of kind \"%s\"",
                            call_kind(c)->kind, kind);
    if (version && *version && !streq(version, expected))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "the API version in the data (%s) does not match the expected API version (%s)", version,
                            expected);
    json_set_str(d, "/apiVersion", expected);
    json_set_str(d, "/kind", call_kind(c)->kind);
    return 0;
}

static int settle_namespace(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    const char *namespace = json_mut_str(d, "/metadata/namespace"), *wanted = c->target.namespace;

    if (namespace && *namespace && (!wanted || !streq(namespace, wanted)))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "the namespace of the provided object does not match the namespace sent on the request");
    if (wanted)
        json_set_str(d, "/metadata/namespace", wanted);
    else
        json_remove(d, "/metadata/namespace");
    return 0;
}

/* On a create the path has no name: metadata.name, else one made from generateName. */
static int settle_name(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    const char *name = json_mut_str(d, "/metadata/name"), *base = json_mut_str(d, "/metadata/generateName");

    if (c->target.name) {
        if (name && *name && !streq(name, c->target.name))
            return gw_error_set(err, GW_BAD_REQUEST,
                                "the name of the object (%s) does not match the name on the URL (%s)", name,
                                c->target.name);
        json_set_str(d, "/metadata/name", c->target.name);
        return 0;
    }
    if (name && *name) {
        rest_about(c, name);
        return 0;
    }
    if (!base || !*base) {
        gw_error_add_cause(err, CAUSE_REQUIRED, "metadata.name", "Required value: name or generateName is required");
        return kind_invalid(call_kind(c), "", err);
    }
    _cleanup_free_ char *made = name_generate(base);

    json_set_str(d, "/metadata/name", made);
    rest_about(c, made);
    return 0;
}

int rest_settle_identity(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    yyjson_mut_val *metadata = json_mut_at(d, "/metadata");
    int r = check_type(c, d, err);

    if (r == 0 && metadata && !yyjson_mut_is_obj(metadata))
        r = gw_error_set(err, GW_BAD_REQUEST, "metadata must be an object");
    if (r == 0 && !metadata)
        json_set(d, "/metadata", yyjson_mut_obj(d));
    if (r == 0)
        r = settle_namespace(c, d, err);
    return r < 0 ? r : settle_name(c, d, err);
}

int rest_decode(struct rest_server *s, const struct api_request *q, const struct kind *kind, yyjson_mut_doc **ret,
                struct gw_error *err)
{
    struct rest_call c = {.server = s, .request = q, .target = {.kind = kind, .version = kind_storage_version(kind)}};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_doc_ yyjson_doc *object = NULL;
    _cleanup_error_ struct gw_error faults = GW_ERROR_INIT;
    int r = parse_object(&c, &d, err);

    r = r < 0 ? r : check_type(&c, d, err);
    if (r < 0)
        return r;
    schema_prune(kind->schema, d, yyjson_mut_doc_get_root(d), NULL);
    schema_default(kind->schema, d, yyjson_mut_doc_get_root(d));
    object = yyjson_mut_doc_imut_copy(d, NULL);
    schema_validate(kind->schema, yyjson_doc_get_root(object), "", &faults);
    if (faults.n_causes) {
        r = kind_invalid(kind, "", &faults);
        gw_error_move(err, &faults);
        return r;
    }
    *ret = TAKE_PTR(d);
    return 0;
}

int rest_body_object(struct rest_call *c, yyjson_mut_doc **ret, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    int r = parse_object(c, &d, err);

    if (r == 0)
        r = rest_settle_identity(c, d, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(d);
    return 0;
}

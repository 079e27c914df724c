#include "rest-fixture.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static const char vm_kind[] =
    "group: kubevirt.io\nkind: TestMachine\nplural: virtualmachines\nsingular: virtualmachine\nscope: Namespaced\n"
    "versions: [{name: v1, storage: true}, {name: v1alpha3, deprecated: 'use v1'}]\nsubresources: [status]\n"
    "columns:\n  - {name: Age, type: date, path: .metadata.creationTimestamp}\n"
    "  - {name: Status, type: string, path: .status.printableStatus}\n"
    "selectableFields: [spec.runStrategy]\n"
    "schema:\n  properties:\n"
    "    spec: {type: object, properties: {runStrategy: {type: string, enum: [Always, Halted, Manual], default: "
    "Halted},"
    " cores: {type: integer, default: 1, minimum: 1}}}\n"
    "    status: {type: object, properties: {printableStatus: {type: string}, ready: {type: boolean}}}\n";

static const char pod_kind[] =
    "group: ''\nkind: Pod\nplural: pods\nsingular: pod\nscope: Namespaced\nbuiltin: true\n"
    "versions: [{name: v1, storage: true}]\nsubresources: [status]\n"
    "schema:\n  properties:\n"
    "    spec: {type: object, properties: {nodeName: {type: string}, terminationGracePeriodSeconds: {type: integer}}}\n"
    "    status: {type: object, properties: {phase: {type: string}}}\n";

static const char options_kind[] =
    "group: ''\nkind: DeleteOptions\nplural: deleteoptions\nsingular: deleteoptions\nscope: Cluster\nverbs: ''\n"
    "versions: [{name: v1, storage: true}]\nschema:\n  properties:\n    gracePeriodSeconds: {type: integer}\n"
    "    propagationPolicy: {type: string}\n    orphanDependents: {type: boolean}\n";

static const char namespace_kind[] =
    "group: ''\nkind: Namespace\nplural: namespaces\nsingular: namespace\nscope: Cluster\nbuiltin: true\n"
    "versions: [{name: v1, storage: true}]\nsubresources: [status]\nnameRule: dns-label\n"
    "schema:\n  properties:\n"
    "    spec: {type: object, properties: {finalizers: {type: array, items: {type: string}},"
    " parts: {type: array, x-kubernetes-patch-merge-key: name, x-kubernetes-patch-strategy: merge,"
    " items: {type: object, properties: {name: {type: string}, size: {type: integer}}}}}}\n"
    "    status: {type: object, properties: {phase: {type: string}}}\n";

static int64_t fixture_now(void *data)
{
    return ((struct fixture *)data)->now;
}

static int fixture_authorize(void *data, const struct api_user *user, const struct rest_target *t, yyjson_val *old,
                             yyjson_val *object, struct gw_error *err)
{
    struct fixture *f = data;
    bool late = old || object;
    void (*meanwhile)(struct fixture *) = object ? f->meanwhile : NULL;

    if (meanwhile) {
        f->meanwhile = NULL;
        meanwhile(f);
    }
    if (!f->refused_verb || !streq(f->refused_verb, t->verb) || late != f->refuse_late)
        return 0;
    return rest_forbid(user, t, NULL, err);
}

static void add_kind(struct fixture *f, const char *text)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (kinds_add_yaml(f->server.kinds, "test", text, strlen(text), &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

int fixture_set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    f->now = 1795219192000; /* 2026-11-20T23:59:52Z */
    f->server.now = fixture_now;
    f->server.authorize = fixture_authorize;
    f->server.data = f;
    f->server.kinds = kinds_new_empty();
    add_kind(f, vm_kind);
    add_kind(f, pod_kind);
    add_kind(f, namespace_kind);
    add_kind(f, options_kind);
    assert_int_equal(store_open_sqlite(":memory:", &f->server.store, NULL), 0);
    assert_int_equal(watch_hub_new(f->server.store, f->server.kinds, &f->server.hub, NULL), 0);
    expect(f, 201, "POST", "/api/v1/namespaces",
           "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"demo\"}}");
    *state = f;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    watch_hub_free(f->server.hub);
    store_close(f->server.store);
    kinds_free(f->server.kinds);
    free(f);
    return 0;
}

struct reply fixture_ask(struct fixture *f, const char *const a[ASK_MAX])
{
    static const char *const groups[] = {"system:authenticated", "system:godwit:controllers"}; /* these may make pods */
    struct api_request q = {
        .method = a[ASK_METHOD],
        .target = a[ASK_TARGET],
        .accept = a[ASK_ACCEPT],
        .content_type = a[ASK_TYPE],
        .body = a[ASK_BODY] ? a[ASK_BODY] : "",
        .body_len = a[ASK_BODY] ? strlen(a[ASK_BODY]) : 0,
        .user = {.name = "viewer", .groups = groups, .n_groups = f->outsider ? 1 : 2},
    };
    struct reply r = {0};

    rest_handle(&f->server, &q, &r.response);

    _cleanup_blob_ struct blob *body = api_parts_join(&r.response.body);

    r.status = r.response.status;
    r.text = xstrdup(body->data);
    (void)json_parse(body->data, body->len, &r.doc, NULL);
    return r;
}

void reply_done(struct reply *r)
{
    free(r->text);
    yyjson_doc_free(r->doc);
    api_response_done(&r->response);
    *r = (struct reply){0};
}

const char *reply_str(const struct reply *r, const char *path)
{
    return json_str_or(yyjson_doc_get_root(r->doc), path, "");
}

int64_t reply_int(const struct reply *r, const char *path)
{
    return json_int(yyjson_doc_get_root(r->doc), path, -1);
}

const char *reply_header(const struct reply *r, const char *name, size_t n)
{
    VEC_EACH (&r->response.headers, h)
        if (streq(h->name, name) && n-- == 0)
            return h->value;
    return NULL;
}

void assert_recorded(const struct reply *r, const char *status_json)
{
    _cleanup_doc_ yyjson_doc *wanted = NULL;

    assert_int_equal(json_parse(status_json, strlen(status_json), &wanted, NULL), 0);
    if (!r->doc || !json_equal(yyjson_doc_get_root(r->doc), yyjson_doc_get_root(wanted)))
        fail_msg("got %s\ninstead of %s", r->text, status_json);
    assert_int_equal(r->status, json_int(yyjson_doc_get_root(wanted), "/code", 200));
}

void fixture_expect(struct fixture *f, int status, const char *const a[ASK_MAX])
{
    _cleanup_reply_ struct reply r = fixture_ask(f, a);

    if (r.status != status)
        fail_msg("%s %s: %d instead of %d: %s", a[ASK_METHOD], a[ASK_TARGET], r.status, status, r.text);
}

char *vm_json(const char *name, const char *labels, const char *strategy)
{
    return xasprintf(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"%s\",\"labels\":%s},"
        "\"spec\":{\"runStrategy\":\"%s\"}}",
        name, labels, strategy);
}

void make_vm(struct fixture *f, const char *name)
{
    _cleanup_free_ char *body = vm_json(name, "{\"app\":\"demo\"}", "Halted");

    expect(f, 201, "POST", VMS, body);
}

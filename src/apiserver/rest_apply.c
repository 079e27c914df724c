/* Server-side apply: PATCH with application/apply-patch+yaml. The body is what one manager wants of the object; what it
 * wanted last time and does not name any more goes, unless somebody else owns it. See "Server-Side Apply" in the
 * documentation of Kubernetes. */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/patch.h"
#include "api/yaml.h"
#include "apiserver/rest_call.h"

/* kubectl's way over from applies on the client's side: what they left is in an annotation, and kubectl, as a manager
 * of that name, may change it without a conflict, and keeps the annotation up to date for those who go back. */
#define KUBECTL "kubectl"
#define LAST_APPLIED "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"

struct apply {
    struct rest_call *c;
    struct managed_writer writer;
    yyjson_doc *wanted;    /* the configuration */
    yyjson_mut_val *named; /* its fields; this and all sets are in c->managed */
    bool force;
};

static void apply_done(struct apply *a)
{
    yyjson_doc_free(a->wanted);
}

/* JSON is YAML too, but read much faster as what it is. */
static int read_body(struct rest_call *c, yyjson_doc **ret, struct gw_error *err)
{
    const struct api_request *q = c->request;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_parse(q->body, q->body_len, &doc, NULL);

    if (r < 0)
        r = yaml_parse(q->body, q->body_len, &doc, err);
    if (r == 0 && !yyjson_is_obj(yyjson_doc_get_root(doc)))
        r = gw_error_set(err, GW_BAD_REQUEST, "the body of an apply must be one object");
    if (r == 0 && yyjson_arr_size(json_at(yyjson_doc_get_root(doc), "/metadata/managedFields")))
        r = gw_error_set(err, GW_BAD_REQUEST, "metadata.managedFields must be nil");
    if (r == 0)
        *ret = TAKE_PTR(doc);
    return r;
}

/* A write through a subresource names its part alone, one of the object all others. */
static void confine(struct rest_call *c, yyjson_mut_doc *d)
{
    static const char *const others[] = {"/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers",
                                         "/metadata/ownerReferences"};

    if (call_kind(c)->has_status && !c->target.subresource)
        json_remove(d, "/status");
    for (size_t i = 0; c->target.subresource && i < ARRAY_SIZE(others); i++)
        json_remove(d, others[i]);
}

static int read_configuration(struct apply *a, struct gw_error *err)
{
    struct rest_call *c = a->c;
    _cleanup_doc_ yyjson_doc *body = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    int r = read_body(c, &body, err);

    if (r < 0)
        return r;
    d = json_copy(yyjson_doc_get_root(body));
    r = rest_settle_identity(c, d, err);
    if (r == 0)
        r = rest_prune(c, d, err);
    if (r < 0)
        return r;
    confine(c, d);
    a->wanted = yyjson_mut_doc_imut_copy(d, NULL);
    return 0;
}

static yyjson_mut_val *fields_of(struct apply *a, yyjson_val *object)
{
    yyjson_mut_val *set = field_set_of(call_kind(a->c)->schema, object, a->c->managed);

    managed_forget(set);
    return set;
}

static void start_tracking(struct apply *a, yyjson_val *old)
{
    struct rest_call *c = a->c;
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    yyjson_mut_doc_set_root(d, managed_read(d, json_at(old, "/metadata/managedFields")));
    if (old && yyjson_mut_arr_size(d->root) == 0)
        managed_begin(d, d->root, call_kind(c)->schema, old, a->writer.api_version, a->writer.time);
    rest_managed_set(c, d);
    c->applied = true;
    a->named = fields_of(a, yyjson_doc_get_root(a->wanted));
}

/* --- An object that is there --- */

/* The fields that kubectl applied from its side and nobody changed since. */
static yyjson_mut_val *left_by_kubectl(struct apply *a, yyjson_val *old)
{
    const char *text = json_str(old, LAST_APPLIED);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    struct field_changes since;
    yyjson_mut_val *set;

    if (!text || !streq(a->writer.manager, KUBECTL) || json_parse(text, strlen(text), &doc, NULL) < 0)
        return NULL;
    since = field_set_compare(call_kind(a->c)->schema, yyjson_doc_get_root(doc), old, a->c->managed);
    set = fields_of(a, yyjson_doc_get_root(doc));
    field_set_remove(set, since.set);
    return set;
}

static void keep_last_applied(struct apply *a, yyjson_mut_doc *d)
{
    _cleanup_mut_doc_ yyjson_mut_doc *wanted = NULL;
    _cleanup_free_ char *text = NULL, *line = NULL;

    if (!streq(a->writer.manager, KUBECTL) || !json_mut_str(d, LAST_APPLIED))
        return;
    wanted = json_copy(yyjson_doc_get_root(a->wanted));
    json_remove(wanted, LAST_APPLIED);
    text = json_text(yyjson_mut_doc_get_root(wanted));
    line = xasprintf("%s\n", text); /* as kubectl writes it */
    json_set_str(d, LAST_APPLIED, line);
}

/* Settles who owns what between the old object and the merged one. */
static int settle_owners(struct apply *a, yyjson_val *old, yyjson_mut_doc *d, struct gw_error *err)
{
    yyjson_mut_doc *sets = a->c->managed;
    _cleanup_doc_ yyjson_doc *merged = yyjson_mut_doc_imut_copy(d, NULL);
    struct field_changes changes = field_set_compare(call_kind(a->c)->schema, old, yyjson_doc_get_root(merged), sets);
    yyjson_mut_val *left = left_by_kubectl(a, old);
    int r;

    managed_forget(changes.set);
    managed_forget(changes.removed);
    if (left) { /* what is left of the conflicts without these fields decides; all goes over to kubectl then */
        struct field_changes rest = {yyjson_mut_val_mut_copy(sets, changes.set), yyjson_mut_obj(sets)};
        _cleanup_mut_doc_ yyjson_mut_doc *trial = yyjson_mut_doc_mut_copy(sets, NULL);

        field_set_remove(rest.set, left);
        r = a->force ? 0 : managed_apply(trial, trial->root, &a->writer, yyjson_mut_obj(trial), &rest, false, err);
        if (r < 0)
            return r;
        a->force = true;
    }
    return managed_apply(sets, sets->root, &a->writer, a->named, &changes, a->force, err);
}

static int change(struct apply *a, const struct rest_object *old, struct gw_error *err)
{
    struct rest_call *c = a->c;
    yyjson_val *before = yyjson_doc_get_root(old->doc);
    _cleanup_mut_doc_ yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *entries, *root = NULL;
    int r;

    start_tracking(a, before);
    entries = c->managed->root;
    r = patch_apply(d, call_kind(c)->schema, before, yyjson_doc_get_root(a->wanted),
                    managed_applied(entries, &a->writer), managed_by_others(c->managed, entries, &a->writer), &root,
                    err);
    if (r < 0)
        return r;
    yyjson_mut_doc_set_root(d, root);
    r = rest_check_preconditions(c, old, d, false, err);
    if (r < 0)
        return r;
    r = settle_owners(a, before, d, err);
    if (r < 0) {
        c->about = (struct api_subject){0}; /* its causes say it all */
        return -EEXIST;                     /* another try would end alike */
    }
    keep_last_applied(a, d);
    return rest_replace(c, old, d, err);
}

/* --- An object that is not there yet --- */

static int create(struct apply *a, struct gw_error *err)
{
    struct rest_call *c = a->c;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(a->wanted));
    const char *uid = meta_uid(yyjson_doc_get_root(a->wanted));
    struct field_changes all = {0};
    int r;

    if (*uid) /* one that was meant, and has gone: it shall not come back under another identity */
        return gw_error_set(
            err, GW_CONFLICT,
            "Operation cannot be fulfilled on %s \"%s\": uid mismatch: the provided object specified uid "
            "%s, and no existing object was found",
            call_kind(c)->resource, c->target.name, uid);
    c->target.verb = "create"; /* to all who judge it */
    r = rest_authorize(c, NULL, NULL, err);
    if (r < 0)
        return r;
    start_tracking(a, NULL);
    all.set = a->named;
    all.removed = yyjson_mut_obj(c->managed);
    (void)managed_apply(c->managed, c->managed->root, &a->writer, a->named, &all, true, NULL);
    r = rest_make(c, d, err);
    if (r == -EEXIST) /* somebody was faster: it is an object that is there now */
        r = -ESTALE;
    c->target.verb = "patch";
    return r;
}

int rest_apply_once(struct rest_call *c, bool *ret_demanding, struct gw_error *err)
{
    __attribute__((cleanup(apply_done))) struct apply a = {.c = c, .force = http_uri_flag(&c->uri, "force")};
    _cleanup_rest_object_ struct rest_object old = {0};
    const char *version;
    int r = rest_managed_options(c, true, err);

    if (r == 0)
        r = read_configuration(&a, err);
    if (r < 0)
        return r;
    a.writer = rest_managed_writer(c);
    version = json_str(yyjson_doc_get_root(a.wanted), "/metadata/resourceVersion");
    *ret_demanding = version && *version;
    r = rest_load_target(c, &old, err);
    if (r == -ENOENT && !c->target.subresource) {
        gw_error_done(err);
        return create(&a, err);
    }
    return r < 0 ? r : change(&a, &old, err);
}

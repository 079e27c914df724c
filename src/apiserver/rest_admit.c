/* What every object passes before it is written; and how the rules of its kind reach other objects. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "apiserver/rest_call.h"

/* Objects per read of the store while rules go through all of them. */
#define PAGE 200

void rest_warn(struct rest_call *c, const char *text)
{
    _cleanup_str_ struct str quoted = {0};

    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            str_putc(&quoted, '\\');
        str_putc(&quoted, *p == '\n' || *p == '\r' ? ' ' : *p);
    }
    _cleanup_free_ char *value = xasprintf("299 - \"%s\"", str_text(&quoted)); /* RFC 7234 section 5.5 */

    VEC_EACH(&c->response->headers, h)
        if (streq(h->name, "Warning") && streq(h->value, value)) /* said before the write was tried anew */
            return;
    api_response_header(c->response, "Warning", "%s", value);
}

static struct rest_call *call_of(struct rule_ctx *ctx)
{
    return ctx->data;
}

static yyjson_val *lookup(struct rule_ctx *ctx, const char *group, const char *kind_name, const char *namespace,
                          const char *name)
{
    struct rest_call *c = call_of(ctx);
    const struct kind *kind = kinds_find_kind(c->server->kinds, group, NULL, kind_name);
    yyjson_doc *doc = NULL;

    if (!kind || rest_read(c->server, kind, namespace, name, &doc, NULL) < 0)
        return NULL;
    doc_vec_push(&c->lookups, doc);
    return yyjson_doc_get_root(doc);
}

static bool visit_item(const struct kind *kind, const struct store_item *item, rule_visit_fn *visit, void *data)
{
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (object_load(api_version, kind->kind, item->revision, item->value->data, item->value->len, &doc, NULL) < 0)
        return true;
    return visit(data, yyjson_doc_get_root(doc));
}

static void each(struct rule_ctx *ctx, const char *group, const char *kind_name, const char *namespace,
                 rule_visit_fn *visit, void *data)
{
    struct rest_call *c = call_of(ctx);
    const struct kind *kind = kinds_find_kind(c->server->kinds, group, NULL, kind_name);
    _cleanup_free_ char *prefix =
        kind ? xasprintf("%s%s%s", kind->prefix, namespace ? namespace : "", namespace ? "/" : "") : NULL;
    _cleanup_free_ char *after = NULL;
    bool more = kind != NULL;

    while (more) {
        _cleanup_store_list_ struct store_list l = {0};
        struct store_list_options o = {.prefix = prefix, .after_key = after, .limit = PAGE};

        if (store_list(c->server->store, &o, &l, NULL) < 0)
            return;
        more = l.remaining > 0;
        for (size_t i = 0; i < l.len; i++)
            if (!visit_item(kind, &l.items[i], visit, data))
                return;
        free(after);
        after = l.len ? xstrdup(l.items[l.len - 1].key) : NULL;
    }
}

static void warn(struct rule_ctx *ctx, const char *text)
{
    rest_warn(call_of(ctx), text);
}

/* ret_groups: freed by the caller. */
static struct rule_ctx rule_context(struct rest_call *c, const char ***ret_groups)
{
    const struct api_user *u = &c->request->user;
    const char **groups = xnew_n(const char *, u->n_groups + 1);

    for (size_t i = 0; i < u->n_groups; i++)
        groups[i] = u->groups[i];
    *ret_groups = groups;
    return (struct rule_ctx){
        .kind = call_kind(c),
        .namespace = c->target.namespace ? c->target.namespace : "",
        .subresource = c->target.subresource,
        .user = u->name,
        .groups = groups,
        .now = c->now,
        .dry_run = c->dry_run,
        .lookup = lookup,
        .each = each,
        .warn = warn,
        .data = c,
    };
}

/* Kubernetes' own encoding leaves these out when they are empty, and clients compare what they sent with what they get.
 */
static void drop_empty_metadata(yyjson_mut_doc *d)
{
    static const char *const fields[] = {"annotations", "labels", "finalizers", "ownerReferences"};
    yyjson_mut_val *metadata = json_mut_at(d, "/metadata");

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        yyjson_mut_val *v = yyjson_mut_obj_get(metadata, fields[i]);

        if (v && yyjson_mut_is_ctn(v) && yyjson_mut_get_len(v) == 0)
            yyjson_mut_obj_remove_key(metadata, fields[i]);
    }
}

int rest_prune(struct rest_call *c, yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_str_ struct str list = {0};
    struct text_vec faults = {0};
    int r = 0;

    json_remove(d, "/metadata/selfLink");
    drop_empty_metadata(d);
    schema_prune(call_kind(c)->schema, d, yyjson_mut_doc_get_root(d),
                 c->validation == VALIDATION_IGNORE ? NULL : &faults);
    VEC_EACH(&faults, fault) {
        if (c->validation == VALIDATION_WARN)
            rest_warn(c, *fault);
        str_printf(&list, "%s%s", list.len ? ", " : "", *fault);
    }
    if (faults.len && c->validation == VALIDATION_STRICT)
        r = gw_error_set(err, GW_BAD_REQUEST,
                         "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                         call_kind(c)->kind, c->target.version, call_kind(c)->kind, str_text(&list));
    text_vec_clear(&faults);
    return r;
}

static int validate(struct rest_call *c, struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old,
                    struct gw_error *err)
{
    _cleanup_error_ struct gw_error faults = GW_ERROR_INIT;
    const struct kind *kind = call_kind(c);

    names_validate_metadata(kind, object, &faults);
    schema_validate(kind->schema, object, "", &faults);
    if (faults.n_causes == 0 && kind->rules->validate)
        kind->rules->validate(ctx, object, old, &faults);
    if (faults.n_causes == 0 && faults.reason == GW_OK)
        return 0;

    int r = faults.reason == GW_INVALID ? kind_invalid(kind, meta_name(object), &faults) : faults.number;

    gw_error_move(err, &faults);
    return r < 0 ? r : -EINVAL;
}

static bool counts(yyjson_val *key)
{
    static const char *const uncounted[] = {"apiVersion", "kind", "metadata", "status"};

    for (size_t i = 0; i < ARRAY_SIZE(uncounted); i++)
        if (yyjson_equals_str(key, uncounted[i]))
            return false;
    return true;
}

static bool covers(yyjson_val *a, yyjson_val *b)
{
    yyjson_val *key, *value;

    json_each_member(a, key, value)
        if (counts(key) && !json_equal(value, yyjson_obj_get(b, yyjson_get_str(key))))
            return false;
    return true;
}

/* metadata.generation counts the changes of what is wanted: of everything but metadata and status. */
static bool wants_else(yyjson_val *a, yyjson_val *b)
{
    return !covers(a, b) || !covers(b, a);
}

static yyjson_doc *freeze(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_doc *object = yyjson_mut_doc_imut_copy(d, NULL);

    if (!old || call_kind(c)->builtin || !wants_else(yyjson_doc_get_root(object), old))
        return object;
    yyjson_doc_free(object);
    json_set_int(d, "/metadata/generation", meta_generation(old) + 1);
    return yyjson_mut_doc_imut_copy(d, NULL);
}

int rest_admit(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old, struct blob **ret_stored, struct gw_error *err)
{
    const struct kind *kind = call_kind(c);
    _cleanup_free_ const char **groups = NULL;
    struct rule_ctx ctx = rule_context(c, &groups);
    _cleanup_doc_ yyjson_doc *object = NULL;
    int r = rest_prune(c, d, err);

    if (r < 0)
        return r;
    schema_default(kind->schema, d, yyjson_mut_doc_get_root(d));
    if (kind->rules->set_defaults)
        kind->rules->set_defaults(&ctx, d, old);
    object = freeze(c, d, old);
    r = validate(c, &ctx, yyjson_doc_get_root(object), old, err);
    if (r == 0)
        r = rest_authorize(c, old, yyjson_doc_get_root(object), err);
    if (r < 0)
        return r;

    bool managed = rest_managed_track(c, d, old, yyjson_doc_get_root(object));

    *ret_stored = old && !managed && json_equal(old, yyjson_doc_get_root(object)) ? NULL : object_store(d);
    return 0;
}

int rest_admit_delete(struct rest_call *c, yyjson_val *old, struct gw_error *err)
{
    _cleanup_free_ const char **groups = NULL;
    struct rule_ctx ctx = rule_context(c, &groups);
    int r = rest_authorize(c, old, NULL, err);

    if (r == 0 && call_kind(c)->rules->before_delete)
        r = call_kind(c)->rules->before_delete(&ctx, old, err);
    return r;
}

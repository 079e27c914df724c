#include "apiserver/output.h"

#include <errno.h>
#include <string.h>

#include "api/columns.h"
#include "api/object.h"

static bool media_is_yaml(const struct http_media *m)
{
    return streq(m->type, "application/yaml");
}

static bool media_is_known(const struct http_media *m)
{
    return streq(m->type, "application/json") || streq(m->type, "application/*") || streq(m->type, "*/*") ||
           media_is_yaml(m);
}

bool output_wants_yaml(const char *accept)
{
    struct http_media m;

    while (accept && http_media_next(&accept, &m))
        if (media_is_known(&m))
            return media_is_yaml(&m);
    return false;
}

/* Whether this element of Accept can be served, and as what. */
static bool take_media(const struct http_media *m, struct output_form *f)
{
    const char *as = http_media_param(m, "as"), *group = http_media_param(m, "g"), *version = http_media_param(m, "v");

    if (!media_is_known(m))
        return false;
    f->yaml = media_is_yaml(m);
    if (!as)
        return true;
    if (!group || !streq(group, "meta.k8s.io") || !version || !(streq(version, "v1") || streq(version, "v1beta1")))
        return false;
    f->beta = streq(version, "v1beta1");
    if (streq(as, "Table"))
        f->type = OUTPUT_TABLE;
    else if (streq(as, "PartialObjectMetadata") || streq(as, "PartialObjectMetadataList"))
        f->type = OUTPUT_PARTIAL;
    else
        return false;
    return true;
}

static int take_include(const struct http_uri *uri, struct output_form *f, struct gw_error *err)
{
    const char *text = http_uri_param(uri, "includeObject");

    if (!text || !*text || streq(text, "Metadata"))
        f->include = INCLUDE_METADATA;
    else if (streq(text, "Object"))
        f->include = INCLUDE_OBJECT;
    else if (streq(text, "None"))
        f->include = INCLUDE_NONE;
    else
        return gw_error_set(err, GW_BAD_REQUEST, "Invalid value \"%s\" for includeObject: use Metadata, Object or None",
                            text);
    return 0;
}

int output_negotiate(const char *accept, const struct http_uri *uri, struct output_form *ret, struct gw_error *err)
{
    struct http_media m;
    bool any = false;

    *ret = (struct output_form){0};
    while (accept && http_media_next(&accept, &m)) {
        any = true;
        if (take_media(&m, ret))
            return take_include(uri, ret, err);
    }
    if (!any)
        return 0;
    return gw_error_set(err, GW_NOT_ACCEPTABLE,
                        "only the following media types are accepted: application/json, application/yaml");
}

static void head_with(struct str *out, const char *kind, const char *group, const char *version, int64_t revision)
{
    str_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":{", kind, group, *group ? "/" : "",
               version);
    if (revision)
        str_printf(out, "\"resourceVersion\":\"%lld\",", (long long)revision);
}

void output_head(struct str *out, const struct output_kind *k, int64_t revision)
{
    head_with(out, k->kind->kind, k->kind->group, k->version, revision);
}

static const char *meta_version_of(const struct output_form *f)
{
    return f->beta ? "v1beta1" : "v1";
}

static int write_partial(struct str *out, const struct output_form *f, yyjson_val *object, int64_t revision,
                         struct gw_error *err)
{
    _cleanup_blob_ struct blob *metadata = json_encode_val(json_at(object, "/metadata"));

    if (!metadata || metadata->len < 2)
        return gw_error_set(err, GW_INTERNAL_ERROR, "a stored object has no metadata");
    head_with(out, "PartialObjectMetadata", "meta.k8s.io", meta_version_of(f), revision);
    str_add(out, metadata->data + 1, metadata->len - 1);
    str_putc(out, '}');
    return 0;
}

static int write_row(struct str *out, const struct output_kind *k, const struct output_form *f,
                     const struct blob *stored, yyjson_val *object, int64_t revision, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *cells = json_text(columns_cells(k->kind, object, k->now, d));
    int r = 0;

    str_printf(out, "{\"cells\":%s,\"object\":", cells);
    if (f->include == INCLUDE_NONE) {
        str_puts(out, "null");
    } else if (f->include == INCLUDE_OBJECT) {
        output_head(out, k, revision);
        str_add(out, stored->data + OBJECT_SKIP, stored->len - OBJECT_SKIP);
    } else {
        r = write_partial(out, f, object, revision, err);
    }
    str_putc(out, '}');
    return r;
}

int output_element(struct str *out, const struct output_kind *k, const struct output_form *f, const struct blob *stored,
                   int64_t revision, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_parse(stored->data, stored->len, &doc, err);

    if (r < 0)
        return r;
    if (f->type == OUTPUT_TABLE)
        return write_row(out, k, f, stored, yyjson_doc_get_root(doc), revision, err);
    return write_partial(out, f, yyjson_doc_get_root(doc), revision, err);
}

static void add_text(struct api_parts *out, struct str *text)
{
    api_parts_add(out, blob_new(text->data, text->len), 0);
}

void output_object(struct api_parts *out, const struct output_kind *k, const struct output_form *f, struct blob *stored,
                   int64_t revision)
{
    _cleanup_str_ struct str text = {0};

    if (f->type == OUTPUT_OBJECT) {
        output_head(&text, k, revision);
        add_text(out, &text);
        api_parts_add(out, blob_ref(stored), OBJECT_SKIP);
        return;
    }
    if (f->type == OUTPUT_TABLE)
        output_list_head(&text, k, f, &(struct output_list){.revision = revision, .definitions = true});
    (void)output_element(&text, k, f, stored, revision, NULL);
    if (f->type == OUTPUT_TABLE)
        str_puts(&text, OUTPUT_LIST_TAIL);
    add_text(out, &text);
}

static void write_list_meta(struct str *out, const struct output_list *l)
{
    if (l->revision)
        str_printf(out, "\"resourceVersion\":\"%lld\"", (long long)l->revision);
    if (l->next)
        str_printf(out, ",\"continue\":\"%s\"", l->next);
    if (l->remaining > 0)
        str_printf(out, ",\"remainingItemCount\":%lld", (long long)l->remaining);
}

static void write_definitions(struct str *out, const struct output_kind *k, bool given)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *text = given ? json_text(columns_definitions(k->kind, d)) : NULL;

    str_printf(out, "},\"columnDefinitions\":%s,\"rows\":[", text ? text : "null");
}

void output_list_head(struct str *out, const struct output_kind *k, const struct output_form *f,
                      const struct output_list *l)
{
    if (f->type == OUTPUT_TABLE)
        head_with(out, "Table", "meta.k8s.io", meta_version_of(f), 0);
    else if (f->type == OUTPUT_PARTIAL)
        head_with(out, "PartialObjectMetadataList", "meta.k8s.io", meta_version_of(f), 0);
    else
        head_with(out, k->kind->list_kind, k->kind->group, k->version, 0);
    write_list_meta(out, l);
    if (f->type == OUTPUT_TABLE)
        write_definitions(out, k, l->definitions);
    else
        str_puts(out, "},\"items\":[");
}

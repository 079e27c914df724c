#include "apiserver/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/watch.h"
#include "base/json.h"
#include "base/str.h"

bool api_user_in_group(const struct api_user *u, const char *group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (streq(u->groups[i], group))
            return true;
    return false;
}

void api_parts_add(struct api_parts *p, struct blob *b, size_t offset)
{
    api_parts_push(p, (struct api_part){.blob = b, .offset = offset, .len = b->len - offset});
}

void api_parts_add_text(struct api_parts *p, const char *text)
{
    api_parts_add(p, blob_text(text), 0);
}

void api_parts_clear(struct api_parts *p)
{
    VEC_EACH(p, part)
        blob_unref(part->blob);
    api_parts_done(p);
}

size_t api_parts_len(const struct api_parts *p)
{
    size_t len = 0;

    VEC_EACH(p, part)
        len += part->len;
    return len;
}

struct blob *api_parts_join(const struct api_parts *p)
{
    struct blob *all = blob_new(NULL, api_parts_len(p));
    size_t at = 0;

    VEC_EACH(p, part) {
        memcpy(all->data + at, part->blob->data + part->offset, part->len);
        at += part->len;
    }
    return all;
}

static void clear_headers(struct api_headers *h)
{
    VEC_EACH(h, header) {
        free(header->name);
        free(header->value);
    }
    api_headers_done(h);
}

void api_response_header(struct api_response *r, const char *name, const char *fmt, ...)
{
    struct api_header h = {.name = xstrdup(name)};
    va_list ap;

    va_start(ap, fmt);
    h.value = xvasprintf(fmt, ap);
    va_end(ap);
    api_headers_push(&r->headers, h);
}

static void set_body(struct api_response *r, int status, const char *content_type, struct blob *body)
{
    r->status = status;
    r->content_type = content_type;
    api_parts_clear(&r->body);
    api_parts_add(&r->body, body, 0);
}

void api_response_json(struct api_response *r, int status, struct blob *body)
{
    set_body(r, status, "application/json", body);
}

void api_response_text(struct api_response *r, int status, const char *text)
{
    set_body(r, status, "text/plain; charset=utf-8", blob_text(text));
    api_response_header(r, "X-Content-Type-Options", "nosniff");
}

/* Which reasons say in details what they are about (k8s.io/apimachinery pkg/api/errors). */
static bool names_subject(enum gw_reason reason)
{
    return reason == GW_FORBIDDEN || reason == GW_NOT_FOUND || reason == GW_METHOD_NOT_ALLOWED ||
           reason == GW_ALREADY_EXISTS || reason == GW_CONFLICT || reason == GW_INVALID;
}

static void set_optional(yyjson_mut_doc *d, const char *path, const char *value)
{
    if (value && *value)
        json_set_str(d, path, value);
}

static void set_subject(yyjson_mut_doc *d, const struct api_subject *about, bool by_kind)
{
    set_optional(d, "/details/name", about->name);
    set_optional(d, "/details/group", about->group);
    set_optional(d, "/details/kind", by_kind && about->kind ? about->kind : about->resource);
    set_optional(d, "/details/uid", about->uid);
}

static void set_causes(yyjson_mut_doc *d, const struct gw_error *err)
{
    yyjson_mut_val *causes = yyjson_mut_arr(d);

    for (size_t i = 0; i < err->n_causes; i++) {
        const struct gw_cause *c = &err->causes[i];
        yyjson_mut_val *cause = yyjson_mut_arr_add_obj(d, causes);

        if (c->type)
            yyjson_mut_obj_add_strcpy(d, cause, "reason", c->type);
        yyjson_mut_obj_add_strcpy(d, cause, "message", c->message);
        if (c->field && *c->field)
            yyjson_mut_obj_add_strcpy(d, cause, "field", c->field);
    }
    if (err->n_causes)
        json_set(d, "/details/causes", causes);
}

static yyjson_mut_doc *new_status(const char *result)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/kind", "Status");
    json_set_str(d, "/apiVersion", "v1");
    json_set(d, "/metadata", yyjson_mut_obj(d));
    json_set_str(d, "/status", result);
    return d;
}

struct blob *api_status_encode(const struct gw_error *err, const struct api_subject *about)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = new_status("Failure");
    enum gw_reason reason = err->reason ? err->reason : GW_INTERNAL_ERROR;

    json_set_str(d, "/message", gw_error_message(err));
    json_set_str(d, "/reason", gw_reason_string(reason));
    if (about && names_subject(reason))
        set_subject(d, about, reason == GW_INVALID);
    set_causes(d, err);
    if (err->retry_after_s > 0)
        json_set_int(d, "/details/retryAfterSeconds", err->retry_after_s);
    json_set_int(d, "/code", gw_reason_code(reason));
    return json_encode(yyjson_mut_doc_get_root(d));
}

struct blob *api_status_success(const struct api_subject *about)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = new_status("Success");

    if (about)
        set_subject(d, about, false);
    return json_encode(yyjson_mut_doc_get_root(d));
}

void api_response_error(struct api_response *r, const struct gw_error *err, const struct api_subject *about)
{
    enum gw_reason reason = err->reason ? err->reason : GW_INTERNAL_ERROR;

    api_response_json(r, gw_reason_code(reason), api_status_encode(err, about));
    if (err->retry_after_s > 0)
        api_response_header(r, "Retry-After", "%d", err->retry_after_s);
}

void api_response_done(struct api_response *r)
{
    clear_headers(&r->headers);
    api_parts_clear(&r->body);
    watcher_close(r->watch);
    if (r->handoff.run)
        r->handoff.drop(r->handoff.data);
    *r = (struct api_response){0};
}

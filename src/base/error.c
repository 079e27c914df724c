#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"

static const struct {
    const char *name;
    int code;
    int number;
} reasons[] = {
    [GW_OK] = {"", 200, 0},
    [GW_BAD_REQUEST] = {"BadRequest", 400, EINVAL},
    [GW_UNAUTHORIZED] = {"Unauthorized", 401, EACCES},
    [GW_FORBIDDEN] = {"Forbidden", 403, EPERM},
    [GW_NOT_FOUND] = {"NotFound", 404, ENOENT},
    [GW_METHOD_NOT_ALLOWED] = {"MethodNotAllowed", 405, ENOTSUP},
    [GW_NOT_ACCEPTABLE] = {"NotAcceptable", 406, ENOTSUP},
    [GW_ALREADY_EXISTS] = {"AlreadyExists", 409, EEXIST},
    [GW_CONFLICT] = {"Conflict", 409, ESTALE},
    [GW_EXPIRED] = {"Expired", 410, ESTALE},
    [GW_TOO_LARGE] = {"RequestEntityTooLarge", 413, EFBIG},
    [GW_UNSUPPORTED_MEDIA_TYPE] = {"UnsupportedMediaType", 415, ENOTSUP},
    [GW_INVALID] = {"Invalid", 422, EINVAL},
    [GW_TOO_MANY_REQUESTS] = {"TooManyRequests", 429, EBUSY},
    [GW_INTERNAL_ERROR] = {"InternalError", 500, EIO},
    [GW_SERVICE_UNAVAILABLE] = {"ServiceUnavailable", 503, EAGAIN},
    [GW_TIMEOUT] = {"Timeout", 504, ETIMEDOUT},
    [GW_STORAGE_FULL] = {"InsufficientStorage", 507, ENOSPC},
};
static_assert(ARRAY_SIZE(reasons) == GW_REASON_MAX, "each reason needs its row");

void gw_error_done(struct gw_error *err)
{
    free(err->message);
    for (size_t i = 0; i < err->n_causes; i++) {
        free(err->causes[i].field);
        free(err->causes[i].message);
    }
    free(err->causes);
    *err = GW_ERROR_INIT;
}

static _printf_(1, 0) char *vformat(const char *fmt, va_list ap)
{
    char *s = NULL;

    if (vasprintf(&s, fmt, ap) < 0)
        return xstrdup("out of memory");
    return s;
}

static void set_message(struct gw_error *err, char *message)
{
    free(err->message);
    err->message = message;
}

int gw_error_set(struct gw_error *err, enum gw_reason reason, const char *fmt, ...)
{
    int number = -reasons[reason].number;
    va_list ap;

    if (!err)
        return number;
    va_start(ap, fmt);
    char *message = vformat(fmt, ap);
    va_end(ap);
    set_message(err, message);
    err->reason = reason;
    err->number = number;
    return number;
}

int gw_error_errno(struct gw_error *err, int number, const char *fmt, ...)
{
    va_list ap;

    number = number < 0 ? -number : number;
    if (!err)
        return -number;
    va_start(ap, fmt);
    _cleanup_free_ char *what = vformat(fmt, ap);
    va_end(ap);
    set_message(err, xasprintf("%s: %s", what, strerror(number)));
    err->reason = GW_INTERNAL_ERROR;
    err->number = -number;
    return -number;
}

int gw_error_wrap(struct gw_error *err, int number, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return number;
    va_start(ap, fmt);
    _cleanup_free_ char *context = vformat(fmt, ap);
    va_end(ap);
    set_message(err, xasprintf("%s: %s", context, gw_error_message(err)));
    return number;
}

void gw_error_add_cause(struct gw_error *err, const char *type, const char *field, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return;
    err->causes = xrealloc(err->causes, (err->n_causes + 1) * sizeof(*err->causes));
    va_start(ap, fmt);
    err->causes[err->n_causes++] = (struct gw_cause){
        .field = xstrdup(field),
        .type = type,
        .message = vformat(fmt, ap),
    };
    va_end(ap);
    err->reason = GW_INVALID;
    err->number = -reasons[GW_INVALID].number;
    if (!err->message)
        err->message = xasprintf("%s: %s", field, err->causes[0].message);
}

void gw_error_move(struct gw_error *dst, struct gw_error *src)
{
    if (dst) {
        gw_error_done(dst);
        *dst = *src;
        *src = GW_ERROR_INIT;
    } else {
        gw_error_done(src);
    }
}

const char *gw_reason_string(enum gw_reason reason)
{
    return reasons[reason].name;
}

int gw_reason_code(enum gw_reason reason)
{
    return reasons[reason].code;
}

enum gw_reason gw_reason_from(const char *name, int http_code)
{
    for (enum gw_reason r = GW_BAD_REQUEST; name && r < GW_REASON_MAX; r++)
        if (streq(reasons[r].name, name))
            return r;
    for (enum gw_reason r = GW_BAD_REQUEST; r < GW_REASON_MAX; r++)
        if (reasons[r].code == http_code)
            return r;
    return GW_INTERNAL_ERROR;
}

const char *gw_error_message(const struct gw_error *err)
{
    return err && err->message ? err->message : "unknown error";
}

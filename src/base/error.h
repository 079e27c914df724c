/* One error object for the whole program. It carries what a Kubernetes Status carries, so that a refusal made deep in a
 * module reaches the user as it was said: reason, message and, for invalid objects, one cause per field.
 *
 * Rules: functions that can fail return 0 or a positive value on success and a negative errno on failure; `err` is the
 * last parameter, may be NULL, is filled on failure and never touched on success. Library code fills errors and does
 * not log them; whoever ends the chain logs or answers. */
#pragma once

#include "base/cleanup.h"

/* Reasons as in k8s.io/apimachinery meta/v1 StatusReason; the table in error.c gives each its HTTP code. */
enum gw_reason {
    GW_OK,
    GW_BAD_REQUEST,            /* 400 */
    GW_UNAUTHORIZED,           /* 401 */
    GW_FORBIDDEN,              /* 403 */
    GW_NOT_FOUND,              /* 404 */
    GW_METHOD_NOT_ALLOWED,     /* 405 */
    GW_NOT_ACCEPTABLE,         /* 406 */
    GW_ALREADY_EXISTS,         /* 409 */
    GW_CONFLICT,               /* 409 */
    GW_EXPIRED,                /* 410 */
    GW_TOO_LARGE,              /* 413 */
    GW_UNSUPPORTED_MEDIA_TYPE, /* 415 */
    GW_INVALID,                /* 422 */
    GW_TOO_MANY_REQUESTS,      /* 429 */
    GW_INTERNAL_ERROR,         /* 500 */
    GW_SERVICE_UNAVAILABLE,    /* 503 */
    GW_TIMEOUT,                /* 504 */
    GW_STORAGE_FULL,           /* 507: not a reason of Kubernetes, whose clients go by the code then */
    GW_REASON_MAX,
};

/* One fault in one field: `type` is a Kubernetes CauseType such as FieldValueInvalid. */
struct gw_cause {
    char *field;
    const char *type;
    char *message;
};

struct gw_error {
    enum gw_reason reason;
    int number; /* negative errno, 0 when the fault is not the system's */
    char *message;
    struct gw_cause *causes;
    size_t n_causes;
    int retry_after_s; /* for 429 and 503: seconds, 0 = not said */
};

#define GW_ERROR_INIT ((struct gw_error){0})
#define _cleanup_error_ __attribute__((cleanup(gw_error_done)))

/* Cause types used across modules. */
#define CAUSE_INVALID "FieldValueInvalid"
#define CAUSE_REQUIRED "FieldValueRequired"
#define CAUSE_NOT_SUPPORTED "FieldValueNotSupported"
#define CAUSE_FORBIDDEN "FieldValueForbidden"
#define CAUSE_DUPLICATE "FieldValueDuplicate"
#define CAUSE_TYPE "FieldValueTypeInvalid"

/* Frees what err holds and makes it empty again. */
void gw_error_done(struct gw_error *err);

/* Fills err (replacing what it held) and returns a negative errno that fits the reason. */
int gw_error_set(struct gw_error *err, enum gw_reason reason, const char *fmt, ...) _printf_(3, 4);

/* The same for a failed system call: number is an errno, positive or negative; its text is appended. Returns -|number|.
 */
int gw_error_errno(struct gw_error *err, int number, const char *fmt, ...) _printf_(3, 4);

/* Puts "context: " before the message of a failure going up. Returns number, so that callers can return it at once. */
int gw_error_wrap(struct gw_error *err, int number, const char *fmt, ...) _printf_(3, 4);

/* Adds a cause and makes err an Invalid one; gw_error_set afterwards keeps the causes and sets the headline. */
void gw_error_add_cause(struct gw_error *err, const char *type, const char *field, const char *fmt, ...) _printf_(4, 5);

/* Moves what src holds into dst; src is empty afterwards. dst may be NULL. */
void gw_error_move(struct gw_error *dst, struct gw_error *src);

/* "NotFound" and the like; and the HTTP status of a reason; and the reason for a Status that came over the wire. */
const char *gw_reason_string(enum gw_reason reason);
int gw_reason_code(enum gw_reason reason);
enum gw_reason gw_reason_from(const char *name, int http_code);

/* The message, never NULL. */
const char *gw_error_message(const struct gw_error *err);

#include "client/status.h"

#include <string.h>

/* Causes point to constants: an unknown type from a foreign server is given as the general one. */
static const char *cause_type(const char *name)
{
    static const char *const known[] = {CAUSE_INVALID,   CAUSE_REQUIRED,  CAUSE_NOT_SUPPORTED,
                                        CAUSE_FORBIDDEN, CAUSE_DUPLICATE, CAUSE_TYPE};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (name && streq(name, known[i]))
            return known[i];
    return CAUSE_INVALID;
}

int status_decode(yyjson_val *status, int code, struct gw_error *err)
{
    const char *kind = json_str(status, "/kind");
    bool is_status = kind && streq(kind, "Status");
    yyjson_val *cause;

    if (!is_status)
        return gw_error_set(err, gw_reason_from(NULL, code), "the server answered HTTP %d without a Status", code);
    yyjson_val *causes = json_at(status, "/details/causes");
    if (err)
        json_each(causes, cause)
            gw_error_add_cause(err, cause_type(json_str(cause, "/reason")), json_str_or(cause, "/field", ""), "%s",
                               json_str_or(cause, "/message", ""));
    code = (int)json_int(status, "/code", code);
    enum gw_reason reason = gw_reason_from(json_str(status, "/reason"), code);
    int number = gw_error_set(err, reason, "%s", json_str_or(status, "/message", gw_reason_string(reason)));
    if (err)
        err->retry_after_s = (int)json_int(status, "/details/retryAfterSeconds", 0);
    return number;
}

int status_decode_body(const char *body, size_t len, int code, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (json_parse(body, len, &doc, NULL) < 0)
        return status_decode(NULL, code, err);
    return status_decode(yyjson_doc_get_root(doc), code, err);
}

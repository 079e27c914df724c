#include <inttypes.h>
#include <string.h>

#include "api/selector.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"

struct field_term {
    char *field;
    char *path; /* the field as a JSON pointer */
    char *value;
    bool negate;
};

VEC_DEFINE(field_term_vec, struct field_term);

struct field_selector {
    struct field_term_vec terms; /* all must hold */
};

struct field_selector *field_selector_free(struct field_selector *s)
{
    if (!s)
        return NULL;
    VEC_EACH(&s->terms, t) {
        free(t->field);
        free(t->path);
        free(t->value);
    }
    field_term_vec_done(&s->terms);
    free(s);
    return NULL;
}

/* Text up to one of the stop characters; a backslash takes ',', '=' and itself literally. */
static char *read_part(const char **at, const char *stop)
{
    struct str part = {0};
    const char *p = *at;

    for (; *p && !strchr(stop, *p); p++) {
        if (*p == '\\' && p[1] && strchr(",=\\", p[1]))
            p++;
        str_putc(&part, *p);
    }
    *at = p;
    return str_take(&part);
}

static char *pointer_of(const char *field)
{
    char *path = xasprintf("/%s", field);

    for (char *c = path; *c; c++)
        if (*c == '.')
            *c = '/';
    return path;
}

static bool is_allowed(const char *field, const char *const *allowed)
{
    if (streq(field, "metadata.name") || streq(field, "metadata.namespace"))
        return true;
    for (; allowed && *allowed; allowed++)
        if (streq(field, *allowed))
            return true;
    return false;
}

static bool read_operator(const char **at, bool *ret_negate)
{
    *ret_negate = str_starts(*at, "!=");
    if (*ret_negate || str_starts(*at, "=="))
        *at += 2;
    else if (**at == '=')
        *at += 1;
    else
        return false;
    return true;
}

static int read_term(struct field_selector *s, const char **at, const char *const *allowed, struct gw_error *err)
{
    const char *start = *at;
    struct field_term t = {.field = read_part(at, "=!,")};
    bool good = read_operator(at, &t.negate);

    t.value = good ? read_part(at, ",=") : NULL;
    t.path = pointer_of(t.field);
    field_term_vec_push(&s->terms, t);
    if (!good || (**at && **at != ','))
        return gw_error_set(err, GW_BAD_REQUEST, "invalid selector: '%s'; can't understand '%s'", start, start);
    if (!is_allowed(t.field, allowed))
        return gw_error_set(err, GW_BAD_REQUEST, "field label not supported: %s", t.field);
    *at += **at == ',';
    return 0;
}

int field_selector_parse(const char *text, const char *const *allowed, struct field_selector **ret,
                         struct gw_error *err)
{
    _cleanup_field_selector_ struct field_selector *s = xnew(struct field_selector);
    const char *at = text ? text : "";
    int rc;

    while (*at)
        if ((rc = read_term(s, &at, allowed, err)) < 0)
            return rc;
    *ret = TAKE_PTR(s);
    return 0;
}

static const char *text_of(yyjson_val *v, char buf[24])
{
    if (yyjson_is_str(v))
        return yyjson_get_str(v);
    if (yyjson_is_bool(v))
        return yyjson_get_bool(v) ? "true" : "false";
    buf[0] = '\0';
    if (yyjson_is_int(v))
        snprintf(buf, 24, "%" PRId64, yyjson_get_sint(v));
    return buf;
}

bool field_selector_matches(const struct field_selector *s, yyjson_val *object)
{
    char buf[24];

    VEC_EACH(&s->terms, t)
        if (streq(text_of(json_at(object, t->path), buf), t->value) == t->negate)
            return false;
    return true;
}

bool field_selector_is_everything(const struct field_selector *s)
{
    return s->terms.len == 0;
}

const char *field_selector_exact(const struct field_selector *s, const char *field)
{
    VEC_EACH(&s->terms, t)
        if (!t->negate && streq(t->field, field))
            return t->value;
    return NULL;
}

#include "api/selector.h"

#include <ctype.h>
#include <string.h>

#include "api/names.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"

enum operator{ OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT, OP_GREATER, OP_LESS };

VEC_DEFINE(value_vec, char *);

struct requirement {
    char *key;
    enum operator op;
    struct value_vec values;
};

VEC_DEFINE(requirement_vec, struct requirement);

struct selector {
    bool nothing;
    struct requirement_vec requirements; /* all must hold */
};

static void requirement_done(struct requirement *r)
{
    free(r->key);
    VEC_EACH(&r->values, v)
        free(*v);
    value_vec_done(&r->values);
}

struct selector *selector_free(struct selector *s)
{
    if (!s)
        return NULL;
    VEC_EACH(&s->requirements, r)
        requirement_done(r);
    requirement_vec_done(&s->requirements);
    free(s);
    return NULL;
}

bool selector_is_everything(const struct selector *s)
{
    return !s->nothing && s->requirements.len == 0;
}

static bool integer_of(const char *text, long long *ret)
{
    char *end;

    *ret = strtoll(text, &end, 10);
    return *text && !isspace((unsigned char)*text) && !*end;
}

static int bad_requirement(struct gw_error *err, const char *what, const char *text, const char *why)
{
    return gw_error_set(err, GW_BAD_REQUEST, "unable to parse requirement: %s: Invalid value: \"%s\": %s", what, text,
                        why);
}

/* The rules that hold however a requirement was written. */
static int check_requirement(const struct requirement *r, struct gw_error *err)
{
    const char *fault = qualified_name_fault(r->key);
    long long number;

    if (fault)
        return bad_requirement(err, "key", r->key, fault);
    if ((r->op == OP_IN || r->op == OP_NOT_IN) && !r->values.len)
        return bad_requirement(err, "values", "", "for 'in', 'notin' operators, values set can't be empty");
    if ((r->op == OP_EXISTS || r->op == OP_ABSENT) && r->values.len)
        return bad_requirement(err, "values", r->values.items[0],
                               "values set must be empty for exists and does not exist");
    VEC_EACH(&r->values, v)
        if ((fault = label_value_fault(*v)))
            return bad_requirement(err, "values", *v, fault);
    if (r->op != OP_GREATER && r->op != OP_LESS)
        return 0;
    if (r->values.len != 1 || !integer_of(r->values.items[0], &number))
        return bad_requirement(err, "values", r->values.len ? r->values.items[0] : "",
                               "for 'Gt', 'Lt' operators, the value must be one integer");
    return 0;
}

struct parser {
    const char *at;
    struct gw_error *err;
};

static void skip_space(struct parser *p)
{
    p->at += strspn(p->at, " \t\r\n");
}

static int unexpected(struct parser *p, const char *expected)
{
    return gw_error_set(p->err, GW_BAD_REQUEST, "unable to parse requirement: found '%.20s', expected: %s", p->at,
                        expected);
}

/* A key or value: up to a space or a character that means something. May be empty. */
static char *read_word(struct parser *p)
{
    skip_space(p);
    size_t len = strcspn(p->at, " \t\r\n=!(),<>");
    char *word = xstrndup(p->at, len);

    p->at += len;
    skip_space(p);
    return word;
}

static bool accept(struct parser *p, const char *token)
{
    if (!str_starts(p->at, token))
        return false;
    p->at += strlen(token);
    return true;
}

static int read_set(struct parser *p, struct requirement *r)
{
    skip_space(p);
    if (!accept(p, "("))
        return unexpected(p, "'('");
    do
        value_vec_push(&r->values, read_word(p));
    while (accept(p, ","));
    return accept(p, ")") ? 0 : unexpected(p, "',' or ')'");
}

static const struct {
    const char *token;
    enum operator op;
    bool set;
} operators[] = {
    {"==", OP_IN, false}, {"=", OP_IN, false},      {"!=", OP_NOT_IN, false}, {"notin", OP_NOT_IN, true},
    {"in", OP_IN, true},  {">", OP_GREATER, false}, {"<", OP_LESS, false},
};

static int read_requirement(struct parser *p, struct requirement *r)
{
    skip_space(p);
    r->op = accept(p, "!") ? OP_ABSENT : OP_EXISTS;
    r->key = read_word(p);
    if (r->op == OP_ABSENT || *p->at == ',' || !*p->at)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
        if (!accept(p, operators[i].token))
            continue;
        r->op = operators[i].op;
        if (operators[i].set)
            return read_set(p, r);
        value_vec_push(&r->values, read_word(p));
        return 0;
    }
    return unexpected(p, "in, notin, =, ==, !=, gt, lt");
}

static int add_requirement(struct selector *s, struct parser *p)
{
    struct requirement r = {0};
    int rc = read_requirement(p, &r);

    requirement_vec_push(&s->requirements, r);
    if (rc < 0)
        return rc;
    if ((rc = check_requirement(&r, p->err)) < 0)
        return rc;
    skip_space(p);
    return !*p->at || *p->at == ',' ? 0 : unexpected(p, "',' or end of string");
}

int selector_parse(const char *text, struct selector **ret, struct gw_error *err)
{
    _cleanup_selector_ struct selector *s = xnew(struct selector);
    struct parser p = {.at = text ? text : "", .err = err};
    int rc;

    skip_space(&p);
    if (*p.at)
        do
            if ((rc = add_requirement(s, &p)) < 0)
                return rc;
        while (accept(&p, ","));
    *ret = TAKE_PTR(s);
    return 0;
}

static int operator_of(const char *name, enum operator* ret)
{
    static const char *const names[] = {
        [OP_IN] = "In",      [OP_NOT_IN] = "NotIn", [OP_EXISTS] = "Exists", [OP_ABSENT] = "DoesNotExist",
        [OP_GREATER] = "Gt", [OP_LESS] = "Lt",
    };

    for (size_t i = 0; name && i < ARRAY_SIZE(names); i++)
        if (streq(names[i], name)) {
            *ret = (enum operator)i;
            return 0;
        }
    return -1;
}

static int add_expression(struct selector *s, yyjson_val *expression, struct gw_error *err)
{
    struct requirement r = {.key = xstrdup(json_str_or(expression, "/key", ""))};
    const char *name = json_str(expression, "/operator");
    yyjson_val *item;

    json_each(json_at(expression, "/values"), item)
        value_vec_push(&r.values, xstrdup(yyjson_is_str(item) ? yyjson_get_str(item) : ""));
    int known = operator_of(name, &r.op);
    requirement_vec_push(&s->requirements, r);
    if (known < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "\"%s\" is not a valid label selector operator", name ? name : "");
    return check_requirement(&r, err);
}

static int add_expressions(struct selector *s, yyjson_val *list, struct gw_error *err)
{
    yyjson_val *item;
    int rc;

    json_each(list, item)
        if ((rc = add_expression(s, item, err)) < 0)
            return rc;
    return 0;
}

static int add_match_label(struct selector *s, const char *key, yyjson_val *value, struct gw_error *err)
{
    struct requirement r = {.key = xstrdup(key), .op = OP_IN};

    value_vec_push(&r.values, xstrdup(yyjson_is_str(value) ? yyjson_get_str(value) : ""));
    requirement_vec_push(&s->requirements, r);
    return check_requirement(&r, err);
}

int selector_from_object(yyjson_val *label_selector, struct selector **ret, struct gw_error *err)
{
    _cleanup_selector_ struct selector *s = xnew(struct selector);
    yyjson_val *key, *value;
    int rc;

    s->nothing = label_selector == NULL;
    json_each_member(json_at(label_selector, "/matchLabels"), key, value)
        if ((rc = add_match_label(s, yyjson_get_str(key), value, err)) < 0)
            return rc;
    if ((rc = add_expressions(s, json_at(label_selector, "/matchExpressions"), err)) < 0)
        return rc;
    *ret = TAKE_PTR(s);
    return 0;
}

int selector_from_expressions(yyjson_val *expressions, struct selector **ret, struct gw_error *err)
{
    _cleanup_selector_ struct selector *s = xnew(struct selector);
    int rc = add_expressions(s, expressions, err);

    if (rc < 0)
        return rc;
    s->nothing = s->requirements.len == 0;
    *ret = TAKE_PTR(s);
    return 0;
}

static bool is_among(const struct requirement *r, const char *value)
{
    VEC_EACH(&r->values, v)
        if (streq(*v, value))
            return true;
    return false;
}

static bool compares(const struct requirement *r, const char *value)
{
    long long have, limit;

    if (!value || !integer_of(value, &have) || !integer_of(r->values.items[0], &limit))
        return false;
    return r->op == OP_GREATER ? have > limit : have < limit;
}

static bool holds(const struct requirement *r, yyjson_val *labels)
{
    const char *value = yyjson_get_str(yyjson_obj_get(labels, r->key));

    switch (r->op) {
    case OP_IN:
        return value && is_among(r, value);
    case OP_NOT_IN:
        return !value || !is_among(r, value);
    case OP_EXISTS:
        return value != NULL;
    case OP_ABSENT:
        return value == NULL;
    default:
        return compares(r, value);
    }
}

bool selector_matches(const struct selector *s, yyjson_val *labels)
{
    if (s->nothing)
        return false;
    VEC_EACH(&s->requirements, r)
        if (!holds(r, labels))
            return false;
    return true;
}

#include "api/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

/* A finished node that has an anchor, and how many nodes an alias to it costs. */
struct anchor {
    yyjson_mut_val *value;
    size_t nodes;
};

struct reader {
    yaml_parser_t parser;
    yyjson_mut_doc *doc;
    struct map *anchors;
    size_t nodes;
    int depth;
    struct gw_error *err;
};

static int fault(struct reader *r, const yaml_event_t *at, const char *what)
{
    return gw_error_set(r->err, GW_BAD_REQUEST, "invalid YAML: %s at line %zu, column %zu", what,
                        at->start_mark.line + 1, at->start_mark.column + 1);
}

static int next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    return gw_error_set(r->err, GW_BAD_REQUEST, "invalid YAML: %s at line %zu, column %zu",
                        r->parser.problem ? r->parser.problem : "unreadable", r->parser.problem_mark.line + 1,
                        r->parser.problem_mark.column + 1);
}

static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (streq(text, *words))
            return true;
    return false;
}

static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const true_words[] = {"true", "True", "TRUE", NULL};
static const char *const false_words[] = {"false", "False", "FALSE", NULL};

static bool all_of(const char *text, const char *alphabet)
{
    return *text && text[strspn(text, alphabet)] == '\0';
}

/* The core schema's integers: decimal with a sign, 0o17, 0x1F. Those beyond 64 bits are left to real_number. */
static yyjson_mut_val *integer(yyjson_mut_doc *d, const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    bool negative = *text == '-';
    int base = 10;

    if (digits == text && text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        base = text[1] == 'o' ? 8 : 16;
        digits = text + 2;
    }
    if (!all_of(digits, base == 8 ? "01234567" : base == 10 ? "0123456789" : "0123456789abcdefABCDEF"))
        return NULL;
    errno = 0;
    unsigned long long value = strtoull(digits, NULL, base);
    if (errno || (negative && value > (unsigned long long)INT64_MAX + 1))
        return NULL;
    return negative ? yyjson_mut_sint(d, (int64_t)(0 - value)) : yyjson_mut_uint(d, value);
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static yyjson_mut_val *real_number(yyjson_mut_doc *d, const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    size_t whole = strspn(p, "0123456789"), fraction = 0;

    p += whole;
    if (*p == '.') {
        fraction = strspn(++p, "0123456789");
        p += fraction;
    }
    if (!whole && !fraction)
        return NULL;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        if (!isdigit((unsigned char)*p))
            return NULL;
        p += strspn(p, "0123456789");
    }
    return *p ? NULL : yyjson_mut_real(d, strtod(text, NULL));
}

static yyjson_mut_val *plain(yyjson_mut_doc *d, const char *text)
{
    yyjson_mut_val *v;

    if (one_of(text, null_words))
        return yyjson_mut_null(d);
    if (one_of(text, true_words))
        return yyjson_mut_bool(d, true);
    if (one_of(text, false_words))
        return yyjson_mut_bool(d, false);
    if ((v = integer(d, text)) || (v = real_number(d, text)))
        return v;
    return yyjson_mut_strcpy(d, text);
}

static bool is_finite_number(yyjson_mut_val *v)
{
    return !yyjson_mut_is_real(v) || __builtin_isfinite(yyjson_mut_get_real(v));
}

/* A scalar by its tag, or by its form when it is plain and untagged. */
static int scalar(struct reader *r, const yaml_event_t *e, yyjson_mut_val **ret)
{
    const char *tag = (const char *)e->data.scalar.tag, *text = (const char *)e->data.scalar.value;
    yyjson_mut_val *v;

    if (strlen(text) != e->data.scalar.length)
        return fault(r, e, "a NUL character");
    if (!tag && e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        v = yyjson_mut_strcpy(r->doc, text);
    else if (!tag)
        v = plain(r->doc, text);
    else if (streq(tag, YAML_STR_TAG) || streq(tag, "!"))
        v = yyjson_mut_strcpy(r->doc, text);
    else if (streq(tag, YAML_NULL_TAG) || streq(tag, YAML_BOOL_TAG) || streq(tag, YAML_INT_TAG) ||
             streq(tag, YAML_FLOAT_TAG))
        v = plain(r->doc, text);
    else
        return fault(r, e, "a tag that is not of the core schema");
    if (tag && yyjson_mut_is_str(v) && !streq(tag, YAML_STR_TAG) && !streq(tag, "!"))
        return fault(r, e, "a value that does not fit its tag");
    if (!is_finite_number(v))
        return fault(r, e, "a number that is too large");
    *ret = v;
    return 0;
}

static int node(struct reader *r, yaml_event_t *e, yyjson_mut_val **ret);

static int sequence(struct reader *r, yyjson_mut_val **ret)
{
    yyjson_mut_val *list = yyjson_mut_arr(r->doc), *item = NULL;
    yaml_event_t e;
    int rc;

    for (;;) {
        if ((rc = next(r, &e)) < 0)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT)
            break;
        if ((rc = node(r, &e, &item)) < 0)
            return rc;
        yyjson_mut_arr_append(list, item);
    }
    yaml_event_delete(&e);
    *ret = list;
    return 0;
}

static int mapping_key(struct reader *r, yaml_event_t *e, yyjson_mut_val **ret)
{
    int rc = 0;

    if (e->type != YAML_SCALAR_EVENT)
        rc = fault(r, e, "a key that is not a scalar");
    else if (streq((const char *)e->data.scalar.value, "<<") && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        rc = fault(r, e, "a merge key (<<), which is not supported");
    else if (e->data.scalar.anchor)
        rc = fault(r, e, "an anchor on a key");
    else
        *ret = yyjson_mut_strncpy(r->doc, (const char *)e->data.scalar.value, e->data.scalar.length);
    yaml_event_delete(e);
    return rc;
}

static int mapping(struct reader *r, yyjson_mut_val **ret)
{
    yyjson_mut_val *object = yyjson_mut_obj(r->doc), *key = NULL, *value = NULL;
    yaml_event_t e;
    int rc;

    for (;;) {
        if ((rc = next(r, &e)) < 0)
            return rc;
        if (e.type == YAML_MAPPING_END_EVENT)
            break;
        if ((rc = mapping_key(r, &e, &key)) < 0 || (rc = next(r, &e)) < 0 || (rc = node(r, &e, &value)) < 0)
            return rc;
        yyjson_mut_obj_add(object, key, value);
    }
    yaml_event_delete(&e);
    *ret = object;
    return 0;
}

/* Aliases are copied out, so each counts what its anchor counted: a small text can't become a huge tree. */
static int alias(struct reader *r, const yaml_event_t *e, yyjson_mut_val **ret)
{
    const struct anchor *a = map_get(r->anchors, (const char *)e->data.alias.anchor);

    if (!a)
        return fault(r, e, "an alias without its anchor");
    r->nodes += a->nodes;
    if (r->nodes > YAML_MAX_NODES)
        return fault(r, e, "more nodes than allowed");
    *ret = yyjson_mut_val_mut_copy(r->doc, a->value);
    return 0;
}

static bool collection_tag_ok(const yaml_event_t *e)
{
    const char *tag =
        (const char *)(e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.tag : e->data.sequence_start.tag);

    return !tag || streq(tag, e->type == YAML_MAPPING_START_EVENT ? YAML_MAP_TAG : YAML_SEQ_TAG);
}

static int content(struct reader *r, const yaml_event_t *e, yyjson_mut_val **ret)
{
    if (++r->nodes > YAML_MAX_NODES)
        return fault(r, e, "more nodes than allowed");
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return alias(r, e, ret);
    case YAML_SCALAR_EVENT:
        return scalar(r, e, ret);
    default:
        break;
    }
    if (!collection_tag_ok(e))
        return fault(r, e, "a tag that is not of the core schema");
    if (r->depth >= JSON_MAX_DEPTH)
        return fault(r, e, "nesting deeper than allowed");
    r->depth++;
    int rc = e->type == YAML_MAPPING_START_EVENT ? mapping(r, ret) : sequence(r, ret);
    r->depth--;
    return rc;
}

static const char *anchor_of(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)e->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)e->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)e->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* The node that begins with e; e is deleted. */
static int node(struct reader *r, yaml_event_t *e, yyjson_mut_val **ret)
{
    size_t before = r->nodes;
    int rc = content(r, e, ret);

    if (rc == 0 && anchor_of(e)) {
        struct anchor *a = xnew(struct anchor);
        *a = (struct anchor){.value = *ret, .nodes = r->nodes - before};
        map_put(r->anchors, anchor_of(e), a);
        r->nodes += a->nodes; /* the copy costs as well: anchors may be nested */
        *ret = yyjson_mut_val_mut_copy(r->doc, a->value);
    }
    yaml_event_delete(e);
    return rc;
}

static void docs_add(struct yaml_docs *docs, yyjson_doc *doc)
{
    docs->items = xrealloc(docs->items, (docs->len + 1) * sizeof(*docs->items));
    docs->items[docs->len++] = doc;
}

/* One document up to its end; an empty one (a lone null of no text) is not added. */
static int document(struct reader *r, struct yaml_docs *docs)
{
    _cleanup_mut_doc_ yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    _cleanup_(map_freep) struct map *anchors = map_new(free);
    yyjson_mut_val *root = NULL;
    yaml_event_t e;
    int rc;

    r->doc = doc;
    r->anchors = anchors;
    if ((rc = next(r, &e)) < 0)
        return rc;
    bool empty = e.type == YAML_SCALAR_EVENT && e.data.scalar.length == 0 && e.data.scalar.plain_implicit;
    if ((rc = node(r, &e, &root)) < 0 || (rc = next(r, &e)) < 0)
        return rc;
    yaml_event_delete(&e);
    if (!empty)
        docs_add(docs, yyjson_mut_val_imut_copy(root, NULL));
    return 0;
}

static int stream(struct reader *r, struct yaml_docs *docs)
{
    yaml_event_type_t type;
    yaml_event_t e;
    int rc;

    do {
        if ((rc = next(r, &e)) < 0)
            return rc;
        type = e.type;
        yaml_event_delete(&e);
        if (type == YAML_DOCUMENT_START_EVENT && (rc = document(r, docs)) < 0)
            return rc;
    } while (type != YAML_STREAM_END_EVENT && type != YAML_NO_EVENT);
    return 0;
}

int yaml_parse_all(const void *data, size_t len, struct yaml_docs *ret, struct gw_error *err)
{
    struct yaml_docs docs = {0};
    struct reader r = {.err = err};

    if (!yaml_parser_initialize(&r.parser))
        return gw_error_errno(err, ENOMEM, "YAML parser");
    yaml_parser_set_input_string(&r.parser, data, len);
    int rc = stream(&r, &docs);
    yaml_parser_delete(&r.parser);
    if (rc < 0) {
        yaml_docs_done(&docs);
        return rc;
    }
    *ret = docs;
    return 0;
}

int yaml_parse(const void *data, size_t len, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};
    int rc = yaml_parse_all(data, len, &docs, err);

    if (rc < 0)
        return rc;
    if (docs.len != 1)
        return gw_error_set(err, GW_BAD_REQUEST, "invalid YAML: one document is expected, not %zu", docs.len);
    *ret = TAKE_PTR(docs.items[0]);
    return 0;
}

void yaml_docs_done(struct yaml_docs *docs)
{
    for (size_t i = 0; i < docs->len; i++)
        yyjson_doc_free(docs->items[i]);
    free(docs->items);
    *docs = (struct yaml_docs){0};
}

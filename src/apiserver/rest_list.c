/* Reads: get, list, and what lists select. A list goes through the store page by page at one revision, so that no read
 * of the store is long, and its answer refers to the stored bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/rest_call.h"

#define PAGE 500

int rest_get(struct rest_call *c, struct gw_error *err)
{
    _cleanup_free_ char *key = kind_key(call_kind(c), c->target.namespace, c->target.name);
    _cleanup_store_item_ struct store_item item = {0};
    int64_t wanted;
    int r = rest_parse_version(call_param(c, "resourceVersion"), &wanted, err);

    if (r == 0)
        r = store_check_reached(c->server->store, wanted, err);
    if (r == 0)
        r = store_get(c->server->store, key, 0, &item, err);
    if (r == -ENOENT)
        return rest_not_found(c, err);
    if (r == 0)
        rest_answer_object(c, 200, item.value, item.revision);
    return r;
}

/* --- Going through objects --- */

int rest_select(struct rest_call *c, struct selection *ret, struct gw_error *err)
{
    if (call_kind(c)->view_of)
        ret->guard = rest_guard(c);
    return selection_parse(call_kind(c), c->target.namespace, call_param(c, "labelSelector"),
                           call_param(c, "fieldSelector"), ret, err);
}

struct each_state {
    const struct selection *selection;
    rest_visit_fn *visit;
    void *data;
    size_t left;    /* of the limit; SIZE_MAX = none */
    int64_t behind; /* keys of the page behind the last one visited */
};

static int visit_page(struct each_state *st, const struct store_list *l, struct gw_error *err)
{
    for (size_t i = 0; i < l->len; i++) {
        const struct store_item *item = &l->items[i];

        if (!selection_has_key(st->selection, item->key) || !selection_matches(st->selection, item->value))
            continue;

        int r = st->visit(st->data, item, err);

        if (r < 0)
            return r;
        if (--st->left == 0 || r == 0) {
            st->behind = (int64_t)(l->len - i - 1);
            return 0;
        }
    }
    return 1;
}

int rest_each(struct rest_call *c, const struct selection *s, const char *after, size_t limit, int64_t *revision,
              rest_visit_fn *visit, void *data, int64_t *ret_remaining, struct gw_error *err)
{
    struct each_state st = {.selection = s, .visit = visit, .data = data, .left = limit ? limit : SIZE_MAX};
    _cleanup_free_ char *behind = after ? xstrdup(after) : NULL;
    int64_t remaining = 0;
    int r = 1;

    while (r > 0) {
        _cleanup_store_list_ struct store_list l = {0};
        size_t page = s->only ? 1 : selection_is_everything(s) ? MIN(st.left, PAGE) : PAGE;
        struct store_list_options o = {.prefix = s->prefix, .after_key = behind, .limit = page, .revision = *revision};

        r = store_list(c->server->store, &o, &l, err);
        if (r < 0)
            return r;
        *revision = l.revision;
        r = visit_page(&st, &l, err);
        remaining = l.remaining + st.behind;
        if (l.remaining == 0 || s->only)
            break;
        free(behind);
        behind = xstrdup(l.items[l.len - 1].key);
    }
    if (ret_remaining)
        *ret_remaining = s->only ? 0 : remaining;
    return MIN(r, 0);
}

/* --- List --- */

/* An object in the answer: text of its own up to text_end, then the stored bytes, if any. */
struct element {
    size_t text_end;
    struct blob *stored;
};
VEC_DEFINE(element_vec, struct element);

struct list_state {
    struct rest_call *c;
    struct output_kind kind;
    struct str text; /* everything between the stored bytes */
    struct element_vec elements;
    char *last_key;
};

static int add_element(void *data, const struct store_item *item, struct gw_error *err)
{
    struct list_state *st = data;
    struct element e = {0};
    int r = 1;

    if (st->elements.len)
        str_putc(&st->text, ',');
    if (st->c->form.type == OUTPUT_OBJECT) {
        output_head(&st->text, &st->kind, item->revision);
        e.stored = blob_ref(item->value);
    } else {
        r = output_element(&st->text, &st->kind, &st->c->form, item->value, item->revision, err);
    }
    e.text_end = st->text.len;
    element_vec_push(&st->elements, e);
    free(st->last_key);
    st->last_key = xstrdup(item->key);
    return r < 0 ? r : 1;
}

static void list_state_done(struct list_state *st)
{
    str_done(&st->text);
    VEC_EACH(&st->elements, e)
        blob_unref(e->stored);
    element_vec_done(&st->elements);
    free(st->last_key);
}

/* "1.REVISION.KEY" with the key behind the kind's prefix: opaque to clients. */
static char *continue_token(struct rest_call *c, int64_t revision, const char *key)
{
    return xasprintf("1.%lld.%s", (long long)revision, key + strlen(call_kind(c)->prefix));
}

static int parse_token(struct rest_call *c, const char *token, int64_t *ret_revision, char **ret_after,
                       struct gw_error *err)
{
    char *end = NULL;

    if (!str_starts(token, "1."))
        return gw_error_set(err, GW_BAD_REQUEST, "continue key is not valid: take it from the list before, unchanged");
    *ret_revision = strtoll(token + 2, &end, 10);
    if (*ret_revision <= 0 || *end != '.' || !end[1])
        return gw_error_set(err, GW_BAD_REQUEST, "continue key is not valid: take it from the list before, unchanged");
    *ret_after = xasprintf("%s%s", call_kind(c)->prefix, end + 1);
    return 0;
}

/* Where a list begins: after which key, as of which revision (k8s.io/apiserver's table of resourceVersion semantics).
 */
static int list_start(struct rest_call *c, size_t limit, int64_t *ret_revision, char **ret_after, struct gw_error *err)
{
    const char *token = call_param(c, "continue"), *match = call_param(c, "resourceVersionMatch");
    const char *version = call_param(c, "resourceVersion");
    int64_t wanted;
    int r = rest_parse_version(version, &wanted, err);

    if (r < 0)
        return r;
    if (match && *match && !streq(match, "Exact") && !streq(match, "NotOlderThan"))
        return gw_error_set(
            err, GW_BAD_REQUEST,
            "resourceVersionMatch: Unsupported value: \"%s\": supported values: \"Exact\", \"NotOlderThan\"", match);
    if (match && *match && (!version || !*version))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (token && *token) {
        if (wanted || (match && *match))
            return gw_error_set(err, GW_BAD_REQUEST, "specifying resource version is not allowed when using continue");
        return parse_token(c, token, ret_revision, ret_after, err);
    }

    bool exact = match && *match ? streq(match, "Exact") : wanted && limit;

    if (exact && wanted == 0 && match)
        return gw_error_set(err, GW_BAD_REQUEST, "resourceVersionMatch \"Exact\" is forbidden for resourceVersion 0");
    *ret_revision = exact ? wanted : 0;
    return store_check_reached(c->server->store, wanted, err);
}

static int parse_limit(struct rest_call *c, size_t *ret, struct gw_error *err)
{
    const char *text = call_param(c, "limit");
    char *end = NULL;
    long long n = text ? strtoll(text, &end, 10) : 0;

    if (text && *text && (*end || n < 0))
        return gw_error_set(err, GW_BAD_REQUEST, "Invalid value: \"%s\" for limit: must be a number and not negative",
                            text);
    *ret = (size_t)n;
    return 0;
}

static void answer_list(struct list_state *st, int64_t revision, int64_t remaining, bool exact_count)
{
    struct rest_call *c = st->c;
    _cleanup_str_ struct str head = {0};
    _cleanup_free_ char *next = remaining > 0 && st->last_key ? continue_token(c, revision, st->last_key) : NULL;
    struct output_list l = {
        .revision = revision,
        .next = next,
        .remaining = exact_count ? remaining : 0,
        .definitions = true,
    };
    struct api_parts *body = &c->response->body;
    size_t at = 0;

    str_puts(&st->text, OUTPUT_LIST_TAIL);
    output_list_head(&head, &st->kind, &c->form, &l);
    api_parts_add(body, blob_new(head.data, head.len), 0);

    struct blob *text = blob_new(st->text.data, st->text.len);

    VEC_EACH(&st->elements, e) {
        if (!e->stored)
            continue;
        api_parts_push(body, (struct api_part){.blob = blob_ref(text), .offset = at, .len = e->text_end - at});
        api_parts_add(body, TAKE_PTR(e->stored), OBJECT_SKIP);
        at = e->text_end;
    }
    api_parts_add(body, text, at);
    c->response->status = 200;
    c->response->content_type = "application/json";
}

/* An exact list of the past is refused with that list in mind, a page with the token it came by. */
static int word_expired(struct rest_call *c, int r, struct gw_error *err)
{
    if (r < 0 && err && err->reason == GW_EXPIRED && call_param(c, "continue"))
        gw_error_set(
            err, GW_EXPIRED,
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter.");
    return r;
}

int rest_list(struct rest_call *c, struct gw_error *err)
{
    _cleanup_selection_ struct selection selection = {0};
    __attribute__((cleanup(list_state_done))) struct list_state st = {.c = c, .kind = call_output(c)};
    _cleanup_free_ char *after = NULL;
    int64_t revision = 0, remaining = 0;
    size_t limit = 0;
    int r = parse_limit(c, &limit, err);

    if (r == 0)
        r = list_start(c, limit, &revision, &after, err);
    if (r == 0)
        r = rest_select(c, &selection, err);
    if (r == 0)
        r = rest_each(c, &selection, after, limit, &revision, add_element, &st, &remaining, err);
    if (r < 0)
        return word_expired(c, r, err);
    answer_list(&st, revision, remaining, selection_is_everything(&selection));
    return 0;
}

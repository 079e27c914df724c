#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "apiserver/watch_internal.h"

static const char *const type_names[] = {
    [WATCH_ADDED] = "ADDED",       [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED",
    [WATCH_BOOKMARK] = "BOOKMARK", [WATCH_ERROR] = "ERROR",
};
static_assert(ARRAY_SIZE(type_names) == WATCH_TYPE_MAX, "each type needs its name");

#define LINE_END "}\n"

struct hub_event *hub_event_new(struct store_event *e)
{
    struct hub_event *h = xnew(struct hub_event);

    h->refs = 1;
    h->store = *e;
    *e = (struct store_event){0};
    return h;
}

struct hub_event *hub_event_ref(struct hub_event *e)
{
    e->refs++;
    return e;
}

void hub_event_rest(struct hub_event *e)
{
    while (e->lines) {
        struct watch_line *line = e->lines;

        e->lines = line->next;
        blob_unref(line->text);
        free(line);
    }
    yyjson_doc_free(e->value);
    yyjson_doc_free(e->previous);
    e->value = e->previous = NULL;
}

void hub_event_unref(struct hub_event *e)
{
    if (!e || --e->refs > 0)
        return;
    hub_event_rest(e);
    store_event_done(&e->store);
    free(e);
}

size_t hub_event_bytes(const struct hub_event *e)
{
    return (e->store.value ? e->store.value->len : 0) + (e->store.previous ? e->store.previous->len : 0);
}

static bool holds(const struct selection *s, const struct blob *stored, yyjson_doc **doc)
{
    if (!stored)
        return false;
    if (selection_is_everything(s))
        return true;
    if (!*doc && json_parse(stored->data, stored->len, doc, NULL) < 0)
        return false;
    return selection_has_object(s, yyjson_doc_get_root(*doc));
}

/* Whoever may not see an object any more is told that it went; its deletion, too, if he has seen it, though the roles
 * that showed it to him may have gone before. */
static enum watch_type decide_guarded(struct hub_event *e, const struct selection *s)
{
    bool before = s->guard->was_shown(s->guard, e->store.key), now = holds(s, e->store.value, &e->value);

    s->guard->note(s->guard, e->store.key, now);
    if (now)
        return before ? WATCH_MODIFIED : WATCH_ADDED;
    return before ? WATCH_DELETED : WATCH_TYPE_MAX;
}

enum watch_type watch_decide(struct hub_event *e, const struct selection *s)
{
    if (!selection_has_key(s, e->store.key))
        return WATCH_TYPE_MAX;
    if (s->guard)
        return decide_guarded(e, s);

    bool now = holds(s, e->store.value, &e->value), before = holds(s, e->store.previous, &e->previous);

    if (now)
        return before ? WATCH_MODIFIED : WATCH_ADDED;
    return before ? WATCH_DELETED : WATCH_TYPE_MAX;
}

static void begin(struct str *text, enum watch_type type)
{
    str_printf(text, "{\"type\":\"%s\",\"object\":", type_names[type]);
}

static struct blob *take_text(struct str *text)
{
    struct blob *b = blob_new(text->data, text->len);

    str_done(text);
    return b;
}

/* In one piece: it is copied once, and then goes to perhaps a thousand watchers. */
static void encode(struct watch_line *line, const struct output_kind *k, struct blob *stored, int64_t revision)
{
    struct str text = {0};

    begin(&text, line->type);
    if (line->form.type == OUTPUT_OBJECT) {
        output_head(&text, k, revision);
        str_add(&text, stored->data + OBJECT_SKIP, stored->len - OBJECT_SKIP);
        str_puts(&text, LINE_END);
    } else {
        bool table = line->form.type == OUTPUT_TABLE;

        if (table)
            output_list_head(&text, k, &line->form,
                             &(struct output_list){.revision = revision, .definitions = line->definitions});
        (void)output_element(&text, k, &line->form, stored, revision, NULL);
        str_puts(&text, table ? OUTPUT_LIST_TAIL LINE_END : LINE_END);
    }
    line->text = take_text(&text);
}

static bool same_form(const struct output_form *a, const struct output_form *b)
{
    return a->type == b->type && a->include == b->include && a->beta == b->beta;
}

const struct watch_line *watch_line_of(struct hub_event *e, enum watch_type type, const struct output_kind *k,
                                       const struct output_form *f, bool definitions)
{
    struct watch_line *line;

    for (line = e->lines; line; line = line->next)
        if (line->type == type && line->kind == k->kind && streq(line->version, k->version) &&
            same_form(&line->form, f) && line->definitions == definitions)
            return line;
    line = xnew(struct watch_line);
    *line = (struct watch_line){
        .type = type, .kind = k->kind, .version = k->version, .form = *f, .definitions = definitions, .next = e->lines};
    /* Who leaves the selection sees the last object that was in it, at the revision of its leaving. */
    encode(line, k, type == WATCH_DELETED ? e->store.previous : e->store.value, e->store.revision);
    e->lines = line;
    return line;
}

void watch_line_append(struct api_parts *out, const struct watch_line *line)
{
    api_parts_add(out, blob_ref(line->text), 0);
}

void watch_line_added(struct api_parts *out, const struct output_kind *k, const struct output_form *f, bool definitions,
                      struct blob *stored, int64_t revision)
{
    struct watch_line line = {.type = WATCH_ADDED, .form = *f, .definitions = definitions};

    encode(&line, k, stored, revision);
    watch_line_append(out, &line);
    blob_unref(line.text);
}

void watch_line_bookmark(struct api_parts *out, const struct output_kind *k, const struct output_form *f,
                         int64_t revision, bool initial_end)
{
    const char *meta = f->beta ? "v1beta1" : "v1";
    struct str text = {0};

    begin(&text, WATCH_BOOKMARK);
    if (f->type == OUTPUT_OBJECT)
        str_printf(&text, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\"", k->kind->kind, k->kind->group,
                   *k->kind->group ? "/" : "", k->version);
    else
        str_printf(&text, "{\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/%s\"",
                   f->type == OUTPUT_TABLE ? "Table" : "PartialObjectMetadata", meta);
    str_printf(&text, ",\"metadata\":{\"resourceVersion\":\"%lld\"%s}", (long long)revision,
               initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
    str_printf(&text, "%s}" LINE_END, f->type == OUTPUT_TABLE ? ",\"columnDefinitions\":null,\"rows\":[]" : "");
    api_parts_add(out, take_text(&text), 0);
}

void watch_line_error(struct api_parts *out, const struct gw_error *err)
{
    _cleanup_blob_ struct blob *status = api_status_encode(err, NULL);
    struct str text = {0};

    begin(&text, WATCH_ERROR);
    str_add(&text, status->data, status->len);
    str_puts(&text, LINE_END);
    api_parts_add(out, take_text(&text), 0);
}

#include "api/jsonpath.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"

enum step_type { STEP_KEY, STEP_INDEX, STEP_ALL, STEP_FILTER };

struct step {
    enum step_type type;
    bool negate; /* filter by != */
    long index;
    char *key;   /* of the key, or the filter's field (dots lead deeper) */
    char *value; /* the filter's */
};

VEC_DEFINE(step_vec, struct step);

struct jsonpath {
    struct step_vec steps;
};

struct jsonpath *jsonpath_free(struct jsonpath *p)
{
    if (!p)
        return NULL;
    VEC_EACH(&p->steps, s) {
        free(s->key);
        free(s->value);
    }
    step_vec_done(&p->steps);
    free(p);
    return NULL;
}

/* A name up to the next '.' or '['; a backslash takes the next character as it is. */
static char *read_name(const char **at)
{
    struct str name = {0};
    const char *p = *at;

    for (; *p && *p != '.' && *p != '['; p++) {
        if (*p == '\\' && p[1])
            p++;
        str_putc(&name, *p);
    }
    *at = p;
    return str_take(&name);
}

/* Text in ' or ", behind its opening quote at *at; NULL if it has no end. */
static char *read_quoted(const char **at)
{
    const char *end = strchr(*at + 1, **at);

    if (!end)
        return NULL;
    char *text = xstrndup(*at + 1, (size_t)(end - *at - 1));
    *at = end + 1;
    return text;
}

/* "?(@.type=="Ready")" */
static bool read_filter(const char **at, struct step *s)
{
    const char *p = *at + 2, *start;

    s->type = STEP_FILTER;
    if ((*at)[1] != '(' || strncmp(p, "@.", 2) != 0)
        return false;
    start = p += 2;
    p += strcspn(p, "=! )");
    s->key = xstrndup(start, (size_t)(p - start));
    p += strspn(p, " ");
    s->negate = *p == '!';
    if (strncmp(p, "==", 2) != 0 && strncmp(p, "!=", 2) != 0)
        return false;
    p += 2;
    p += strspn(p, " ");
    if ((*p != '"' && *p != '\'') || !(s->value = read_quoted(&p)))
        return false;
    p += strspn(p, " ");
    *at = p + 1;
    return *p == ')';
}

static bool read_bracket(const char **at, struct step *s)
{
    const char *p = *at + 1;
    bool good = true;
    char *end;

    if (*p == '\'' || *p == '"') {
        s->type = STEP_KEY;
        good = (s->key = read_quoted(&p)) != NULL;
    } else if (*p == '*') {
        s->type = STEP_ALL;
        p++;
    } else if (*p == '?') {
        good = read_filter(&p, s);
    } else {
        s->type = STEP_INDEX;
        s->index = strtol(p, &end, 10);
        good = end != p;
        p = end;
    }
    if (!good || *p != ']')
        return false;
    *at = p + 1;
    return true;
}

static bool read_step(const char **at, struct step *s)
{
    if (**at == '[')
        return read_bracket(at, s);
    if (**at == '.')
        (*at)++;
    if (**at == '[')
        return read_bracket(at, s);
    if (**at == '*') {
        s->type = STEP_ALL;
        (*at)++;
        return true;
    }
    s->type = STEP_KEY;
    s->key = read_name(at);
    return *s->key != '\0';
}

int jsonpath_parse(const char *text, struct jsonpath **ret, struct gw_error *err)
{
    _cleanup_(jsonpath_freep) struct jsonpath *path = xnew(struct jsonpath);
    const char *at = text + (*text == '$');

    while (*at) {
        struct step s = {0};
        bool good = read_step(&at, &s);
        step_vec_push(&path->steps, s);
        if (!good)
            return gw_error_set(err, GW_BAD_REQUEST, "JSONPath \"%s\" is not supported at \"%s\"", text, at);
    }
    *ret = TAKE_PTR(path);
    return 0;
}

static yyjson_val *field_of(yyjson_val *v, const char *dotted)
{
    size_t len;

    for (; v && *dotted; dotted += len + (dotted[len] == '.')) {
        len = strcspn(dotted, ".");
        v = yyjson_obj_getn(v, dotted, len);
    }
    return v;
}

static bool filter_fits(const struct step *s, yyjson_val *item)
{
    yyjson_val *v = field_of(item, s->key);

    return v && (bool)yyjson_equals_str(v, s->value) != s->negate;
}

struct walk {
    const struct jsonpath *path;
    bool (*visit)(void *data, yyjson_val *v);
    void *data;
};

static bool walk(const struct walk *w, size_t step, yyjson_val *v);

static bool walk_all(const struct walk *w, size_t step, yyjson_val *v)
{
    const struct step *s = &w->path->steps.items[step];
    yyjson_val *key, *item;

    if (yyjson_is_arr(v)) {
        json_each(v, item)
            if ((s->type == STEP_ALL || filter_fits(s, item)) && !walk(w, step + 1, item))
                return false;
    } else if (s->type == STEP_ALL) {
        json_each_member(v, key, item)
            if (!walk(w, step + 1, item))
                return false;
    }
    return true;
}

static yyjson_val *element(yyjson_val *array, long index)
{
    long len = (long)yyjson_arr_size(array);

    if (index < 0)
        index += len;
    return index < 0 || index >= len ? NULL : yyjson_arr_get(array, (size_t)index);
}

/* False once visit said stop. */
static bool walk(const struct walk *w, size_t step, yyjson_val *v)
{
    if (!v)
        return true;
    if (step == w->path->steps.len)
        return w->visit(w->data, v);
    const struct step *s = &w->path->steps.items[step];
    if (s->type == STEP_KEY)
        return walk(w, step + 1, yyjson_obj_get(v, s->key));
    if (s->type == STEP_INDEX)
        return walk(w, step + 1, element(v, s->index));
    return walk_all(w, step, v);
}

void jsonpath_each(const struct jsonpath *p, yyjson_val *root, bool (*visit)(void *data, yyjson_val *v), void *data)
{
    walk(&(struct walk){.path = p, .visit = visit, .data = data}, 0, root);
}

static bool keep_first(void *data, yyjson_val *v)
{
    *(yyjson_val **)data = v;
    return false;
}

yyjson_val *jsonpath_first(const struct jsonpath *p, yyjson_val *root)
{
    yyjson_val *first = NULL;

    jsonpath_each(p, root, keep_first, &first);
    return first;
}

#include "api/columns.h"

#include <string.h>

#include "api/cells.h"
#include "api/jsonpath.h"
#include "api/meta.h"
#include "base/clock.h"
#include "base/str.h"

static void add_definition(yyjson_mut_doc *d, yyjson_mut_val *list, const char *name, const char *type,
                           const char *format, const char *description, int priority)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);

    yyjson_mut_obj_add_strcpy(d, o, "name", name);
    yyjson_mut_obj_add_strcpy(d, o, "type", type);
    yyjson_mut_obj_add_strcpy(d, o, "format", format);
    yyjson_mut_obj_add_strcpy(d, o, "description", description);
    yyjson_mut_obj_add_int(d, o, "priority", priority);
    yyjson_mut_arr_append(list, o);
}

/* Name comes first, unless the kind puts it elsewhere itself, as events do. */
static bool names_itself(const struct kind *kind)
{
    for (size_t i = 0; i < kind->n_columns; i++)
        if (streq(kind->columns[i].name, "Name"))
            return true;
    return false;
}

yyjson_mut_val *columns_definitions(const struct kind *kind, yyjson_mut_doc *d)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    if (!names_itself(kind))
        add_definition(d, list, "Name", "string", "name",
                       "Name must be unique within a namespace. It is set when an object is created and never changes.",
                       0);
    for (size_t i = 0; i < kind->n_columns; i++) {
        const struct kind_column *c = &kind->columns[i];
        add_definition(d, list, c->name, c->type, c->format, c->description, c->priority);
    }
    return list;
}

static bool append_text(void *data, yyjson_val *v)
{
    struct str *out = data;

    if (out->len)
        str_putc(out, ' ');
    if (yyjson_is_str(v)) {
        str_puts(out, yyjson_get_str(v));
    } else if (!yyjson_is_null(v)) {
        _cleanup_free_ char *text = yyjson_val_write(v, 0, NULL);
        str_puts(out, text ? text : "");
    }
    return true;
}

static yyjson_mut_val *text_cell(yyjson_mut_doc *d, const struct str *text)
{
    return text->len ? yyjson_mut_strcpy(d, str_text(text)) : yyjson_mut_null(d);
}

static yyjson_mut_val *date_cell(yyjson_mut_doc *d, yyjson_val *v, int64_t now)
{
    char age[AGE_TEXT_MAX];

    if (!yyjson_is_str(v))
        return yyjson_mut_null(d);
    int64_t then = clock_parse(yyjson_get_str(v));
    if (then < 0)
        return yyjson_mut_str(d, "<invalid>");
    return yyjson_mut_strcpy(d, age_format((now - then) / 1000, age));
}

/* A cell of a column type other than string and date: the value itself if it is of that type. */
static yyjson_mut_val *plain_cell(yyjson_mut_doc *d, const char *type, yyjson_val *v)
{
    if (streq(type, "integer") && yyjson_is_num(v))
        return yyjson_is_int(v) ? yyjson_val_mut_copy(d, v) : yyjson_mut_sint(d, (int64_t)yyjson_get_real(v));
    if (streq(type, "number") && yyjson_is_num(v))
        return yyjson_val_mut_copy(d, v);
    if (streq(type, "boolean") && yyjson_is_bool(v))
        return yyjson_val_mut_copy(d, v);
    return yyjson_mut_null(d);
}

static yyjson_mut_val *cell(const struct kind_column *c, yyjson_val *object, int64_t now, yyjson_mut_doc *d)
{
    _cleanup_str_ struct str text = {0};

    if (c->cell) {
        c->cell(object, &text);
        return text_cell(d, &text);
    }
    if (streq(c->type, "date"))
        return date_cell(d, jsonpath_first(c->path, object), now);
    if (!streq(c->type, "string"))
        return plain_cell(d, c->type, jsonpath_first(c->path, object));
    jsonpath_each(c->path, object, append_text, &text);
    if (!text.len && c->empty)
        str_puts(&text, c->empty);
    return text_cell(d, &text);
}

yyjson_mut_val *columns_cells(const struct kind *kind, yyjson_val *object, int64_t now, yyjson_mut_doc *d)
{
    yyjson_mut_val *cells = yyjson_mut_arr(d);

    if (!names_itself(kind))
        yyjson_mut_arr_add_strcpy(d, cells, meta_name(object));
    for (size_t i = 0; i < kind->n_columns; i++)
        yyjson_mut_arr_append(cells, cell(&kind->columns[i], object, now, d));
    return cells;
}

#include "api/fields.h"

#include <string.h>

#include "base/alloc.h"

/* Types that are listed with one kind and only referred to by others. */
static const struct home {
    const char *type;
    const char *kind;
    const char *text;
} homes[] = {
    {"vmispec", "VirtualMachineInstance", "as `spec` of VirtualMachineInstance"},
    {"migrationstate", "VirtualMachineInstance", "as `status.migrationState` of VirtualMachineInstance"},
};

static const struct documented {
    const char *group;
    const char *kind;
} documented[] = {
    {"kubevirt.io", "VirtualMachine"},
    {"kubevirt.io", "VirtualMachineInstance"},
    {"kubevirt.io", "VirtualMachineInstanceMigration"},
    {"migrations.kubevirt.io", "MigrationPolicy"},
    {"kubevirt.io", "KubeVirt"},
    {"hco.kubevirt.io", "HyperConverged"},
};

struct walk {
    const struct kind *kind;
    struct str path;
    void (*visit)(void *data, const char *path, const struct property *p);
    void *data;
};

static const char *home_elsewhere(const struct kind *kind, const struct schema *s)
{
    for (size_t i = 0; s->ref && i < ARRAY_SIZE(homes); i++)
        if (streq(homes[i].type, s->ref) && !streq(homes[i].kind, kind->kind))
            return homes[i].text;
    return NULL;
}

static void cut(struct str *s, size_t len)
{
    s->len = len;
    if (s->data)
        s->data[len] = '\0';
}

static void walk_object(struct walk *w, const struct schema *s)
{
    size_t before = w->path.len;

    for (size_t i = 0; i < s->n_properties; i++) {
        const struct property *p = &s->properties[i];
        const struct schema *child = p->schema;

        str_printf(&w->path, ".%s", p->name);
        w->visit(w->data, str_text(&w->path), p);
        while (child->items || child->additional) {
            str_puts(&w->path, child->items ? "[]" : ".*");
            child = child->items ? child->items : child->additional;
        }
        if (p->support == SUPPORT_WORKS && !home_elsewhere(w->kind, child))
            walk_object(w, child);
        cut(&w->path, before);
    }
}

void fields_each(const struct kind *kind, void (*visit)(void *data, const char *path, const struct property *p),
                 void *data)
{
    static const char *const parts[] = {"spec", "status"};
    struct walk w = {.kind = kind, .visit = visit, .data = data};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct schema *s = schema_child(kind->schema, parts[i]);
        cut(&w.path, 0);
        str_puts(&w.path, parts[i]);
        if (s)
            walk_object(&w, s);
    }
    str_done(&w.path);
}

/* The values that work, where a reason says why others don't: `virtio`, `sata`. */
static void write_values(struct str *out, yyjson_val *values, const char *reason)
{
    yyjson_val *v;
    size_t i;

    str_puts(out, " Only ");
    json_each_at(values, i, v) {
        _cleanup_free_ char *text = yyjson_val_write(v, 0, NULL);
        str_printf(out, "%s`%s`", i ? ", " : "", yyjson_is_str(v) ? yyjson_get_str(v) : text);
    }
    str_printf(out, ": %s.", reason);
}

struct table {
    const struct kind *kind;
    struct str *out;
};

static void write_row(void *data, const char *path, const struct property *p)
{
    static const char *const support[] = {[SUPPORT_WORKS] = "works", [SUPPORT_LATER] = "later", [SUPPORT_NEVER] = "no"};
    const struct table *t = data;
    const char *elsewhere = home_elsewhere(t->kind, p->schema);
    yyjson_val *values = yyjson_obj_get(p->schema->source, "enum");

    str_printf(t->out, "| `%s` | %s | %s", path, support[p->support], p->description ? p->description : "");
    if (p->support != SUPPORT_WORKS)
        str_printf(t->out, " Refused: %s.", p->reason ? p->reason : "");
    else if (values && p->reason)
        write_values(t->out, values, p->reason);
    if (elsewhere)
        str_printf(t->out, " Fields: %s.", elsewhere);
    str_puts(t->out, " |\n");
}

void fields_write(struct kinds *kinds, struct str *out)
{
    str_puts(
        out,
        "# Fields\n\n"
        "Which fields of the API work. `works`: the field does what is said. `later`: it is refused with 422 \"not\n"
        "supported yet\" and the reason, until it is built. `no`: it is refused with 422 and the reason. A refused\n"
        "field may still be there if it asks for nothing (`false`, an empty list). What lies below a refused field is\n"
        "refused with it.\n\n"
        "This page is written by `godwit fields` from the kind files (docs/kinds.md); a test compares the two.\n");
    for (size_t i = 0; i < ARRAY_SIZE(documented); i++) {
        const struct kind *kind = kinds_find_kind(kinds, documented[i].group, NULL, documented[i].kind);
        struct table t = {.kind = kind, .out = out};

        if (!kind)
            continue;
        str_printf(out, "\n## %s (%s/%s)\n\n| field | | |\n|---|---|---|\n", kind->kind, kind->group,
                   kind_storage_version(kind));
        fields_each(kind, write_row, &t);
    }
}

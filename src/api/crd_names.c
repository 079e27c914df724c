/* Names that two definitions of a group can't both have, as apiextensions-apiserver has it
 * (pkg/controller/status/naming_controller.go): resources are called by plural, singular and short names, objects by
 * kind and listKind. */
#include "api/crd.h"
#include "api/meta.h"
#include "base/str.h"

static bool calls_resource(yyjson_val *names, const char *name)
{
    yyjson_val *item;

    json_each(json_at(names, "/shortNames"), item)
        if (str_same(yyjson_get_str(item), name))
            return true;
    return streq(json_str_or(names, "/plural", ""), name) || streq(json_str_or(names, "/singular", ""), name);
}

static bool calls_objects(yyjson_val *names, const char *name)
{
    return streq(json_str_or(names, "/kind", ""), name) || streq(json_str_or(names, "/listKind", ""), name);
}

static const struct {
    const char *field, *reason;
    bool (*taken)(yyjson_val *names, const char *name);
} rows[] = {
    {"plural", "PluralConflict", calls_resource},         {"singular", "SingularConflict", calls_resource},
    {"shortNames", "ShortNamesConflict", calls_resource}, {"kind", "KindConflict", calls_objects},
    {"listKind", "ListKindConflict", calls_objects},
};

/* The name, or the first of a list, that others has too; NULL when there is none. */
static const char *taken_name(yyjson_val *said, yyjson_val *others, bool (*taken)(yyjson_val *, const char *))
{
    const char *name = yyjson_get_str(said);
    yyjson_val *item;

    json_each(said, item)
        if (yyjson_is_str(item) && taken(others, yyjson_get_str(item)))
            return yyjson_get_str(item);
    return name && *name && taken(others, name) ? name : NULL;
}

int crd_check_names(yyjson_val *crd, yyjson_val *other, struct gw_error *err)
{
    yyjson_val *names = json_at(crd, "/spec/names"), *others = json_at(other, "/spec/names");

    if (streq(meta_name(crd), meta_name(other)) ||
        !streq(json_str_or(crd, "/spec/group", ""), json_str_or(other, "/spec/group", "")))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *name = taken_name(yyjson_obj_get(names, rows[i].field), others, rows[i].taken);

        if (!name)
            continue;
        gw_error_add_cause(err, rows[i].reason, rows[i].field, "\"%s\" is already in use", name);
        return gw_error_set(err, GW_CONFLICT, "\"%s\" is already in use by %s", name, meta_name(other));
    }
    return 0;
}

#include "api/initial.h"

#include "api/embedded.h"
#include "base/str.h"

int initial_objects(struct yaml_docs *ret, struct gw_error *err)
{
    _cleanup_str_ struct str all = {0};

    for (const struct embedded_file *f = embedded_kinds; f->name; f++) {
        if (!str_starts(f->name, "initial/"))
            continue;
        str_puts(&all, "---\n");
        str_add(&all, f->start, (size_t)(f->end - f->start));
    }
    return yaml_parse_all(str_text(&all), all.len, ret, err);
}

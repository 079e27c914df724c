#include "cli/virtctl/params.h"

#include <string.h>

#include "base/str.h"
#include "base/strv.h"
#include "cli/virtctl/flags.h"

/* Index of key, or that of the NULL behind all. */
static size_t find_key(const char *const *keys, const char *key)
{
    size_t i = 0;

    while (keys[i] && !streq(keys[i], key))
        i++;
    return i;
}

int params_read(const char *option, char *text, const char *const *keys, const char **values, struct gw_error *err)
{
    _cleanup_strv_ struct strv unknown = {0};

    for (size_t i = 0; keys[i]; i++)
        values[i] = NULL;
    if (!*text)
        return flag_fault(err, option, "params may not be empty");
    for (char *part; (part = strsep(&text, ","));) {
        char *colon = strchr(part, ':');

        if (!colon)
            return flag_fault(err, option, "params need to have at least one colon: %s", part);
        *colon = '\0';
        size_t i = find_key(keys, part);
        if (keys[i])
            values[i] = colon + 1;
        else
            strv_printf(&unknown, "%s:%s", part, colon + 1);
    }
    if (!unknown.len)
        return 0;
    _cleanup_free_ char *all = strv_join(&unknown, ",");
    return flag_fault(err, option, "unknown param(s): %s", all);
}

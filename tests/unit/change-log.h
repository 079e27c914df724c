/* What a cache or an informer told of, as text. */
#pragma once

#include "base/str.h"
#include "client/informer.h"

/* cache_fn and informer_fn; userdata begins with the struct str that gets "+key:version ", "~key:version " or "-key ". */
static void log_change(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct str *log = userdata;

    if (obj)
        str_printf(log, "%c%s:%llu ", old ? '~' : '+', key, (unsigned long long)object_version(obj));
    else
        str_printf(log, "-%s ", key);
}

/* That is what it told, and it is forgotten. */
static void expect_log(struct str *log, const char *text)
{
    assert_string_equal(str_text(log), text);
    str_done(log);
}

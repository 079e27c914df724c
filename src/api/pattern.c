#include "api/pattern.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* What a class letter stands for inside brackets; NULL when it is none. */
static const char *class_of(char c)
{
    switch (c) {
    case 'd':
        return "0-9";
    case 'w':
        return "a-zA-Z0-9_";
    case 's':
        return " \t\n\r\f\v";
    default:
        return NULL;
    }
}

/* Copies a bracket expression, of which *at is the '['. POSIX knows no escapes there: ']' must come first in the set
 * and '-' last to be themselves. Leaves *at behind the closing ']'. */
static void copy_bracket(const char **at, struct str *out)
{
    _cleanup_str_ struct str set = {0};
    bool negate = (*at)[1] == '^', bracket = false, dash = false;
    const char *p = *at + 1 + negate;

    for (bool first = true; *p && (*p != ']' || first); p++, first = false) {
        if (*p == '[' && p[1] == ':') {
            const char *end = strstr(p, ":]");
            if (!end)
                break;
            str_add(&set, p, (size_t)(end + 2 - p));
            p = end + 1;
        } else if (*p != '\\' || !p[1]) {
            str_putc(&set, *p);
        } else if (class_of(*++p)) {
            str_puts(&set, class_of(*p));
        } else if (*p == '-') {
            dash = true;
        } else if (*p == ']') {
            bracket = true;
        } else {
            str_putc(&set, *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p);
        }
    }
    str_printf(out, "[%s%s%s%s%s", negate ? "^" : "", bracket ? "]" : "", str_text(&set), dash ? "-" : "",
               *p ? "]" : "");
    *at = p + (*p != '\0');
}

char *pattern_translate(const char *re2)
{
    struct str out = {0};

    for (const char *p = re2; *p;) {
        if (*p == '[') {
            copy_bracket(&p, &out);
        } else if (p[0] == '\\' && p[1] == 'd') {
            str_puts(&out, "[0-9]");
            p += 2;
        } else if (p[0] == '\\' && p[1]) {
            str_add(&out, p, 2);
            p += 2;
        } else if (strncmp(p, "(?:", 3) == 0) {
            str_putc(&out, '(');
            p += 3;
        } else {
            str_putc(&out, *p++);
        }
    }
    return str_take(&out);
}

int pattern_compile(const char *re2, regex_t *ret)
{
    _cleanup_free_ char *posix = pattern_translate(re2);

    return strstr(posix, "(?") || regcomp(ret, posix, REG_EXTENDED | REG_NOSUB) != 0 ? -EINVAL : 0;
}

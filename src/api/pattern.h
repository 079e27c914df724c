/* The `pattern` keyword. Kinds are written for RE2, regcomp reads POSIX extended expressions; what both can say but
 * spell differently is translated. */
#pragma once

#include <regex.h>

/* (?:x) to (x), \d to [0-9], escapes inside brackets to what POSIX brackets take. Freed by the caller. */
char *pattern_translate(const char *re2);

/* 0, or -EINVAL when it is no expression that POSIX knows. The caller frees by regfree. */
int pattern_compile(const char *re2, regex_t *ret);

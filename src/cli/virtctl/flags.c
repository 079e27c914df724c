#include "cli/virtctl/flags.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"

void command_line_done(struct command_line *l)
{
    given_vec_done(&l->given);
    word_vec_done(&l->words);
}

/* --- the tables --- */

/* By its name of len characters, or, with len 0, by the letter at name. */
static const struct flag *find_in(const struct flag *table, const char *name, size_t len)
{
    for (const struct flag *f = table; f && f->name; f++)
        if (len ? strlen(f->name) == len && strncmp(f->name, name, len) == 0 : f->letter && f->letter == *name)
            return f;
    return NULL;
}

static const struct flag *find(const struct command_line *l, const char *name, size_t len)
{
    const struct flag *f = find_in(l->own, name, len);

    return f ? f : find_in(l->common, name, len);
}

static const char *bare_value(const struct flag *f)
{
    return f->kind == FLAG_BOOL ? "true" : f->bare;
}

/* --- reading --- */

static bool takes_next(const struct command_line *l, const char *word)
{
    const struct flag *f;

    if (strchr(word, '=') || (word[1] != '-' && word[2]))
        return false;
    f = word[1] == '-' ? find(l, word + 2, strlen(word + 2)) : find(l, word + 1, 0);
    return !f || !bare_value(f);
}

int command_line_next(const struct command_line *l, int argc, char **argv, int at)
{
    for (; at < argc && !streq(argv[at], "--"); at++) {
        if (argv[at][0] && argv[at][0] != '-')
            return at;
        if (argv[at][0] && argv[at][1] && takes_next(l, argv[at]))
            at++;
    }
    return argc;
}

static bool read_bool(const char *text, bool *ret)
{
    static const char *const words[][6] = {{"0", "f", "F", "FALSE", "false", "False"},
                                           {"1", "t", "T", "TRUE", "true", "True"}};

    for (size_t i = 0; i < ARRAY_SIZE(words[0]); i++)
        if (streq(text, words[0][i]) || streq(text, words[1][i])) {
            *ret = streq(text, words[1][i]);
            return true;
        }
    return false;
}

static bool read_int(const char *text, long long *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(text, &end, 10);
    return *text && !*end && errno == 0;
}

static int add(struct command_line *l, const struct flag *f, const char *value, struct gw_error *err)
{
    bool yes;
    long long number;
    bool fits = f->kind == FLAG_BOOL ? read_bool(value, &yes) : f->kind != FLAG_INT || read_int(value, &number);

    if (f->refused)
        return flag_fault(err, f->name, "%s", f->refused);
    if (!fits && f->letter)
        return gw_error_set(err, GW_BAD_REQUEST,
                            "invalid argument \"%s\" for \"-%c, --%s\" flag: parsing \"%s\": invalid syntax", value,
                            f->letter, f->name, value);
    if (!fits)
        return gw_error_set(err, GW_BAD_REQUEST,
                            "invalid argument \"%s\" for \"--%s\" flag: parsing \"%s\": invalid syntax", value, f->name,
                            value);
    given_vec_push(&l->given, (struct given){f, value});
    return 0;
}

/* Both return how many further words were taken. */
static int read_long(struct command_line *l, const char *name, const char *next, struct gw_error *err)
{
    size_t len = strcspn(name, "=");
    const struct flag *f = len ? find(l, name, len) : NULL;
    const char *value = !f ? NULL : name[len] ? name + len + 1 : bare_value(f);
    bool taken = f && !value && next;
    int r;

    if (!f)
        return gw_error_set(err, GW_BAD_REQUEST, "unknown flag: --%.*s", (int)len, name);
    if (!value && !next)
        return gw_error_set(err, GW_BAD_REQUEST, "flag needs an argument: --%s", name);
    r = add(l, f, taken ? next : value, err);
    return r < 0 ? r : taken;
}

static int read_letters(struct command_line *l, const char *word, const char *next, struct gw_error *err)
{
    for (const char *p = word + 1; *p; p++) {
        const struct flag *f = find(l, p, 0);
        const char *value = !f ? NULL : p[1] == '=' && p[2] ? p + 2 : bare_value(f) ? NULL : p[1] ? p + 1 : next;
        int r;

        if (!f)
            return gw_error_set(err, GW_BAD_REQUEST, "unknown shorthand flag: '%c' in -%s", *p, p);
        if (!value && !bare_value(f))
            return gw_error_set(err, GW_BAD_REQUEST, "flag needs an argument: '%c' in -%s", *p, p);
        r = add(l, f, value ? value : bare_value(f), err);
        if (r < 0 || value)
            return r < 0 ? r : value == next;
    }
    return 0;
}

int command_line_read(struct command_line *l, int argc, char **argv, struct gw_error *err)
{
    bool ended = false;
    int r = 0;

    for (int i = 0; i < argc && r >= 0; i++) {
        char *word = argv[i];
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;

        if (ended || word[0] != '-' || !word[1])
            word_vec_push(&l->words, word);
        else if (streq(word, "--"))
            ended = true;
        else if ((r = word[1] == '-' ? read_long(l, word + 2, next, err) : read_letters(l, word, next, err)) > 0)
            i += r;
    }
    return r < 0 ? r : 0;
}

/* --- what was given --- */

static const struct given *find_given(const struct command_line *l, const struct flag *f)
{
    for (size_t i = l->given.len; i-- > 0;)
        if (l->given.items[i].flag == f)
            return &l->given.items[i];
    return NULL;
}

int command_line_complete(const struct command_line *l, struct gw_error *err)
{
    _cleanup_strv_ struct strv missing = {0};

    for (const struct flag *f = l->own; f && f->name; f++)
        if (f->required && !find_given(l, f))
            strv_printf(&missing, "\"%s\"", f->name);
    if (!missing.len)
        return 0;
    _cleanup_free_ char *names = strv_join(&missing, ", ");
    return gw_error_set(err, GW_BAD_REQUEST, "required flag(s) %s not set", names);
}

int command_line_exclusive(const struct command_line *l, const char *names, struct gw_error *err)
{
    _cleanup_strv_ struct strv set = {0};
    size_t len;

    for (const char *p = names; *p; p += len + (p[len] == ' ')) {
        len = strcspn(p, " ");
        if (find_given(l, find(l, p, len)))
            strv_printf(&set, "%.*s", (int)len, p);
    }
    if (set.len < 2)
        return 0;
    strv_sort(&set);
    _cleanup_free_ char *both = strv_join(&set, " ");
    return gw_error_set(err, GW_BAD_REQUEST,
                        "if any flags in the group [%s] are set none of the others can be; [%s] were all set", names,
                        both);
}

int flag_fault(struct gw_error *err, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return gw_error_set(err, GW_BAD_REQUEST, "failed to parse \"--%s\" flag: %s", name, text);
}

static const struct flag *named(const struct command_line *l, const char *name)
{
    const struct flag *f = find(l, name, strlen(name));

    assert(f);
    return f;
}

const char *flag_text(const struct command_line *l, const char *name)
{
    const struct flag *f = named(l, name);
    const struct given *g = find_given(l, f);

    return g ? g->value : f->fallback;
}

bool flag_bool(const struct command_line *l, const char *name)
{
    const char *text = flag_text(l, name);
    bool yes = false;

    return text && read_bool(text, &yes) && yes;
}

long long flag_int(const struct command_line *l, const char *name)
{
    const char *text = flag_text(l, name);
    long long number = 0;

    return text && read_int(text, &number) ? number : 0;
}

bool flag_given(const struct command_line *l, const char *name)
{
    return find_given(l, named(l, name)) != NULL;
}

const char *flag_next(const struct command_line *l, const char *name, size_t *at)
{
    const struct flag *f = named(l, name);

    while (*at < l->given.len) {
        const struct given *g = &l->given.items[(*at)++];

        if (g->flag == f)
            return g->value;
    }
    return NULL;
}

/* The options of virtctl's verbs as rows, and a command line read by them: the syntax and the complaints of the Go
 * libraries cobra and pflag, by which KubeVirt's virtctl reads its own. Options and other words may be mixed; "--" ends
 * the options; words are never abbreviated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/vec.h"

enum flag_kind {
    FLAG_TEXT,
    FLAG_BOOL, /* "--x" and "--x=true"; the next word is never its value */
    FLAG_INT,
    FLAG_LIST, /* may be given several times; of all others the last counts */
    FLAG_KIND_MAX,
};

struct flag {
    const char *name; /* NULL ends a table */
    const char *help;
    const char *fallback; /* counts when it is not given; NULL: nothing */
    const char *refused;  /* why it can't be given, though it is known; NULL: it can */
    const char *bare;     /* the value of "--x" without "=", which takes no further word then; NULL: it needs one */
    enum flag_kind kind;
    bool required;
    char letter; /* 0: none */
};

struct given {
    const struct flag *flag;
    const char *value;
};
VEC_DEFINE(given_vec, struct given);
VEC_DEFINE(word_vec, char *);

/* Zero-initialised but for the tables, each of which may be NULL. All texts belong to argv. */
struct command_line {
    const struct flag *own, *common;
    struct given_vec given;
    struct word_vec words; /* what is no option */
};

void command_line_done(struct command_line *l);
#define _cleanup_command_line_ _cleanup_(command_line_done)

/* Index of the first word from `at` on that is neither an option nor, for all that is known, an option's value; argc if
 * there is none. An unknown option is taken to have a value. */
int command_line_next(const struct command_line *l, int argc, char **argv, int at);

/* Reads all of argv (which has no program's name in front). */
int command_line_read(struct command_line *l, int argc, char **argv, struct gw_error *err);
/* Whether all required options are there. */
int command_line_complete(const struct command_line *l, struct gw_error *err);
/* names: options by their names with blanks between them, of which no two may be given. */
int command_line_exclusive(const struct command_line *l, const char *names, struct gw_error *err);

/* What is wrong with the value of an option: fills err with what and the option in front. */
int flag_fault(struct gw_error *err, const char *name, const char *fmt, ...) _printf_(3, 4);

/* Options by name, which must be one of the tables'. The value, or the fallback (which may be NULL). */
const char *flag_text(const struct command_line *l, const char *name);
bool flag_bool(const struct command_line *l, const char *name);
long long flag_int(const struct command_line *l, const char *name);
bool flag_given(const struct command_line *l, const char *name);
/* The values of a list one by one: *at is 0 at first. NULL behind the last. */
const char *flag_next(const struct command_line *l, const char *name, size_t *at);

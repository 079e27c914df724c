#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/flags.h"

#define WORDS_MAX 32

static const struct flag own[] = {
    {.name = "all", .bare = "10", .fallback = "11"},
    {.name = "force", .letter = 'f', .kind = FLAG_BOOL},
    {.name = "grace", .letter = 'g', .kind = FLAG_INT, .fallback = "-1"},
    {.name = "key", .kind = FLAG_LIST},
    {.name = "user", .letter = 'u', .required = true},
    {0},
};

static const struct flag common[] = {{.name = "namespace", .letter = 'n'}, {0}};

/* Cuts text at its blanks; "''" is an empty word. */
static int split(char *text, char **words)
{
    int n = 0;

    for (char *word; n < WORDS_MAX && (word = strsep(&text, " "));)
        words[n++] = streq(word, "''") ? word + 2 : word;
    return n;
}

static int read_line(struct command_line *l, char *text, struct gw_error *err)
{
    char *words[WORDS_MAX];

    *l = (struct command_line){.own = own, .common = common};
    return command_line_read(l, split(text, words), words, err);
}

static void check_fault(const char *text, const char *fault)
{
    _cleanup_free_ char *copy = xstrdup(text);
    _cleanup_command_line_ struct command_line l = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = read_line(&l, copy, &err);

    r = r < 0 ? r : command_line_complete(&l, &err);
    r = r < 0 ? r : command_line_exclusive(&l, "key all force", &err);
    assert_int_equal(r < 0, *fault != 0);
    assert_string_equal(r < 0 ? gw_error_message(&err) : "", fault);
}

/* The very texts of virtctl 1.8.4, but for the names of Go's functions in them. */
static void faults_are_those_of_cobra(void **state)
{
    static const char *const rows[][2] = {
        {"-u x", ""},
        {"-ux -n y", ""},
        {"--user=x -fg3 --grace=-4", ""},
        {"--user= -f=false -u=", ""},
        {"a b", "required flag(s) \"user\" not set"},
        {"--foo=1", "unknown flag: --foo"},
        {"--use x", "unknown flag: --use"},
        {"--=x", "unknown flag: --"},
        {"-x", "unknown shorthand flag: 'x' in -x"},
        {"-fxy", "unknown shorthand flag: 'x' in -xy"},
        {"-u", "flag needs an argument: 'u' in -u"},
        {"-fu", "flag needs an argument: 'u' in -u"},
        {"--user", "flag needs an argument: --user"},
        {"-ux -g y", "invalid argument \"y\" for \"-g, --grace\" flag: parsing \"y\": invalid syntax"},
        {"-ux --grace=99999999999999999999",
         "invalid argument \"99999999999999999999\" for \"-g, --grace\" flag: parsing "
         "\"99999999999999999999\": invalid syntax"},
        {"-ux --force=maybe", "invalid argument \"maybe\" for \"-f, --force\" flag: parsing \"maybe\": invalid syntax"},
        {"-ux --all --key k -f",
         "if any flags in the group [key all force] are set none of the others can be; [all force "
         "key] were all set"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_fault(rows[i][0], rows[i][1]);
}

static void values_are_the_last_or_all_of_a_list(void **state)
{
    char text[] = "a --force false --user x --key k1,k2 -n1 --user y --key k3 --all -g -5 -- --user z -";
    _cleanup_command_line_ struct command_line l = {0};
    size_t at = 0;

    assert_int_equal(read_line(&l, text, NULL), 0);
    assert_string_equal(flag_text(&l, "user"), "y");
    assert_string_equal(flag_text(&l, "namespace"), "1");
    assert_string_equal(flag_text(&l, "all"), "10");
    assert_int_equal(flag_int(&l, "grace"), -5);
    assert_true(flag_bool(&l, "force"));
    assert_string_equal(flag_next(&l, "key", &at), "k1,k2");
    assert_string_equal(flag_next(&l, "key", &at), "k3");
    assert_null(flag_next(&l, "key", &at));
    const char *words[] = {"a", "false", "--user", "z", "-"};
    assert_int_equal(l.words.len, ARRAY_SIZE(words));
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        assert_string_equal(l.words.items[i], words[i]);
}

static void what_is_not_given_has_its_fallback(void **state)
{
    char text[] = "--force=F";
    _cleanup_command_line_ struct command_line l = {0};

    assert_int_equal(read_line(&l, text, NULL), 0);
    assert_true(flag_given(&l, "force"));
    assert_false(flag_bool(&l, "force"));
    assert_false(flag_given(&l, "grace"));
    assert_int_equal(flag_int(&l, "grace"), -1);
    assert_string_equal(flag_text(&l, "all"), "11");
    assert_null(flag_text(&l, "user"));
}

static void check_next(const char *text, const char *found)
{
    _cleanup_free_ char *copy = xstrdup(text);
    struct command_line l = {.own = own, .common = common};
    char *words[WORDS_MAX];
    int n = split(copy, words), at = command_line_next(&l, n, words, 0);

    assert_string_equal(at < n ? words[at] : "", found);
}

/* As cobra looks for its commands: an option that it does not know yet takes the next word along. */
static void words_behind_options_are_found(void **state)
{
    static const char *const rows[][2] = {
        {"start vm", "start"},
        {"-n x start", "start"},
        {"-nx start", "start"},
        {"--namespace x start", "start"},
        {"--foo x start", "start"},
        {"--foo=x start", "start"},
        {"-f start", "start"},
        {"--force start", "start"},
        {"--all start", "start"},
        {"'' start", "start"},
        {"- start", "start"},
        {"-- start", ""},
        {"-n", ""},
        {"--user", ""},
        {"-z start", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_next(rows[i][0], rows[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_those_of_cobra),
        cmocka_unit_test(values_are_the_last_or_all_of_a_list),
        cmocka_unit_test(what_is_not_given_has_its_fallback),
        cmocka_unit_test(words_behind_options_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* help, options, and all that is printed of the verbs: from their rows alone. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/virtctl/verbs.h"

#define SUMMARY "%s controls the virtual machines of a cluster."

const char *virtctl_program = "virtctl";

/* Text of a row, which says "virtctl" for this program. */
static void print_named(const char *text)
{
    for (const char *name; (name = strstr(text, "virtctl ")); text = name + strlen("virtctl"))
        printf("%.*s%s", (int)(name - text), text, virtctl_program);
    fputs(text, stdout);
}

/* --- options --- */

static char *flag_words(const struct flag *f)
{
    static const char *const kinds[FLAG_KIND_MAX] = {
        [FLAG_TEXT] = " string", [FLAG_BOOL] = "", [FLAG_INT] = " int", [FLAG_LIST] = " stringArray"};
    char letter[] = {'-', f->letter, ',', '\0'};

    if (f->bare)
        return xasprintf("%3s --%s int[=%s]", f->letter ? letter : "", f->name, f->bare);
    return xasprintf("%3s --%s%s", f->letter ? letter : "", f->name, kinds[f->kind]);
}

static size_t flags_width(const struct flag *table)
{
    size_t width = 0;

    for (const struct flag *f = table; f && f->name; f++) {
        _cleanup_free_ char *words = flag_words(f);
        width = MAX(width, strlen(words));
    }
    return width;
}

static void print_flag(const struct flag *f, const char *help, size_t width)
{
    _cleanup_free_ char *words = flag_words(f);

    printf("  %-*s   %s", (int)width, words, f->refused ? "refused: " : "");
    for (const char *end; (end = strchr(help, '\n')); help = end + 1)
        printf("%.*s\n%*s", (int)(end - help), help, (int)width + 5, "");
    fputs(help, stdout);
    if (f->fallback && *f->fallback)
        printf(f->kind == FLAG_TEXT ? " (default \"%s\")" : " (default %s)", f->fallback);
    putchar('\n');
}

static void print_flags(const struct verb *verb)
{
    const struct flag help = {.name = "help", .letter = 'h', .kind = FLAG_BOOL};
    _cleanup_free_ char *words = flag_words(&help), *of = xasprintf("help for %s", verb_word(verb));
    size_t width = MAX(flags_width(verb->flags), strlen(words));

    printf("\nFlags:\n");
    for (const struct flag *f = verb->flags; f && f->name; f++)
        print_flag(f, f->refused ? f->refused : f->help, width);
    print_flag(&help, of, width);
}

static int print_options(_unused_ struct virtctl *v, _unused_ struct gw_error *err)
{
    size_t width = flags_width(virtctl_common);

    printf("The following options can be passed to any command:\n\n");
    for (const struct flag *f = virtctl_common; f->name; f++)
        print_flag(f, f->help, width);
    return 0;
}

/* --- verbs --- */

static void print_list(const struct verb *parent)
{
    struct verb_vec all = verbs_below(parent);
    size_t width = 0;

    VEC_EACH(&all, v)
        width = MAX(width, strlen(verb_word(*v)));
    if (all.len)
        printf("%sAvailable Commands:\n", parent ? "\n" : "");
    VEC_EACH(&all, v)
        printf("  %-*s %s\n", (int)width, verb_word(*v), (*v)->help);
    verb_vec_done(&all);
}

static void print_verb(const struct verb *verb)
{
    struct verb_vec below = verbs_below(verb);

    printf("Usage:\n  %s %s%s%s [flags]\n", virtctl_program, verb->name, verb->args ? " " : "",
           verb->args ? verb->args : "");
    if (below.len)
        printf("  %s %s [command]\n", virtctl_program, verb->name);
    verb_vec_done(&below);
    if (verb->examples) {
        printf("\nExamples:\n");
        print_named(verb->examples);
    }
    print_list(verb);
    print_flags(verb);
    printf("\nUse \"%s options\" for a list of global command-line options (applies to all commands).\n",
           virtctl_program);
}

void virtctl_print_usage(const struct verb *verb)
{
    if (verb) {
        print_verb(verb);
        return;
    }
    print_list(NULL);
    printf("\nUse \"%s <command> --help\" for more information about a given command.\n"
           "Use \"%s options\" for a list of global command-line options (applies to all commands).\n",
           virtctl_program, virtctl_program);
}

void virtctl_print_help(const struct verb *verb)
{
    if (!verb)
        printf(SUMMARY "\n\n", virtctl_program);
    else
        printf("%s\n\n", verb->help ? verb->help : verb->name);
    if (verb && verb->more) {
        print_named(verb->more);
        printf("\n\n");
    }
    virtctl_print_usage(verb);
}

/* Words that are no verb are told, and then what there is; that is no failure, as in cobra. */
static int help(struct virtctl *v, _unused_ struct gw_error *err)
{
    const struct verb *verb = NULL;

    for (size_t i = 0; i < v->n_args; i++) {
        _cleanup_free_ char *name = verb ? xasprintf("%s %s", verb->name, v->args[i]) : xstrdup(v->args[i]);
        const struct verb *found = verb_find(name);

        if (!found && !verb) {
            printf("Unknown help topic [`%s`]\n", v->args[i]);
            virtctl_print_usage(NULL);
            return 0;
        }
        verb = found ? found : verb;
    }
    virtctl_print_help(verb);
    return 0;
}

const struct verb help_verbs[] = {
    {.name = "help",
     .args = "[command]",
     .help = "Say what a verb does, and which options it takes.",
     .run = help,
     .any_args = true,
     .local = true},
    {.name = "options", .run = print_options, .any_args = true, .local = true},
    {0},
};

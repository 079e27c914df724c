/* completion: a script for the shell, which asks the hidden verb __complete; that answers from the rows of the verbs.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/verbs.h"

/* --- candidates --- */

static void offer(const char *before, const char *word, const char *typed)
{
    _cleanup_free_ char *text = xasprintf("%s%s", before, word);

    if (str_starts(text, typed))
        printf("%s\n", text);
}

static void offer_flags(const struct flag *table, const char *typed)
{
    for (const struct flag *f = table; f && f->name; f++)
        offer("--", f->name, typed);
}

static void offer_verbs(const struct verb *parent, const char *typed)
{
    struct verb_vec all = verbs_below(parent);

    VEC_EACH(&all, v)
        offer("", verb_word(*v), typed);
    verb_vec_done(&all);
}

/* The words so far, the last of which is being typed and may be empty. */
static int complete(struct virtctl *v, _unused_ struct gw_error *err)
{
    const char *typed = v->n_args ? v->args[v->n_args - 1] : "";
    int before = v->n_args ? (int)v->n_args - 1 : 0;
    struct command_line line = {.common = virtctl_common};
    const struct verb *verb = NULL;

    for (int at = 0; (at = command_line_next(&line, before, v->args, at)) < before; at++) {
        _cleanup_free_ char *name = verb ? xasprintf("%s %s", verb->name, v->args[at]) : xstrdup(v->args[at]);
        const struct verb *found = verb_find(name);

        verb = found ? found : verb;
        line.own = verb ? verb->flags : NULL;
    }
    if (*typed == '-') {
        offer_flags(line.own, typed);
        offer_flags(line.common, typed);
    } else {
        offer_verbs(verb, typed);
    }
    return 0;
}

/* --- scripts --- */

static const char bash[] =
    "# Completion of virtctl's verbs and options. To load it: source <(virtctl completion bash)\n"
    "_virtctl()\n"
    "{\n"
    "    mapfile -t COMPREPLY < <(\"${COMP_WORDS[0]}\" __complete -- "
    "\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -o default -F _virtctl virtctl\n";

static int print_bash(_unused_ struct virtctl *v, _unused_ struct gw_error *err)
{
    fputs(bash, stdout);
    return 0;
}

#define OTHER_SHELL "completion is there for bash only"

const struct verb completion_verbs[] = {
    {.name = "completion", .help = "Print a script by which a shell completes verbs and options."},
    {.name = "completion bash",
     .help = "For bash, from version 4 on.",
     .examples = "  # In this shell:\n"
                 "  source <(virtctl completion bash)\n\n"
                 "  # In all that are to come:\n"
                 "  virtctl completion bash > /etc/bash_completion.d/virtctl\n",
     .run = print_bash,
     .local = true},
    {.name = "completion fish", .help = "Refused: " OTHER_SHELL ".", .refused = OTHER_SHELL},
    {.name = "completion powershell", .help = "Refused: " OTHER_SHELL ".", .refused = OTHER_SHELL},
    {.name = "completion zsh", .help = "Refused: " OTHER_SHELL ".", .refused = OTHER_SHELL},
    {.name = "__complete", .run = complete, .any_args = true, .local = true},
    {0},
};

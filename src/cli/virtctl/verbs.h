/* The tables of verbs as one list, and what is said of it: help, and words that are alike. */
#pragma once

#include "cli/virtctl/virtctl.h"

/* "virtctl", or "kubectl virt" for kubectl's plugin. */
extern const char *virtctl_program;

VEC_DEFINE(verb_vec, const struct verb *);

/* The verb of this name, or NULL. */
const struct verb *verb_find(const char *name);
/* Those one word below parent (NULL: the first words), by the alphabet. The caller frees the vector. */
struct verb_vec verbs_below(const struct verb *parent);
/* The last word of its name. */
const char *verb_word(const struct verb *verb);
/* "", or the verbs that a mistyped word may have meant, as the end of a complaint. Caller frees. */
char *verbs_alike(const char *word);

/* What `help VERB` prints, and what a word without a verb behind it prints; NULL: of all. */
void virtctl_print_help(const struct verb *verb);
void virtctl_print_usage(const struct verb *verb);

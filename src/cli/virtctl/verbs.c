#include "cli/virtctl/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"

#define ALIKE 2 /* how many letters may differ, as in cobra */

static const struct verb *const tables[] = {
    vm_verbs,  guest_verbs, volume_verbs, info_verbs,   console_verbs, vnc_verbs,        port_forward_verbs,
    ssh_verbs, adm_verbs,   expose_verbs, create_verbs, help_verbs,    completion_verbs, absent_verbs};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        for (const struct verb *v = tables[i]; v->name; v++)
            if (streq(v->name, name))
                return v;
    return NULL;
}

static bool is_below(const struct verb *v, const struct verb *parent)
{
    size_t len = parent ? strlen(parent->name) : 0;

    if (!parent)
        return !strchr(v->name, ' ');
    return strncmp(v->name, parent->name, len) == 0 && v->name[len] == ' ';
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct verb *const *)a)->name, (*(const struct verb *const *)b)->name);
}

struct verb_vec verbs_below(const struct verb *parent)
{
    struct verb_vec found = {0};

    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        for (const struct verb *v = tables[i]; v->name; v++)
            if (v->help && is_below(v, parent))
                verb_vec_push(&found, v);
    if (found.len)
        qsort(found.items, found.len, sizeof(*found.items), by_name);
    return found;
}

const char *verb_word(const struct verb *verb)
{
    const char *blank = strchr(verb->name, ' ');

    return blank ? blank + 1 : verb->name;
}

/* Levenshtein's distance, without regard to case; of words of at most 31 letters, longer ones are far away. */
static size_t distance(const char *a, const char *b)
{
    size_t row[32], len = strlen(b);

    if (strlen(a) >= ARRAY_SIZE(row) || len >= ARRAY_SIZE(row))
        return ARRAY_SIZE(row);
    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t above_left = row[0]++;

        for (size_t j = 1; j <= len; j++) {
            bool same = strncasecmp(&a[i - 1], &b[j - 1], 1) == 0;
            size_t best = MIN(MIN(row[j], row[j - 1]) + 1, above_left + !same);

            above_left = row[j];
            row[j] = best;
        }
    }
    return row[len];
}

char *verbs_alike(const char *word)
{
    struct verb_vec all = verbs_below(NULL);
    _cleanup_str_ struct str text = {0};

    VEC_EACH(&all, v)
        if (distance(word, (*v)->name) <= ALIKE || strncasecmp((*v)->name, word, strlen(word)) == 0)
            str_printf(&text, "%s\t%s\n", text.len ? "" : "\n\nDid you mean this?\n", (*v)->name);
    verb_vec_done(&all);
    return str_take(&text);
}

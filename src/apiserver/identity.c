#include "apiserver/identity.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

struct identity *identity_free(struct identity *i)
{
    if (!i)
        return NULL;
    for (size_t k = 0; k < i->n_groups; k++)
        free(i->groups[k]);
    VEC_EACH(&i->extra, e) {
        free(e->key);
        free(e->value);
    }
    identity_extra_done(&i->extra);
    strv_done(&i->audiences);
    free(i->groups);
    free(i->uid);
    free(i->name);
    free(i);
    return NULL;
}

void identity_add_group(struct identity *i, const char *group)
{
    for (size_t k = 0; k < i->n_groups; k++)
        if (streq(i->groups[k], group))
            return;
    i->groups = xrealloc(i->groups, (i->n_groups + 1) * sizeof(*i->groups));
    i->groups[i->n_groups++] = xstrdup(group);
}

void identity_add_extra(struct identity *i, const char *key, const char *value)
{
    identity_extra_push(&i->extra, (struct identity_pair){xstrdup(key), xstrdup(value)});
}

struct identity *identity_new(const char *name, const char *group)
{
    struct identity *i = xnew(struct identity);

    i->name = xstrdup(name);
    if (group)
        identity_add_group(i, group);
    return i;
}

struct identity *identity_copy(const struct identity *from)
{
    struct identity *i = identity_new(from->name, NULL);

    for (size_t k = 0; k < from->n_groups; k++)
        identity_add_group(i, from->groups[k]);
    i->uid = xstrdup(from->uid);
    i->expires_ms = from->expires_ms;
    return i;
}

struct identity *identity_anonymous(void)
{
    return identity_new(USER_ANONYMOUS, GROUP_UNAUTHENTICATED);
}

struct api_user identity_user(const struct identity *i)
{
    return (struct api_user){
        .name = i->name,
        .groups = (const char *const *)i->groups,
        .n_groups = i->n_groups,
        .uid = i->uid,
        .extra = (const struct api_extra *)i->extra.items,
        .n_extra = i->extra.len,
    };
}

void identity_add_account_groups(struct identity *i)
{
    const char *rest = i->name + strlen(ACCOUNT_PREFIX);

    if (!str_starts(i->name, ACCOUNT_PREFIX) || !strchr(rest, ':'))
        return;
    _cleanup_free_ char *group = xasprintf("system:serviceaccounts:%.*s", (int)strcspn(rest, ":"), rest);

    identity_add_group(i, "system:serviceaccounts");
    identity_add_group(i, group);
}

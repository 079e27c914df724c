#include "apiserver/impersonation.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"

#define USER "Impersonate-User"
#define GROUP "Impersonate-Group"
#define UID "Impersonate-Uid"
#define EXTRA "Impersonate-Extra-"

#define AUTHENTICATION "authentication.k8s.io"

static const char *find(const struct api_headers *headers, const char *name)
{
    VEC_EACH(headers, h)
        if (strcasecmp(h->name, name) == 0)
            return h->value;
    return NULL;
}

static bool is_extra(const struct api_header *h)
{
    return strncasecmp(h->name, EXTRA, strlen(EXTRA)) == 0;
}

static bool asks(const struct api_headers *headers)
{
    VEC_EACH(headers, h)
        if (is_extra(h) || strcasecmp(h->name, GROUP) == 0 || strcasecmp(h->name, UID) == 0)
            return true;
    return find(headers, USER) != NULL;
}

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* The attribute's name behind the prefix: header names have no case and few characters, so it is in small letters with
 * the rest percent-encoded. */
static char *extra_key(const char *header)
{
    struct str key = {0};

    for (const char *c = header + strlen(EXTRA); *c; c++) {
        if (*c == '%' && hex(c[1]) >= 0 && hex(c[2]) >= 0) {
            str_putc(&key, (char)(hex(c[1]) * 16 + hex(c[2])));
            c += 2;
        } else {
            str_putc(&key, (char)tolower((unsigned char)*c));
        }
    }
    return str_take(&key);
}

/* --- May he? --- */

struct asker {
    struct rest_server *s;
    const struct api_user *user;
    struct api_subject about; /* what was asked for last */
};

static int may(struct asker *a, const char *group, const char *resource, const char *subresource, const char *namespace,
               const char *name, struct gw_error *err)
{
    const struct rest_target t = {
        .verb = "impersonate",
        .group = group,
        .version = "v1",
        .resource = resource,
        .subresource = subresource,
        .namespace = namespace,
        .name = name,
    };

    a->about = (struct api_subject){.group = group, .resource = resource, .name = name};
    return a->s->authorize ? a->s->authorize(a->s->data, a->user, &t, NULL, NULL, err) : 0;
}

static int may_be_user(struct asker *a, const char *user, struct gw_error *err)
{
    const char *rest = str_starts(user, ACCOUNT_PREFIX) ? user + strlen(ACCOUNT_PREFIX) : "",
               *colon = strchr(rest, ':');
    _cleanup_free_ char *namespace = colon ? xstrndup(rest, (size_t)(colon - rest)) : NULL;

    if (colon)
        return may(a, "", "serviceaccounts", NULL, namespace, colon + 1, err);
    return may(a, "", "users", NULL, NULL, user, err);
}

static int take_header(struct asker *a, const struct api_header *h, struct identity *i, struct gw_error *err)
{
    _cleanup_free_ char *key = NULL;
    int r = 0;

    if (strcasecmp(h->name, GROUP) == 0) {
        r = may(a, "", "groups", NULL, NULL, h->value, err);
        identity_add_group(i, h->value);
    } else if (strcasecmp(h->name, UID) == 0) {
        r = may(a, AUTHENTICATION, "uids", NULL, NULL, h->value, err);
        free(i->uid);
        i->uid = xstrdup(h->value);
    } else if (is_extra(h)) {
        key = extra_key(h->name);
        r = may(a, AUTHENTICATION, "userextras", key, NULL, h->value, err);
        identity_add_extra(i, key, h->value);
    }
    return r;
}

int impersonation_apply(struct rest_server *s, const struct api_user *who, const struct api_headers *headers,
                        struct identity **ret, struct api_subject *ret_about, struct gw_error *err)
{
    struct asker a = {.s = s, .user = who};
    const char *user = find(headers, USER);
    _cleanup_identity_ struct identity *i = NULL;
    int r;

    *ret = NULL;
    if (!asks(headers))
        return 0;
    if (!user || !*user)
        return gw_error_set(err, GW_BAD_REQUEST, "groups, uid or attributes can only be impersonated with a user");
    i = identity_new(user, NULL);
    r = may_be_user(&a, user, err);
    VEC_EACH(headers, h)
        r = r < 0 ? r : take_header(&a, h, i, err);
    *ret_about = a.about;
    if (r < 0)
        return r;
    if (i->n_groups == 0)
        identity_add_account_groups(i);
    identity_add_group(i, streq(user, USER_ANONYMOUS) ? GROUP_UNAUTHENTICATED : GROUP_AUTHENTICATED);
    *ret = TAKE_PTR(i);
    return 0;
}

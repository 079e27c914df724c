/* Who is not ready for the next step of a roll-over. */
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "base/alloc.h"
#include "server/authorities_internal.h"

#define SAYS "godwit.io/authorities"

void authorities_append(void *str, const char *what, const char *name, const char *why)
{
    struct str *s = str;
    _cleanup_free_ char *text = xasprintf("%s%s %s: %s", s->len ? "; " : "", what, name, why);

    str_add(s, text, strlen(text));
}

/* Calls fn for each object of a kind, until it returns true. */
static void each(struct rest_server *rest, const char *group, const char *kind_name,
                 bool (*fn)(void *userdata, yyjson_val *object), void *userdata)
{
    const struct kind *kind = kinds_find_kind(rest->kinds, group, NULL, kind_name);
    _cleanup_store_list_ struct store_list list = {0};

    if (!kind || store_list(rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.len; i++) {
        const struct blob *b = list.items[i].value;
        _cleanup_doc_ yyjson_doc *doc = NULL;

        if (object_load("v1", kind->kind, list.items[i].revision, b->data, b->len, &doc, NULL) == 0 &&
            fn(userdata, yyjson_doc_get_root(doc)))
            return;
    }
}

/* --- Migrations --- */

struct wanted {
    const char *uid;
    int64_t since_ms;
    bool later;
};

static bool find_migration(void *userdata, yyjson_val *migration)
{
    struct wanted *w = userdata;

    if (!streq(meta_uid(migration), w->uid))
        return false;
    w->later = meta_created(migration) / 1000 > w->since_ms / 1000; /* objects know whole seconds */
    return true;
}

bool authorities_began_since(struct rest_server *rest, const char *migration_uid, int64_t since_ms)
{
    struct wanted w = {migration_uid, since_ms, false};

    each(rest, "kubevirt.io", "VirtualMachineInstanceMigration", find_migration, &w);
    return w.later;
}

struct waiting {
    struct authorities *a;
    const struct authority *one;
    const char *newest; /* fingerprint */
    authorities_wait_fn fn;
    void *userdata;
};

/* Until a migration is over its grant may have to be proved by the certificate of its source. */
static bool look_at_vmi(void *userdata, yyjson_val *vmi)
{
    struct waiting *w = userdata;
    yyjson_val *m = json_at(vmi, "/status/migrationState");
    const char *uid = json_str_or(m, "/migrationUid", "");

    if (*uid && !json_bool(m, "/completed", false) &&
        !authorities_began_since(w->a->rest, uid, pki_authority_now(w->one->authority)->since_ms)) {
        _cleanup_free_ char *name = xasprintf("%s/%s", meta_namespace(vmi), meta_name(vmi));

        w->fn(w->userdata, "virtualmachineinstance", name,
              "its migration began before the new authority signed and is not over");
    }
    return false;
}

/* --- Agents --- */

static bool has(yyjson_val *list, const char *fingerprint)
{
    return json_find(list, "", fingerprint) != NULL;
}

static bool is_silent(yyjson_val *node)
{
    return json_find(json_at(node, "/spec/taints"), "/key", "node.kubernetes.io/unreachable") != NULL;
}

static const char *not_ready(const struct waiting *w, yyjson_val *says)
{
    bool renewing = pki_authority_now(w->one->authority)->phase == PKI_RENEWING,
         cluster = w->one == &w->a->each[CLUSTER];

    if (!says)
        return "its agent does not say which authorities it trusts";
    if (!has(json_at(says, cluster ? "/cluster" : "/migration"), w->newest))
        return "its agent does not trust the new authority yet";
    if (!renewing || !cluster)
        return NULL;
    if (!streq(json_str_or(says, "/client", ""), w->newest))
        return "its agent's client certificate is of the old authority";
    if (!streq(json_str_or(says, "/serving", ""), w->newest))
        return "its agent's serving certificate is of the old authority";
    return NULL;
}

static bool look_at_node(void *userdata, yyjson_val *node)
{
    struct waiting *w = userdata;
    const char *text = meta_annotation(node, SAYS), *why;
    _cleanup_doc_ yyjson_doc *says = NULL;

    if (text)
        (void)json_parse(text, strlen(text), &says, NULL);
    why = not_ready(w, yyjson_doc_get_root(says));
    if (!why)
        return false;
    _cleanup_free_ char *more =
        is_silent(node) ? xasprintf("%s, and it is silent: start it, or delete the Node if it is gone for good", why)
                        : xstrdup(why);
    w->fn(w->userdata, "node", meta_name(node), more);
    return false;
}

void authorities_waiting(struct authorities *a, const struct authority *one, authorities_wait_fn fn, void *userdata)
{
    const struct pki_authority_state *now = pki_authority_now(one->authority);
    _cleanup_pki_info_ struct pki_info newest = {0};
    struct waiting w = {a, one, newest.fingerprint, fn, userdata};

    if (now->phase == PKI_STABLE || pki_cert_read(pki_ca_cert_pem(now->newest), &newest, NULL) < 0)
        return;
    each(a->rest, "", "Node", look_at_node, &w);
    if (now->phase == PKI_RENEWING && one == &a->each[MIGRATION])
        each(a->rest, "kubevirt.io", "VirtualMachineInstance", look_at_vmi, &w);
}

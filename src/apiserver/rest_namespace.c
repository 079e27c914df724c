/* Namespaces and what is in them. Nothing comes into one that ends, and none goes before what is in it: controllers
 * judge by caches, which may not have heard of an object that was made a moment ago. Both are settled by the store. */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/rest_call.h"

static int not_found(struct rest_call *c, const char *name, struct gw_error *err)
{
    rest_about(c, name);
    c->about.group = "";
    c->about.resource = "namespaces";
    gw_error_set(err, GW_NOT_FOUND, "namespaces \"%s\" not found", name);
    return -ENOENT;
}

int rest_namespace_takes(struct rest_call *c, struct store_facts *facts, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(c->server->kinds, "", NULL, "Namespace");
    const char *name = c->target.namespace;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    store_facts_clear(facts);
    if (!call_kind(c)->namespaced)
        return 0;
    if (!kind || authz_read(c->server, facts, kind, NULL, name, &doc) < 0 || !doc)
        return not_found(c, name, err);
    if (!meta_deleting(yyjson_doc_get_root(doc)))
        return 0;
    gw_error_add_cause(err, "NamespaceTerminating", "metadata.namespace", "namespace %s is being terminated", name);
    return gw_error_set(
        err, GW_FORBIDDEN,
        "%s \"%s\" is forbidden: unable to create new content in namespace %s because it is being terminated",
        call_kind(c)->resource, c->about.name ? c->about.name : "", name);
}

/* Of an event nothing depends; it ends by itself. */
static bool holds(const struct kind *kind)
{
    return kind->namespaced && kind->stored && !kind->view_of &&
           !(streq(kind->group, "") && streq(kind->kind, "Event"));
}

static int has_none(struct rest_call *c, const struct kind *kind, const char *name, struct gw_error *err)
{
    _cleanup_free_ char *prefix = xasprintf("%s%s/", kind->prefix, name);
    _cleanup_store_list_ struct store_list list = {0};
    int r = store_list(c->server->store, &(struct store_list_options){.prefix = prefix, .limit = 1}, &list, err);

    if (r < 0 || !list.len)
        return r;
    gw_error_set(err, GW_CONFLICT, "namespace \"%s\" still holds %s \"%s\"", name, kind->resource,
                 list.items[0].key + strlen(prefix));
    return -EBUSY;
}

int rest_namespace_is_empty(struct rest_call *c, const char *name, struct gw_error *err)
{
    struct kind_vec kinds = {0};
    int r = 0;

    kinds_list(c->server->kinds, &kinds);
    for (size_t i = 0; i < kinds.len && r == 0; i++)
        r = holds(kinds.items[i]) ? has_none(c, kinds.items[i], name, err) : 0;
    kind_vec_done(&kinds);
    return r;
}

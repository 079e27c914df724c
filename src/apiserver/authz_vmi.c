/* The fields of a VMI: ownership.h with what it needs to know of other objects. */
#include <errno.h>
#include <stdlib.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/ownership.h"
#include "pki/authority.h"

bool authz_is_vmi(const struct rest_target *target)
{
    return streq(target->group, "kubevirt.io") && streq(target->resource, "virtualmachineinstances");
}

int authz_read(struct rest_server *s, struct store_facts *facts, const struct kind *kind, const char *ns,
               const char *name, yyjson_doc **ret)
{
    int r = rest_read(s, kind, ns, name, ret, NULL);

    if (r < 0 && r != -ENOENT)
        return r;
    if (facts)
        store_facts_push(
            facts, (struct store_fact){
                       .key = kind_key(kind, ns, name),
                       .revision = r == 0 ? strtoll(meta_version(yyjson_doc_get_root(*ret)), NULL, 10) : STORE_ABSENT,
                   });
    return 0;
}

/* What the rules looked up: kept until they have answered. */
struct witness {
    struct rest_server *s;
    struct store_facts *facts;
    struct doc_vec docs;
};

static int read_stored(void *data, const char *kind_name, const char *ns, const char *name, yyjson_val **ret)
{
    struct witness *w = data;
    yyjson_doc *doc = NULL;
    int r = authz_read(w->s, w->facts, kinds_find_kind(w->s->kinds, "", NULL, kind_name), ns, name, &doc);

    if (doc)
        doc_vec_push(&w->docs, doc);
    *ret = yyjson_doc_get_root(doc);
    return r;
}

int authz_check_vmi(struct rest_server *s, const char *node, const struct api_user *user,
                    const struct rest_target *target, yyjson_val *old, yyjson_val *object, struct gw_error *err)
{
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    struct witness w = {.s = s, .facts = target->facts};
    const struct ownership o = {
        .node = node,
        .pod_here = node && !json_str(old, "/status/nodeName") && authz_has_pod(s, node, old),
        .migration_trust = s->migration_authority ? pki_authority_now(s->migration_authority)->trust : NULL,
        .wall_ms = s->now(s->data),
        .read = read_stored,
        .data = &w,
    };
    int r = ownership_check(&o, old, object, &fault);

    VEC_EACH(&w.docs, doc)
        yyjson_doc_free(*doc);
    doc_vec_done(&w.docs);
    if (r < 0)
        return rest_forbid(user, target, gw_error_message(&fault), err);
    return 0;
}

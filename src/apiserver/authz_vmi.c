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

/* What the rules looked up: kept until they have answered, and noted as what the write rests on. */
struct witness {
    struct rest_server *s;
    struct store_facts *facts;
    struct doc_vec docs;
};

static void note_fact(struct witness *w, const struct kind *kind, const char *ns, const char *name, yyjson_val *object)
{
    if (w->facts)
        store_facts_push(
            w->facts, (struct store_fact){.key = kind_key(kind, ns, name),
                                          .revision = object ? strtoll(meta_version(object), NULL, 10) : STORE_ABSENT});
}

static int read_stored(void *data, const char *kind_name, const char *ns, const char *name, yyjson_val **ret)
{
    struct witness *w = data;
    const struct kind *kind = kinds_find_kind(w->s->kinds, "", NULL, kind_name);
    yyjson_doc *doc = NULL;
    int r = kind ? rest_read(w->s, kind, ns, name, &doc, NULL) : -EINVAL;

    if (r < 0 && r != -ENOENT)
        return r;
    if (doc)
        doc_vec_push(&w->docs, doc);
    *ret = yyjson_doc_get_root(doc);
    note_fact(w, kind, ns, name, *ret);
    return 0;
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

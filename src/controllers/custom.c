/* The kinds that users define: a cache for each CustomResourceDefinition that is served, made and given up as
 * definitions come and go, with the handlers of those controllers that want them (struct controller, custom).
 *
 * When a definition goes, its objects are told to be gone, whatever was heard of them; what depends on one of them then
 * asks the server and finds neither object nor kind. */
#include "base/alloc.h"
#include "base/log.h"
#include "controllers/frame.h"

const struct controller_watch custom_definitions = {
    .resource = &API_CRDS, .silent = true, .keep = (const char *const[]){"/spec", "/status/conditions", NULL}};

/* --- definitions --- */

static const char *served_version(yyjson_val *crd)
{
    yyjson_val *version;

    json_each(json_at(crd, "/spec/versions"), version)
        if (json_bool(version, "/served", false))
            return json_str(version, "/name");
    return NULL;
}

/* The resource that a definition makes; false if it makes none (now). Strings are the definition's. */
static bool read_definition(yyjson_val *crd, struct api_resource *ret)
{
    *ret = (struct api_resource){
        .group = json_str(crd, "/spec/group"),
        .version = served_version(crd),
        .plural = json_str(crd, "/spec/names/plural"),
        .kind = json_str(crd, "/spec/names/kind"),
        .namespaced = streq(json_str_or(crd, "/spec/scope", ""), "Namespaced"),
    };
    return ret->group && ret->version && ret->plural && ret->kind && condition_true(crd, "Established") &&
           !api_resource_find(ret->group, ret->kind);
}

static bool same(const struct api_resource *a, const struct api_resource *b)
{
    return api_resource_is(a, b->group, b->kind) && streq(a->version, b->version) && streq(a->plural, b->plural) &&
           a->namespaced == b->namespaced;
}

static struct custom_kind *kind_of(struct controllers *cs, const struct api_resource *wanted)
{
    VEC_EACH(&cs->custom, c)
        if (same(&(*c)->resource, wanted))
            return *c;
    struct custom_kind *c = xnew(struct custom_kind);
    c->resource = (struct api_resource){.group = xstrdup(wanted->group),
                                        .version = xstrdup(wanted->version),
                                        .plural = xstrdup(wanted->plural),
                                        .kind = xstrdup(wanted->kind),
                                        .namespaced = wanted->namespaced};
    custom_vec_push(&cs->custom, c);
    return c;
}

/* --- caches --- */

static void add_links(struct controllers *cs, struct custom_kind *c)
{
    VEC_EACH(&cs->running, r) {
        const struct controller_watch *w = (*r)->controller->custom;
        for (const struct informer_index *i = w ? w->indexes : NULL; i && i->name; i++)
            informer_add_index(c->informer, i->name, i->fn);
        if (!w || w->silent)
            continue;
        struct link *l = xnew(struct link);
        *l = (struct link){.running = *r, .watch = w};
        link_vec_push(&cs->links, l);
        informer_add_handler(c->informer, link_changed, l);
    }
}

static void begin(struct controllers *cs, struct custom_kind *c)
{
    static const char *const keep[] = {NULL}; /* metadata only */

    if (c->informer)
        return;
    log_debug("controllers: follow %s.%s", c->resource.plural, c->resource.group);
    c->informer = informer_new(cs->env, &(struct informer_config){.resource = &c->resource, .keep = keep});
    add_links(cs, c);
}

static void tell_gone(struct controllers *cs, struct informer *inf)
{
    const char *key;
    yyjson_val *obj;

    VEC_EACH(&cs->running, r) {
        struct link l = {.running = *r, .watch = (*r)->controller->custom};
        for (size_t at = 0; l.watch && !l.watch->silent && informer_next(inf, &at, &key, &obj);)
            link_changed(&l, key, obj, NULL);
    }
}

static void end(struct controllers *cs, struct custom_kind *c)
{
    struct informer *inf = c->informer;

    log_debug("controllers: %s.%s is served no longer", c->resource.plural, c->resource.group);
    c->informer = NULL;
    tell_gone(cs, inf);
    informer_free(inf);
}

static void on_definition(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct controllers *cs = userdata;
    struct api_resource before, now;
    struct custom_kind *was = old && read_definition(old, &before) ? kind_of(cs, &before) : NULL;
    struct custom_kind *is_now = obj && read_definition(obj, &now) ? kind_of(cs, &now) : NULL;

    if (was && was != is_now && was->informer)
        end(cs, was);
    if (is_now)
        begin(cs, is_now);
}

bool custom_wanted(const struct controller *const *table)
{
    for (; *table; table++)
        if ((*table)->custom)
            return true;
    return false;
}

void custom_start(struct controllers *cs)
{
    VEC_EACH(&cs->running, r)
        if ((*r)->controller->custom) {
            informer_add_handler(controllers_informer(cs, &API_CRDS), on_definition, cs);
            return;
        }
}

static void custom_free(struct custom_kind *c)
{
    informer_free(c->informer);
    free((char *)c->resource.group);
    free((char *)c->resource.version);
    free((char *)c->resource.plural);
    free((char *)c->resource.kind);
    free(c);
}

void custom_stop(struct controllers *cs)
{
    VEC_EACH(&cs->custom, c)
        custom_free(*c);
    cs->custom.len = 0;
}

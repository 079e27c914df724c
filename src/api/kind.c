#include "api/kind.h"

#include <pthread.h>
#include <string.h>

#include "api/embedded.h"
#include "api/kind_read.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

struct kinds {
    pthread_rwlock_t lock;
    struct kind_vec all;     /* the live ones, sorted by group and plural */
    struct kind_vec retired; /* removed or replaced, still valid */
    struct map *defs;        /* shared types: name -> yyjson_doc */
    struct schema_set *schemas;
    uint64_t generation;
};

static void doc_free(void *doc)
{
    yyjson_doc_free(doc);
}

static const struct embedded_file *embedded_find(const char *name)
{
    for (const struct embedded_file *f = embedded_kinds; f->name; f++)
        if (streq(f->name, name))
            return f;
    return NULL;
}

/* A shared type is parsed when it is first used; a fault in it shows as a type that does not exist. */
static yyjson_val *resolve_def(void *data, const char *name)
{
    struct kinds *k = data;
    yyjson_doc *doc = map_get(k->defs, name);

    if (!doc) {
        _cleanup_free_ char *path = xasprintf("defs/%s.yaml", name);
        const struct embedded_file *f = embedded_find(path);
        if (!f || yaml_parse(f->start, (size_t)(f->end - f->start), &doc, NULL) < 0)
            return NULL;
        map_put(k->defs, name, doc);
    }
    return yyjson_doc_get_root(doc);
}

struct kinds *kinds_new_empty(void)
{
    struct kinds *k = xnew(struct kinds);

    pthread_rwlock_init(&k->lock, NULL);
    k->defs = map_new(doc_free);
    k->schemas = schema_set_new(resolve_def, k);
    return k;
}

int kinds_new(struct kinds **ret, struct gw_error *err)
{
    _cleanup_(kinds_freep) struct kinds *k = kinds_new_empty();
    int rc;

    for (const struct embedded_file *f = embedded_kinds; f->name; f++)
        if (!strchr(f->name, '/') && /* neither a shared type nor an object */
            (rc = kinds_add_yaml(k, f->name, f->start, (size_t)(f->end - f->start), err)) < 0)
            return rc;
    *ret = TAKE_PTR(k);
    return 0;
}

struct kinds *kinds_free(struct kinds *k)
{
    if (!k)
        return NULL;
    VEC_EACH(&k->all, kind)
        kind_free((struct kind *)*kind);
    VEC_EACH(&k->retired, kind)
        kind_free((struct kind *)*kind);
    kind_vec_done(&k->all);
    kind_vec_done(&k->retired);
    schema_set_free(k->schemas);
    map_free(k->defs);
    pthread_rwlock_destroy(&k->lock);
    free(k);
    return NULL;
}

static int order(const struct kind *kind, const char *group, const char *plural)
{
    int by_group = strcmp(kind->group, group);

    return by_group ? by_group : strcmp(kind->plural, plural);
}

/* Under the write lock: the place of a kind in `all`, or where it would be. */
static size_t place_of(const struct kinds *k, const char *group, const char *plural, bool *ret_found)
{
    size_t i = 0;

    while (i < k->all.len && order(k->all.items[i], group, plural) < 0)
        i++;
    *ret_found = i < k->all.len && order(k->all.items[i], group, plural) == 0;
    return i;
}

static void insert(struct kinds *k, const struct kind *kind)
{
    bool found;
    size_t at = place_of(k, kind->group, kind->plural, &found);

    if (found) {
        kind_vec_push(&k->retired, k->all.items[at]);
        k->all.items[at] = kind;
    } else {
        kind_vec_push(&k->all, kind);
        memmove(k->all.items + at + 1, k->all.items + at, (k->all.len - 1 - at) * sizeof(*k->all.items));
        k->all.items[at] = kind;
    }
    k->generation++;
}

int kinds_add_json(struct kinds *k, const char *name, yyjson_val *file, struct gw_error *err)
{
    _cleanup_(kind_freep) struct kind *kind = NULL;
    int rc = kind_read(file, &kind, err);

    if (rc < 0)
        return gw_error_wrap(err, rc, "%s", name);
    pthread_rwlock_wrlock(&k->lock);
    rc = schema_compile(k->schemas, kind_schema_source(kind), &kind->schema, err);
    if (rc == 0)
        insert(k, TAKE_PTR(kind));
    pthread_rwlock_unlock(&k->lock);
    return rc < 0 ? gw_error_wrap(err, rc, "%s", name) : 0;
}

int kinds_add_yaml(struct kinds *k, const char *name, const void *text, size_t len, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int rc = yaml_parse(text, len, &doc, err);

    return rc < 0 ? gw_error_wrap(err, rc, "%s", name) : kinds_add_json(k, name, yyjson_doc_get_root(doc), err);
}

bool kinds_remove(struct kinds *k, const char *group, const char *plural)
{
    bool found;

    pthread_rwlock_wrlock(&k->lock);
    size_t at = place_of(k, group, plural, &found);
    if (found) {
        kind_vec_push(&k->retired, k->all.items[at]);
        kind_vec_remove(&k->all, at);
        k->generation++;
    }
    pthread_rwlock_unlock(&k->lock);
    return found;
}

static bool serves(const struct kind *kind, const char *version)
{
    return !version || kind_version(kind, version);
}

const struct kind *kinds_find(struct kinds *k, const char *group, const char *version, const char *plural)
{
    const struct kind *kind = NULL;
    size_t low = 0;

    pthread_rwlock_rdlock(&k->lock);
    for (size_t high = k->all.len; low < high && !kind;) {
        size_t middle = (low + high) / 2;
        int o = order(k->all.items[middle], group, plural);
        if (o == 0)
            kind = k->all.items[middle];
        else if (o < 0)
            low = middle + 1;
        else
            high = middle;
    }
    pthread_rwlock_unlock(&k->lock);
    return kind && serves(kind, version) ? kind : NULL;
}

const struct kind *kinds_find_kind(struct kinds *k, const char *group, const char *version, const char *kind)
{
    const struct kind *found = NULL;

    pthread_rwlock_rdlock(&k->lock);
    VEC_EACH(&k->all, it)
        if (streq((*it)->kind, kind) && streq((*it)->group, group) && serves(*it, version)) {
            found = *it;
            break;
        }
    pthread_rwlock_unlock(&k->lock);
    return found;
}

const struct kind *kinds_find_object(struct kinds *k, const char *api_version, const char *kind)
{
    const char *slash = strchr(api_version, '/');
    _cleanup_free_ char *group = slash ? xstrndup(api_version, (size_t)(slash - api_version)) : xstrdup("");

    return kinds_find_kind(k, group, slash ? slash + 1 : api_version, kind);
}

void kinds_list(struct kinds *k, struct kind_vec *ret)
{
    *ret = (struct kind_vec){0};
    pthread_rwlock_rdlock(&k->lock);
    VEC_EACH(&k->all, kind)
        kind_vec_push(ret, *kind);
    pthread_rwlock_unlock(&k->lock);
}

uint64_t kinds_generation(struct kinds *k)
{
    uint64_t generation;

    pthread_rwlock_rdlock(&k->lock);
    generation = k->generation;
    pthread_rwlock_unlock(&k->lock);
    return generation;
}

/* What reconcile reads: the caches of its controller, the time, how its last run failed. */
#include "base/map.h"
#include "controllers/task_internal.h"

struct env *task_env(struct task *t)
{
    return t->running->all->env;
}

void *task_state(struct task *t)
{
    return t->running->state;
}

const void *task_options(struct task *t)
{
    return t->running->controller->options;
}

int64_t task_now_ms(struct task *t)
{
    return env_now(task_env(t));
}

int64_t task_wall_ms(struct task *t)
{
    return env_wall_ms(task_env(t));
}

const struct api_resource *task_next_resource(struct task *t, size_t *at)
{
    return running_next_resource(t->running, at);
}

const struct api_resource *task_resource(struct task *t, const char *group, const char *kind)
{
    return running_resource(t->running, group, kind);
}

struct informer *task_informer(struct task *t, const struct api_resource *r)
{
    return running_informer(t->running, r);
}

bool task_has_synced(struct task *t, const struct api_resource *r)
{
    struct informer *inf = task_informer(t, r);

    return !inf || informer_has_synced(inf);
}

yyjson_val *task_get(struct task *t, const struct api_resource *r, const char *key)
{
    struct informer *inf = task_informer(t, r);

    return inf ? informer_get(inf, key) : NULL;
}

yyjson_val *task_get_ns(struct task *t, const struct api_resource *r, const char *ns, const char *name)
{
    struct informer *inf = task_informer(t, r);

    return inf ? informer_get_ns(inf, ns, name) : NULL;
}

void task_select(struct task *t, const struct api_resource *r, const char *index, const char *value,
                 struct val_vec *ret)
{
    struct informer *inf = task_informer(t, r);

    if (inf)
        informer_select(inf, index, value, ret);
}

const struct gw_error *task_error(struct task *t)
{
    return map_get(t->running->errors, t->key);
}

unsigned task_failures(struct task *t)
{
    return workqueue_failures(t->running->queue, t->key);
}

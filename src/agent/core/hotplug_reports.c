/* What there is to say about volumes that come and go, for volumeStatus and events, and when a failed try is made
 * again. */
#include "agent/core/vm_hotplug.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

#define RETRY_FIRST_MS 300
#define RETRY_MAX_MS 30000

struct volume_report *hotplug_report_find(const struct vm *vm, const char *name)
{
    VEC_EACH(&vm->hotplug.reports, r)
        if (streq(r->name, name))
            return r;
    return NULL;
}

struct volume_report *hotplug_report(struct vm *vm, const char *name)
{
    if (hotplug_report_find(vm, name))
        return hotplug_report_find(vm, name);
    volume_report_vec_push(&vm->hotplug.reports, (struct volume_report){.name = xstrdup(name)});
    return &vm->hotplug.reports.items[vm->hotplug.reports.len - 1];
}

static void free_report(struct volume_report *r)
{
    free(r->name);
    free(r->reason);
    free(r->message);
}

void hotplug_report_drop(struct vm *vm, const char *name)
{
    struct volume_report_vec *all = &vm->hotplug.reports;

    for (size_t i = 0; i < all->len; i++)
        if (streq(all->items[i].name, name)) {
            free_report(&all->items[i]);
            volume_report_vec_remove(all, i);
            return;
        }
}

/* NULL: nothing in particular. */
void hotplug_say(struct vm *vm, const char *name, const char *reason, const char *message)
{
    struct volume_report *r = hotplug_report(vm, name);

    if (str_same(r->reason, reason) && str_same(r->message, message))
        return;
    free(r->reason);
    free(r->message);
    r->reason = xstrdup(reason);
    r->message = xstrdup(message);
    vm_touch(vm);
}

static void again(void *userdata)
{
    struct vm *vm = userdata;

    vm->hotplug.timer = NULL;
    vm_kick(vm);
}

void hotplug_look_again(struct vm *vm, int64_t ms)
{
    env_timer_cancel(vm->core->agent->env, &vm->hotplug.timer);
    vm->hotplug.timer = env_timer(vm->core->agent->env, ms, again, vm);
}

/* A try that failed is tried again, later each time. */
void hotplug_say_failed(struct vm *vm, const char *name, const char *reason, const char *message)
{
    struct volume_report *r = hotplug_report(vm, name);
    bool news = !str_same(r->message, message);

    r->failures++;
    int64_t pause = env_backoff(vm->core->agent->env, r->failures, RETRY_FIRST_MS, RETRY_MAX_MS);
    r->again_ms = env_now(vm->core->agent->env) + pause;
    hotplug_look_again(vm, pause);
    if (news)
        log_warn("pod %s/%s: volume %s: %s: %s", vm->pod.ns, vm->pod.name, name, reason, message);
    if (news)
        pod_event(&vm->pod, EVENT_WARNING, reason, "%s", message);
    hotplug_say(vm, name, reason, message);
}

/* What was waited for is not wanted any more. */
void hotplug_reports_sweep(struct vm *vm)
{
    struct volume_report_vec *all = &vm->hotplug.reports;

    for (size_t i = all->len; i-- > 0;)
        if (!disk_find(&vm->pod.disks, all->items[i].name) &&
            !spec_hot_volume(json_at(yyjson_doc_get_root(vm->pod.vmi), "/spec"), all->items[i].name)) {
            free_report(&all->items[i]);
            volume_report_vec_remove(all, i);
            vm_touch(vm);
        }
}

void hotplug_reports_done(struct vm *vm)
{
    VEC_EACH(&vm->hotplug.reports, r)
        free_report(r);
    volume_report_vec_done(&vm->hotplug.reports);
}

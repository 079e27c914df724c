/* One launcher pod of a fleet: chance, its guest, its writes. */
#include "fleet_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"

bool fleet_chance(struct fleet *f, int per_mille)
{
    return per_mille && (int)(env_random(f->env) % 1000) < per_mille;
}

int64_t fleet_between(struct fleet *f, int64_t from, int64_t to)
{
    return from + (int64_t)(env_random(f->env) % (uint64_t)(to - from + 1));
}

void member_kick(struct member *m, int64_t ms)
{
    if (!m->timer)
        m->timer = env_timer(m->f->env, ms, member_tick, m);
}

bool member_runs(const struct member *m)
{
    return map_get(m->f->runs, m->vmi_uid) == m;
}

void member_set_runs(struct member *m, bool runs)
{
    struct member *other = map_get(m->f->runs, m->vmi_uid);

    if (runs && other && other != m)
        fail_msg("%s runs in %s and in %s", m->vmi_key, other->name, m->name);
    if (runs)
        map_put(m->f->runs, m->vmi_uid, m);
    else if (other == m)
        map_remove(m->f->runs, m->vmi_uid);
}

void member_kill_qemu(struct member *m)
{
    m->alive = false;
    m->waiting = WAITING_DEAD;
    member_set_runs(m, false);
}

/* --- writes --- */

void member_written(void *userdata, struct api_answer *answer)
{
    struct member *m = userdata;

    m->busy = false;
    member_kick(m, answer->err ? fleet_between(m->f, 100, 1000) : fleet_between(m->f, 1, 20));
}

yyjson_mut_doc *member_parse(const char *text)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0);

    assert_non_null(doc);
    return yyjson_doc_mut_copy(doc, NULL);
}

void member_patch_pod(struct member *m, const char *fmt, ...)
{
    char ns[OBJECT_KEY_MAX], name[OBJECT_KEY_MAX], text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = member_parse(text);
    object_key_split(m->key, ns, name);
    m->busy = true;
    api_patch(m->f->env->client, &API_PODS, ns, name, "status", API_PATCH_MERGE, patch, member_written, m);
}

/* In the real system the server refuses what an agent writes for a past epoch; here the version does. */
void member_patch_vmi(struct member *m, yyjson_val *vmi, yyjson_mut_doc *patch)
{
    json_set_str(patch, "/metadata/resourceVersion", meta_version(vmi));
    m->busy = true;
    api_patch(m->f->env->client, &API_VIRTUALMACHINEINSTANCES, meta_namespace(vmi), meta_name(vmi), NULL, API_PATCH_MERGE, patch,
              member_written, m);
    yyjson_mut_doc_free(patch);
}

void member_patch_state(struct member *m, yyjson_val *vmi, const char *fmt, ...)
{
    char inner[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(inner, sizeof(inner), fmt, ap);
    va_end(ap);
    _cleanup_free_ char *text = xasprintf("{\"status\":{\"migrationState\":%s}}", inner);
    member_patch_vmi(m, vmi, member_parse(text));
}

void member_end_vmi(struct member *m, yyjson_val *vmi, const char *phase)
{
    _cleanup_free_ char *text = xasprintf("{\"status\":{\"phase\":\"%s\"}}", phase);

    member_patch_vmi(m, vmi, member_parse(text));
}

void member_finish(struct member *m, const char *phase)
{
    member_kill_qemu(m);
    m->end = phase;
    member_patch_pod(m, "{\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}", phase);
}

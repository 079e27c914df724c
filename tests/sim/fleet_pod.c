/* The life of a launcher pod: bound, started, told of, ended. */
#include "fleet_internal.h"

#include <stdio.h>

#include "base/str.h"

static void bind_pod(struct member *m)
{
    _cleanup_val_vec_ struct val_vec others = {0};
    char ns[OBJECT_KEY_MAX], name[OBJECT_KEY_MAX], node[16];

    int64_t pick = fleet_between(m->f, 0, m->f->cfg.nodes - 1);

    if (m->f->cordoned[pick]) {
        member_kick(m, 1);
        return;
    }
    informer_select(m->f->pods, INDEX_OWNER, m->vmi_uid, &others);
    snprintf(node, sizeof(node), "n%03d", (int)pick);
    VEC_EACH(&others, pod)
        if (streq(json_str_or(*pod, "/spec/nodeName", ""), node)) {
            member_kick(m, 1);
            return;
        }
    _cleanup_mut_doc_ yyjson_mut_doc *binding = json_object();
    json_set_str(binding, "/target/kind", "Node");
    json_set_str(binding, "/target/name", node);
    object_key_split(m->key, ns, name);
    m->busy = true;
    api_create_sub(m->f->env->client, &API_PODS, ns, name, "binding", binding, member_written, m);
}

/* --- its life --- */

static void tell_running(struct member *m)
{
    member_patch_pod(m, "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
}

static void start_pod(struct member *m)
{
    if (m->target && fleet_chance(m->f, m->f->cfg.target_fails)) {
        member_finish(m, "Failed");
        return;
    }
    m->up = m->alive = true;
    m->waiting = WAITING_IDLE;
    tell_running(m);
}

/* The first pod of a VM starts its guest. True if it had to. */
static bool start_guest(struct member *m, yyjson_val *vmi, yyjson_val *pod)
{
    if (m->target || streq(json_str_or(vmi, "/status/phase", ""), "Running") || !streq(json_str_or(vmi, "/status/phase", ""), "Scheduling"))
        return false;
    member_set_runs(m, true);
    yyjson_mut_doc *patch = member_parse("{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},"
                                  "{\"type\":\"LiveMigratable\",\"status\":\"True\"}]}}");
    json_set_str(patch, "/status/nodeName", json_str(pod, "/spec/nodeName"));
    member_patch_vmi(m, vmi, patch);
    return true;
}

static void forget_memory(struct member *m)
{
    m->f->restarts++;
    m->direct = m->given_up = false;
    m->cont_sent = m->note == NOTE_CLAIMED;
}

static void deleted(void *userdata, struct api_answer *answer)
{
    member_written(userdata, answer);
}

static void look(struct member *m, yyjson_val *pod)
{
    yyjson_val *vmi = informer_get(m->f->vmis, m->vmi_key);

    if (!json_str(pod, "/spec/nodeName")) {
        bind_pod(m);
    } else if (m->end && !streq(json_str_or(pod, "/status/phase", ""), m->end)) {
        member_finish(m, m->end);
    } else if (m->end) {
        if (!meta_deleting(pod))
            return;
        m->busy = true;
        api_delete_now(m->f->env->client, &API_PODS, meta_namespace(pod), m->name, m->uid, deleted, m);
    } else if (!m->up) {
        if (meta_deleting(pod))
            member_finish(m, "Failed");
        else
            start_pod(m);
    } else if (streq(json_str_or(pod, "/status/phase", ""), "Pending")) {
        tell_running(m);
    } else if (!vmi || !streq(meta_uid(vmi), m->vmi_uid)) {
        member_finish(m, "Failed");
    } else {
        if (fleet_chance(m->f, m->f->cfg.agent_restarts))
            forget_memory(m);
        if (!member_migrate(m, vmi, pod) && !start_guest(m, vmi, pod) && meta_deleting(pod))
            member_finish(m, "Succeeded");
    }
}

void member_tick(void *userdata)
{
    struct member *m = userdata;
    yyjson_val *pod = informer_get(m->f->pods, m->key);

    m->timer = NULL;
    if (!pod || !streq(meta_uid(pod), m->uid)) {
        member_kill_qemu(m);
        return;
    }
    if (!m->busy)
        look(m, pod);
}

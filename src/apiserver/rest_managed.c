/* metadata.managedFields of objects that are written (docs/decisions/0007-managed-fields.md: which ones, and why). */
#include <string.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/rest_call.h"
#include "base/clock.h"

#define FIELD "/metadata/managedFields"
#define MANAGER_MAX 128

static bool is_manager(const char *name)
{
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ')
            return false;
    return strlen(name) <= MANAGER_MAX;
}

/* "kubectl/v1.32.3 (linux/amd64)" -> "kubectl" */
static char *manager_of_agent(const char *agent)
{
    char *name = xstrndup(agent ? agent : "", agent ? MIN(strcspn(agent, "/"), (size_t)MANAGER_MAX) : 0);

    if (*name && is_manager(name))
        return name;
    free(name);
    return xstrdup("unknown");
}

static int refuse_option(struct rest_call *c, const char *type, const char *field, const char *why,
                         struct gw_error *err)
{
    bool patch = streq(c->target.verb, "patch");
    const char *options = patch ? "PatchOptions" : streq(c->target.verb, "create") ? "CreateOptions" : "UpdateOptions";

    c->about = (struct api_subject){.group = "meta.k8s.io", .kind = options};
    gw_error_add_cause(err, type, field, "%s", why);
    return gw_error_set(err, GW_INVALID, "%s.meta.k8s.io \"\" is invalid: %s: %s", options, field, why);
}

int rest_managed_options(struct rest_call *c, bool apply, struct gw_error *err)
{
    const char *manager = call_param(c, "fieldManager");

    if (!apply && call_param(c, "force") && streq(c->target.verb, "patch"))
        return refuse_option(c, CAUSE_FORBIDDEN, "force", "Forbidden: may not be specified for non-apply patch", err);
    if (apply && (!manager || !*manager))
        return refuse_option(c, CAUSE_REQUIRED, "fieldManager", "Required value: is required for apply patch", err);
    if (manager && !is_manager(manager))
        return refuse_option(c, CAUSE_INVALID, "fieldManager",
                             "Invalid value: must be at most 128 bytes of printable characters", err);
    return 0;
}

struct managed_writer rest_managed_writer(struct rest_call *c)
{
    const char *manager = call_param(c, "fieldManager");

    if (!c->manager)
        c->manager = manager && *manager ? xstrdup(manager) : manager_of_agent(c->request->user_agent);
    if (!c->api_version)
        c->api_version = kind_api_version(call_kind(c), c->target.version);
    clock_format(c->now, c->time);
    return (struct managed_writer){
        .manager = c->manager,
        .api_version = c->api_version,
        .subresource = c->target.subresource,
        .time = c->time,
    };
}

void rest_managed_set(struct rest_call *c, yyjson_mut_doc *entries)
{
    if (c->managed)
        yyjson_mut_doc_free(c->managed);
    c->managed = entries;
}

static yyjson_mut_doc *new_entries(yyjson_val *source)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    yyjson_mut_doc_set_root(d, managed_read(d, source));
    return d;
}

/* What is sent counts where it says something; so that clients who know nothing of it do not delete it. */
static yyjson_mut_doc *take_sent(yyjson_mut_doc *d)
{
    _cleanup_doc_ yyjson_doc *sent = yyjson_mut_val_imut_copy(json_mut_at(d, FIELD), NULL);
    yyjson_val *entries = yyjson_doc_get_root(sent);
    yyjson_mut_doc *taken;

    if (!yyjson_arr_size(entries))
        return NULL;
    taken = new_entries(managed_is_reset(entries) ? NULL : entries);
    if (managed_is_reset(entries) || yyjson_mut_arr_size(taken->root))
        return taken;
    yyjson_mut_doc_free(taken);
    return NULL;
}

void rest_managed_take(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_mut_doc *entries = NULL;

    if (c->applied)
        return;
    if (!c->target.subresource && json_mut_at(d, FIELD))
        entries = take_sent(d);
    if (!entries && json_at(old, FIELD))
        entries = new_entries(json_at(old, FIELD));
    rest_managed_set(c, entries);
}

/* Our own parts write often, and nobody applies over what they make; where somebody did, they are managers as well. */
static bool is_own_part(const struct api_user *u)
{
    return api_user_in_group(u, GROUP_CONTROLLERS) || api_user_in_group(u, GROUP_NODES);
}

static void note_update(struct rest_call *c, yyjson_val *old, yyjson_val *object)
{
    struct managed_writer w = rest_managed_writer(c);
    struct field_changes changes = field_set_compare(call_kind(c)->schema, old, object, c->managed);

    managed_forget(changes.set);
    managed_forget(changes.removed);
    (void)managed_update(c->managed, c->managed->root, &w, &changes);
}

bool rest_managed_track(struct rest_call *c, yyjson_mut_doc *d, yyjson_val *old, yyjson_val *object)
{
    yyjson_mut_val *before = json_mut_at(d, FIELD);

    if (!c->managed && !old && !is_own_part(&c->request->user))
        rest_managed_set(c, new_entries(NULL));
    if (!c->managed)
        return false;
    if (!c->applied && (!old || yyjson_mut_arr_size(c->managed->root)))
        note_update(c, old, object);
    if (yyjson_mut_arr_size(c->managed->root) == 0) {
        json_remove(d, FIELD);
        return before != NULL;
    }
    if (before && yyjson_mut_equals(before, c->managed->root))
        return false;
    json_set(d, FIELD, yyjson_mut_val_mut_copy(d, c->managed->root));
    return true;
}

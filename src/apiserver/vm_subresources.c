#include "apiserver/vm_subresources.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/local.h"
#include "apiserver/version.h"
#include "base/alloc.h"
#include "base/str.h"
#include "http/uri.h"

#define GROUP "subresources.kubevirt.io"
#define KUBEVIRT "kubevirt.io"
#define ATTEMPTS 20

/* --- For the acts --- */

const struct kind *vm_kind(const struct vm_call *c, const char *group, const char *kind)
{
    return kinds_find_kind(c->server->kinds, group, NULL, kind);
}

static int read_one(struct vm_call *c, const char *kind, const char *resource, yyjson_doc **ret, struct gw_error *err)
{
    yyjson_doc_free(*ret);
    *ret = NULL;
    if (rest_read(c->server, vm_kind(c, KUBEVIRT, kind), c->target->namespace, c->target->name, ret, NULL) == 0)
        return 0;
    c->about = resource;
    gw_error_set(err, GW_NOT_FOUND, "%s." KUBEVIRT " \"%s\" not found", resource, c->target->name);
    return -ENOENT;
}

int vm_read(struct vm_call *c, struct gw_error *err)
{
    return read_one(c, "VirtualMachine", "virtualmachine", &c->vm, err);
}

int vm_read_instance(struct vm_call *c, bool required, struct gw_error *err)
{
    if (required)
        return read_one(c, "VirtualMachineInstance", "virtualmachineinstance", &c->vmi, err);
    const char *about = c->about;
    (void)read_one(c, "VirtualMachineInstance", "virtualmachineinstance", &c->vmi, NULL);
    c->about = about;
    return 0;
}

int vm_conflict(struct vm_call *c, struct gw_error *err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *why = xvasprintf(fmt, ap);
    va_end(ap);
    gw_error_set(err, GW_CONFLICT, "Operation cannot be fulfilled on %s." KUBEVIRT " \"%s\": %s", c->about,
                 c->target->name, why);
    return -ECANCELED;
}

int vm_internal(struct gw_error *err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *why = xvasprintf(fmt, ap);
    va_end(ap);
    gw_error_set(err, GW_INTERNAL_ERROR, "Internal error occurred: %s", why);
    return -EIO;
}

const char *vm_query(const struct vm_call *c)
{
    return c->dry_run ? "?dryRun=All" : "";
}

int vm_patch(struct vm_call *c, yyjson_val *object, const char *sub, yyjson_mut_doc *patch, struct gw_error *err)
{
    const struct kind *kind = vm_kind(c, KUBEVIRT, json_str_or(object, "/kind", ""));
    _cleanup_free_ char *path = local_target(kind, c->target->namespace, meta_name(object), sub);
    _cleanup_free_ char *target = xasprintf("%s%s", path, vm_query(c));
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    json_set_str(patch, "/metadata/uid", meta_uid(object));
    json_set_str(patch, "/metadata/resourceVersion", meta_version(object));
    _cleanup_blob_ struct blob *body = json_encode(patch->root);
    if (local_call(c->server, "PATCH", target, MERGE_PATCH, body, NULL, &fault) == 0)
        return 0;
    if (fault.reason == GW_INVALID) {
        gw_error_move(err, &fault);
        return -EINVAL;
    }
    if (fault.reason != GW_CONFLICT)
        return vm_internal(err, "%s", gw_error_message(&fault));
    (void)vm_conflict(c, err, "the object has been modified; please try again");
    return -ESTALE;
}

/* --- Specs, version, health --- */

/* Without instance types and preferences a spec is its own expansion. */
static int expand(struct vm_call *c, struct gw_error *err)
{
    int r = vm_read(c, err);

    if (r == 0)
        api_response_json(c->response, 200, json_encode_val(vm_of(c)));
    return r;
}

static int expand_given(struct vm_call *c, struct gw_error *err)
{
    _cleanup_error_ struct gw_error faults = GW_ERROR_INIT;
    const struct kind *kind = vm_kind(c, KUBEVIRT, "VirtualMachine");

    c->about = NULL;
    if (!c->options)
        return gw_error_set(err, GW_BAD_REQUEST, "empty request body");
    schema_validate(kind->schema, options_of(c), "", &faults);
    if (faults.n_causes == 0) {
        api_response_json(c->response, 200, json_encode_val(options_of(c)));
        return 0;
    }
    gw_error_set(&faults, GW_BAD_REQUEST, "Object is not a valid VirtualMachine");
    gw_error_move(err, &faults);
    return -EINVAL;
}

static int version(struct vm_call *c, _unused_ struct gw_error *err)
{
    version_answer_kubevirt(c->response);
    return 0;
}

static int healthz(struct vm_call *c, _unused_ struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/apiserver/connectivity", "ok");
    api_response_json(c->response, 200, json_encode(d->root));
    return 0;
}

/* --- The table --- */

static const struct act {
    const char *resource, *subresource, *verb;
    vm_act_fn *run;
    int status; /* of an answer without a body */
} acts[] = {
    {"virtualmachines", "start", "update", vm_start, 202},
    {"virtualmachines", "stop", "update", vm_stop, 202},
    {"virtualmachines", "restart", "update", vm_restart, 202},
    {"virtualmachines", "migrate", "update", vm_migrate, 202},
    {"virtualmachines", "evacuate/cancel", "update", vm_cancel_evacuation, 200},
    {"virtualmachines", "addvolume", "update", vm_add_volume, 202},
    {"virtualmachines", "removevolume", "update", vm_remove_volume, 202},
    {"virtualmachines", "expand-spec", "get", expand, 200},
    {"virtualmachineinstances", "evacuate/cancel", "update", vm_cancel_evacuation, 200},
    {"virtualmachineinstances", "addvolume", "update", vm_add_volume, 202},
    {"virtualmachineinstances", "removevolume", "update", vm_remove_volume, 202},
    {"expand-vm-spec", NULL, "update", expand_given, 200},
    {"version", NULL, "list", version, 200}, /* a GET without a name */
    {"healthz", NULL, "list", healthz, 200},
};

static const struct act *find_act(const struct rest_target *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
        if (streq(acts[i].resource, t->resource) && str_same(acts[i].subresource, t->subresource) &&
            streq(acts[i].verb, t->verb))
            return &acts[i];
    return NULL;
}

static int read_options(struct vm_call *c, struct gw_error *err)
{
    _cleanup_uri_ struct http_uri uri = {0};
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    int r = http_uri_parse(c->request->target, &uri, err);

    if (r == 0 && c->request->body_len > 0 &&
        json_parse(c->request->body, c->request->body_len, &c->options, &fault) < 0)
        r = gw_error_set(err, GW_BAD_REQUEST, "Can not unmarshal Request body to struct, error: %s",
                         gw_error_message(&fault));
    c->dry_run = http_uri_param(&uri, "dryRun") != NULL ||
                 yyjson_equals_str(yyjson_arr_get_first(json_at(options_of(c), "/dryRun")), "All");
    return r;
}

static void call_done(struct vm_call *c)
{
    yyjson_doc_free(c->options);
    yyjson_doc_free(c->vm);
    yyjson_doc_free(c->vmi);
}

/* Somebody else's write in between has it decided anew. */
static int run(struct vm_call *c, const struct act *act, struct gw_error *err)
{
    int r = read_options(c, err);

    if (r < 0)
        return r;
    r = -ESTALE;
    for (int attempt = 0; r == -ESTALE && attempt < ATTEMPTS; attempt++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

        r = act->run(c, &fault);
        if (r < 0)
            gw_error_move(err, &fault);
    }
    return r;
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    __attribute__((cleanup(call_done))) struct vm_call c = {
        .server = s, .request = q, .target = t, .response = response, .about = "virtualmachine"};
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    const struct act *act = find_act(t);

    if (!act)
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (streq(t->resource, "virtualmachineinstances"))
        c.about = "virtualmachineinstance";
    if (run(&c, act, &fault) < 0) {
        const struct api_subject about = {.group = KUBEVIRT, .resource = c.about, .name = t->name};
        api_response_error(response, &fault, &about); /* KubeVirt's errors name its own group */
    } else if (response->status == 0) {
        api_response_text(response, act->status, "");
    }
    return 0;
}

#define IN_VERSION(v, in_namespace, r, s, k, verbs_) \
    { \
        .group = GROUP, .version = v, .resource = r, .subresource = s, .kind = k, .verbs = verbs_, \
        .namespaced = in_namespace, .handle = handle \
    }
#define ROWS(...) IN_VERSION("v1", __VA_ARGS__), IN_VERSION("v1alpha3", __VA_ARGS__)

/* version and healthz are served without being announced, as in KubeVirt. */
const struct rest_extra vm_extras[] = {
    ROWS(true, "expand-vm-spec", NULL, "VirtualMachine", "update"),
    ROWS(true, "virtualmachines", "start", "StartOptions", "update"),
    ROWS(true, "virtualmachines", "stop", "StopOptions", "update"),
    ROWS(true, "virtualmachines", "restart", "RestartOptions", "update"),
    ROWS(true, "virtualmachines", "migrate", "MigrateOptions", "update"),
    ROWS(true, "virtualmachines", "expand-spec", "VirtualMachine", "get"),
    /* Unannounced: dynamic clients in Python before 24 stumble over a name with two slashes. */
    ROWS(true, "virtualmachines", "evacuate/cancel", NULL, NULL),
    ROWS(true, "virtualmachineinstances", "evacuate/cancel", NULL, NULL),
    ROWS(true, "virtualmachines", "addvolume", "AddVolumeOptions", "update"),
    ROWS(true, "virtualmachines", "removevolume", "RemoveVolumeOptions", "update"),
    ROWS(true, "virtualmachineinstances", "addvolume", "AddVolumeOptions", "update"),
    ROWS(true, "virtualmachineinstances", "removevolume", "RemoveVolumeOptions", "update"),
    ROWS(false, "version", NULL, NULL, NULL),
    ROWS(false, "healthz", NULL, NULL, NULL),
    {0},
};

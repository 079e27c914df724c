#include "api/cells.h"

#include <ctype.h>
#include <string.h>

#include "api/meta.h"

static void or_none(struct str *out)
{
    if (!out->len)
        str_puts(out, "<none>");
}

/* "1/2": containers that are ready, of all. */
static void pod_ready(yyjson_val *pod, struct str *out)
{
    yyjson_val *item;
    size_t ready = 0;

    json_each(json_at(pod, "/status/containerStatuses"), item)
        ready += json_bool(item, "/ready", false);
    str_printf(out, "%zu/%zu", ready, yyjson_arr_size(json_at(pod, "/spec/containers")));
}

static void pod_status(yyjson_val *pod, struct str *out)
{
    if (meta_deleting(pod))
        str_puts(out, "Terminating");
    else
        str_puts(out, json_str_or(pod, "/status/reason", json_str_or(pod, "/status/phase", "Unknown")));
}

static void pod_restarts(yyjson_val *pod, struct str *out)
{
    yyjson_val *item;
    int64_t restarts = 0;

    json_each(json_at(pod, "/status/containerStatuses"), item)
        restarts += json_int(item, "/restartCount", 0);
    str_printf(out, "%lld", (long long)restarts);
}

static void node_status(yyjson_val *node, struct str *out)
{
    yyjson_val *ready = condition_find(node, "Ready");

    str_puts(out, condition_true(node, "Ready") ? "Ready" : ready ? "NotReady" : "Unknown");
    if (json_bool(node, "/spec/unschedulable", false))
        str_puts(out, ",SchedulingDisabled");
}

static void node_roles(yyjson_val *node, struct str *out)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    yyjson_val *key, *value;

    json_each_member(json_at(node, "/metadata/labels"), key, value)
        if (str_starts(yyjson_get_str(key), prefix))
            str_printf(out, "%s%s", out->len ? "," : "", yyjson_get_str(key) + sizeof(prefix) - 1);
    or_none(out);
}

/* "virtualmachineinstance/vm1" */
static void event_object(yyjson_val *event, struct str *out)
{
    for (const char *c = json_str_or(event, "/involvedObject/kind", ""); *c; c++)
        str_putc(out, (char)tolower((unsigned char)*c));
    str_printf(out, "/%s", json_str_or(event, "/involvedObject/name", ""));
}

static void data_count(yyjson_val *object, struct str *out)
{
    str_printf(out, "%zu", yyjson_obj_size(json_at(object, "/data")) + yyjson_obj_size(json_at(object, "/binaryData")));
}

static void secret_count(yyjson_val *account, struct str *out)
{
    str_printf(out, "%zu", yyjson_arr_size(json_at(account, "/secrets")));
}

/* Of a claim: what it got, else what it asks for; of a volume: what it offers. */
static void access_modes(yyjson_val *claim, struct str *out)
{
    static const char *const names[][2] = {
        {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
    yyjson_val *modes = json_at(claim, "/status/accessModes"), *item;

    if (!modes)
        modes = json_at(claim, "/spec/accessModes");
    json_each(modes, item)
        for (size_t k = 0; k < ARRAY_SIZE(names); k++)
            if (yyjson_equals_str(item, names[k][0]))
                str_printf(out, "%s%s", out->len ? "," : "", names[k][1]);
}

/* "default/data" */
static void bound_claim(yyjson_val *volume, struct str *out)
{
    const char *name = json_str(volume, "/spec/claimRef/name");

    if (name)
        str_printf(out, "%s/%s", json_str_or(volume, "/spec/claimRef/namespace", ""), name);
}

/* "ClusterRole/admin" */
static void role_ref(yyjson_val *binding, struct str *out)
{
    str_printf(out, "%s/%s", json_str_or(binding, "/roleRef/kind", ""), json_str_or(binding, "/roleRef/name", ""));
}

/* The subjects of one kind: "alice, bob". */
static void add_subjects(yyjson_val *binding, const char *kind, struct str *out)
{
    yyjson_val *item;

    json_each(json_at(binding, "/subjects"), item) {
        const char *namespace = json_str_or(item, "/namespace", "");

        if (streq(json_str_or(item, "/kind", ""), kind))
            str_printf(out, "%s%s%s%s", out->len ? ", " : "", namespace, *namespace ? "/" : "",
                       json_str_or(item, "/name", ""));
    }
}

static void subject_users(yyjson_val *binding, struct str *out)
{
    add_subjects(binding, "User", out);
}

static void subject_groups(yyjson_val *binding, struct str *out)
{
    add_subjects(binding, "Group", out);
}

static void subject_accounts(yyjson_val *binding, struct str *out)
{
    add_subjects(binding, "ServiceAccount", out);
}

/* "443:30443/TCP,80/TCP" */
static void service_ports(yyjson_val *service, struct str *out)
{
    yyjson_val *item;

    json_each(json_at(service, "/spec/ports"), item) {
        int64_t node = json_int(item, "/nodePort", 0);

        str_printf(out, "%s%lld", out->len ? "," : "", (long long)json_int(item, "/port", 0));
        if (node)
            str_printf(out, ":%lld", (long long)node);
        str_printf(out, "/%s", json_str_or(item, "/protocol", "TCP"));
    }
    or_none(out);
}

static void add_texts(yyjson_val *list, struct str *out)
{
    yyjson_val *item;

    json_each(list, item)
        str_printf(out, "%s%s", out->len ? "," : "", yyjson_is_str(item) ? yyjson_get_str(item) : "");
}

static void service_external(yyjson_val *service, struct str *out)
{
    add_texts(json_at(service, "/spec/externalIPs"), out);
    or_none(out);
}

static void service_selector(yyjson_val *service, struct str *out)
{
    yyjson_val *key, *value;

    json_each_member(json_at(service, "/spec/selector"), key, value)
        str_printf(out, "%s%s=%s", out->len ? "," : "", yyjson_get_str(key), yyjson_get_str(value));
    or_none(out);
}

/* "10.0.0.1:6443,10.0.0.2:6443" */
static void endpoints_list(yyjson_val *endpoints, struct str *out)
{
    yyjson_val *subset, *port, *address;

    json_each(json_at(endpoints, "/subsets"), subset)
        json_each(json_at(subset, "/ports"), port)
            json_each(json_at(subset, "/addresses"), address)
                str_printf(out, "%s%s:%lld", out->len ? "," : "", json_str_or(address, "/ip", ""),
                           (long long)json_int(port, "/port", 0));
    or_none(out);
}

static void slice_ports(yyjson_val *slice, struct str *out)
{
    yyjson_val *item;

    json_each(json_at(slice, "/ports"), item)
        str_printf(out, "%s%lld", out->len ? "," : "", (long long)json_int(item, "/port", 0));
    or_none(out);
}

static void slice_endpoints(yyjson_val *slice, struct str *out)
{
    yyjson_val *item;

    json_each(json_at(slice, "/endpoints"), item)
        add_texts(json_at(item, "/addresses"), out);
    or_none(out);
}

/* "Approved,Issued" (k8s.io/kubernetes pkg/printers/internalversion, extractCSRStatus). */
static void csr_condition(yyjson_val *csr, struct str *out)
{
    bool denied = condition_find(csr, "Denied"), approved = condition_find(csr, "Approved");

    str_puts(out, denied ? "Denied" : approved ? "Approved" : "Pending");
    if (condition_find(csr, "Failed"))
        str_puts(out, ",Failed");
    if (*json_str_or(csr, "/status/certificate", ""))
        str_puts(out, ",Issued");
}

static const struct {
    const char *name;
    cell_fn *fn;
} cells[] = {
    {"pod-ready", pod_ready},
    {"pod-status", pod_status},
    {"pod-restarts", pod_restarts},
    {"node-status", node_status},
    {"node-roles", node_roles},
    {"event-object", event_object},
    {"data-count", data_count},
    {"secret-count", secret_count},
    {"service-ports", service_ports},
    {"service-external", service_external},
    {"service-selector", service_selector},
    {"endpoints-list", endpoints_list},
    {"slice-ports", slice_ports},
    {"slice-endpoints", slice_endpoints},
    {"access-modes", access_modes},
    {"bound-claim", bound_claim},
    {"role-ref", role_ref},
    {"csr-condition", csr_condition},
    {"subject-users", subject_users},
    {"subject-groups", subject_groups},
    {"subject-accounts", subject_accounts},
};

cell_fn *cell_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
        if (streq(cells[i].name, name))
            return cells[i].fn;
    return NULL;
}

/* A request core over a store in memory, with the built-in kinds and real authorization: for tests of what stands on
 * it. */
#pragma once

#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "apiserver/local.h"

struct fixture {
    struct rest_server rest;
};

static int64_t fixture_now(void *data)
{
    return clock_wall_ms();
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = xnew(struct fixture);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (store_open_sqlite(":memory:", &f->rest.store, &err) < 0 || kinds_new(&f->rest.kinds, &err) < 0 ||
        watch_hub_new(f->rest.store, f->rest.kinds, &f->rest.hub, &err) < 0) {
        fprintf(stderr, "%s\n", gw_error_message(&err));
        abort();
    }
    f->rest.now = fixture_now;
    f->rest.authorize = authz_check;
    f->rest.data = &f->rest;
    return f;
}

static void fixture_free(struct fixture *f)
{
    watch_hub_free(f->rest.hub);
    kinds_free(f->rest.kinds);
    store_close(f->rest.store);
    free(f);
}

/* The HTTP status; ret_text (may be NULL) is freed by the caller. */
static int fixture_call(struct fixture *f, const char *user, const char *group, const char *method, const char *target,
                        const char *body, char **ret_text)
{
    const char *const groups[] = {group, "system:authenticated"};
    const struct api_request q = {
        .method = method,
        .target = target,
        .content_type = streq(method, "PATCH") ? "application/merge-patch+json" : "application/json",
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .user = {.name = user, .groups = groups, .n_groups = 2},
    };
    _cleanup_response_ struct api_response response = {0};
    _cleanup_blob_ struct blob *text = NULL;

    rest_handle(&f->rest, &q, &response);
    text = api_parts_join(&response.body);
    if (ret_text)
        *ret_text = xstrndup(text->data, text->len);
    return response.status;
}

static _unused_ int fixture_admin(struct fixture *f, const char *method, const char *target, const char *body)
{
    _cleanup_free_ char *text = NULL;
    int status = fixture_call(f, "system:godwit:controllers", "system:godwit:controllers", method, target, body, &text);

    if (status >= 300)
        fprintf(stderr, "%s %s: %s\n", method, target, text);
    return status;
}

/* Namespace default, and a VMI there that runs on node-a, moves to node-b, and names Secret needed. */
#define FIXTURE_POD(name, labels, node) \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels \
    "\"kubevirt.io\":\"virt-launcher\"}," \
    "\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/" \
    "v1\",\"kind\":\"VirtualMachineInstance\",\"name\":\"vm1\",\"uid\":\"u\"," \
    "\"controller\":true}]},\"spec\":{\"nodeName\":\"" node "\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define FIXTURE_VMIS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"

static _unused_ void fixture_populate(struct fixture *f)
{
    static const char *const rows[][2] = {
        {"/api/v1/namespaces", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"default\"}}"},
        {"/api/v1/namespaces",
         "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"kube-node-lease\"}}"},
        {"/api/v1/nodes", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-a\"}}"},
        {"/api/v1/nodes", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-c\"}}"},
        {"/api/v1/namespaces/default/secrets",
         "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"needed\"}}"},
        {"/api/v1/namespaces/default/secrets",
         "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"other\"}}"},
        {"/api/v1/namespaces/default/configmaps",
         "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}"},
        {"/api/v1/namespaces/default/pods", FIXTURE_POD("p", "", "node-a")},
        {FIXTURE_VMIS, "{\"apiVersion\":\"kubevirt.io/"
                       "v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"domain\":"
                       "{\"resources\":{\"requests\":{\"memory\":\"128Mi\"}},\"devices\":{\"disks\":[{\"name\":\"d\","
                       "\"disk\":{\"bus\":\"virtio\"}}]}},"
                       "\"volumes\":[{\"name\":\"d\",\"cloudInitNoCloud\":{\"secretRef\":{\"name\":\"needed\"}}}]}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(fixture_admin(f, "POST", rows[i][0], rows[i][1]), 201);
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm1", "{\"status\":{\"nodeName\":\"node-a\"}}"), 200);
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm1",
                                   "{\"status\":{\"migrationState\":{\"migrationUid\":\"mig-1\",\"sourceNode\":\"node-a\","
                                   "\"sourcePod\":\"p\",\"targetNode\":\"node-b\",\"targetPod\":\"t\",\"handover\":{\"epoch\":1}}}}"),
                     200);
}

/* The source's agent says that it failed. */
static _unused_ void fixture_fail_migration(struct fixture *f)
{
    assert_int_equal(fixture_call(f, "system:node:node-a", "system:nodes", "PATCH", FIXTURE_VMIS "/vm1",
                                  "{\"status\":{\"migrationState\":{\"completed\":true,\"failed\":true}}}", NULL),
                     200);
}

/* For cmocka: one that is populated. */
static _unused_ int fixture_set_up(void **state)
{
    struct fixture *f = fixture_new();

    fixture_populate(f);
    *state = f;
    return 0;
}

static _unused_ int fixture_tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* server-fixture.h with the roles of the first start, namespaces demo and other, and a clock that can be put forward. */
#pragma once

#include "apiserver/account_token.h"
#include "apiserver/reviews.h"
#include "apiserver/roles.h"
#include "pki/jwt.h"
#include "pki/pki.h"
#include "server-fixture.h"
#include "server/approval.h"
#include "server/default_roles.h"
#include "server/objects.h"

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define CLUSTER_ROLES RBAC "clusterroles"
#define DEMO RBAC "namespaces/demo/"
#define MIGRATIONS "/apis/kubevirt.io/v1/namespaces/demo/virtualmachineinstancemigrations"
#define AUTHENTICATED "system:authenticated"
#define KV "kubevirt.io"

static const struct rest_extra *const extras[] = {account_token_extras, approval_extras, review_extras, NULL};
static struct jwt_key *token_key;
static int64_t ahead_ms; /* of the wall clock */

static int64_t test_now(void *data)
{
    return clock_wall_ms() + ahead_ms;
}

static _unused_ int admin(struct fixture *f, const char *method, const char *target, const char *body)
{
    _cleanup_free_ char *text = NULL;
    int status = fixture_call(f, "root", "system:masters", method, target, body, &text);

    if (status >= 300)
        fail_msg("%s %s: %d: %s", method, target, status, text);
    return status;
}

static _unused_ void aggregate(struct fixture *f)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (roles_aggregate(&f->rest, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static _unused_ int set_up(void **state)
{
    struct fixture *f = fixture_new();
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_key_ char *pem = NULL;

    ahead_ms = 0;
    f->rest.now = test_now;
    f->rest.extras = extras;
    if (pki_key_new(&pem, &err) < 0 || jwt_key_new(pem, &token_key, &err) < 0 ||
        roles_new(f->rest.store, f->rest.kinds, &f->rest.roles, &err) < 0 || objects_make_initial(&f->rest, &err) < 0) {
        print_error("%s\n", gw_error_message(&err));
        return -1;
    }
    f->rest.token_key = token_key;
    aggregate(f);
    admin(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"demo\"}}");
    admin(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"other\"}}");
    *state = f;
    return 0;
}

static _unused_ int tear_down(void **state)
{
    struct fixture *f = *state;

    roles_free(f->rest.roles);
    jwt_key_free(token_key);
    fixture_free(f);
    return 0;
}

static _unused_ void bind_role(struct fixture *f, const char *namespace, const char *name, const char *role,
                               const char *kind, const char *subject)
{
    _cleanup_free_ char *target = namespace ? xasprintf(RBAC "namespaces/%s/rolebindings", namespace)
                                            : xstrdup(RBAC "clusterrolebindings");
    _cleanup_free_ char *body = xasprintf(
        "{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"%s\"},"
        "\"subjects\":[{\"kind\":\"%s\",\"name\":\"%s\"}]}",
        name, role, kind, subject);

    admin(f, "POST", target, body);
}

/* Whether the user (in system:authenticated) may, as the authorizer says before anything is read. */
static _unused_ bool may(struct fixture *f, const char *user, const char *namespace, const char *verb,
                         const char *group, const char *path)
{
    static const char *const groups[] = {AUTHENTICATED};
    const struct api_user who = {.name = user, .groups = groups, .n_groups = 1};
    const char *slash = strchr(path, '/');
    _cleanup_free_ char *resource = xstrndup(path, strcspn(path, "/"));
    const struct rest_target t = {.verb = verb,
                                  .group = group,
                                  .resource = resource,
                                  .subresource = slash ? slash + 1 : NULL,
                                  .namespace = namespace,
                                  .name = "x"};

    return authz_check(&f->rest, &who, &t, NULL, NULL, NULL) == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

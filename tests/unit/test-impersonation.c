/* Requests that are made as somebody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/impersonation.h"
#include "roles-fixture.h"

static int impersonate(struct fixture *f, const char *user, const char *group, const char *const *headers,
                       struct identity **ret)
{
    const char *const groups[] = {group, AUTHENTICATED};
    const struct api_user who = {.name = user, .groups = groups, .n_groups = 2};
    struct api_headers list = {0};
    struct api_subject about = {0};
    int r;

    for (; *headers; headers += 2)
        api_headers_push(&list, (struct api_header){(char *)headers[0], (char *)headers[1]});
    r = impersonation_apply(&f->rest, &who, &list, ret, &about, NULL);
    assert_true(r == 0 || !about.resource || about.name);
    api_headers_done(&list);
    return r;
}

#define AS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void masters_impersonate_anybody(void **state)
{
    struct fixture *f = *state;
    struct identity *who = NULL;

    assert_int_equal(impersonate(f, "root", "system:masters", (const char *const[]){NULL}, &who), 0);
    assert_null(who);
    assert_int_equal(impersonate(f, "root", "system:masters",
                                 AS("impersonate-user", "alice", "Impersonate-Group", "dev", "Impersonate-Group", "ops",
                                    "Impersonate-Uid", "u1", "Impersonate-Extra-Scopes", "a",
                                    "Impersonate-Extra-example.com%2Fx", "b"), &who), 0);
    assert_string_equal(who->name, "alice");
    assert_string_equal(who->uid, "u1");
    assert_int_equal(who->n_groups, 3);
    assert_string_equal(who->groups[0], "dev");
    assert_string_equal(who->groups[1], "ops");
    assert_string_equal(who->groups[2], AUTHENTICATED);
    assert_int_equal(who->extra.len, 2);
    assert_string_equal(who->extra.items[0].key, "scopes");
    assert_string_equal(who->extra.items[1].key, "example.com/x");
    who = identity_free(who);
    assert_int_equal(impersonate(f, "root", "system:masters", AS("Impersonate-User", "system:serviceaccount:demo:robot"),
                                 &who), 0);
    assert_string_equal(who->groups[0], "system:serviceaccounts");
    assert_string_equal(who->groups[1], "system:serviceaccounts:demo");
    who = identity_free(who);
    assert_int_equal(impersonate(f, "root", "system:masters", AS("Impersonate-User", "system:anonymous"), &who), 0);
    assert_string_equal(who->groups[0], "system:unauthenticated");
    who = identity_free(who);
    assert_true(impersonate(f, "root", "system:masters", AS("Impersonate-Group", "dev"), &who) < 0);
}

static void others_impersonate_as_roles_say(void **state)
{
    struct fixture *f = *state;
    struct identity *who = NULL;

    admin(f, "POST", CLUSTER_ROLES,
          "{\"metadata\":{\"name\":\"help\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"users\"],\"resourceNames\":["
          "\"alice\"],\"verbs\":[\"impersonate\"]},{\"apiGroups\":[\"\"],\"resources\":[\"groups\"],\"resourceNames\":["
          "\"dev\"],\"verbs\":[\"impersonate\"]}]}");
    bind_role(f, NULL, "h", "help", "User", "hugo");
    bind_role(f, "demo", "e", "edit", "User", "ed");
    assert_true(impersonate(f, "nobody", "x", AS("Impersonate-User", "alice"), &who) < 0);
    assert_int_equal(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Group", "dev"), &who), 0);
    who = identity_free(who);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "bob"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Group", "system:masters"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Uid", "1"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Extra-a", "1"), &who) < 0);
    assert_null(who);
    assert_int_equal(impersonate(f, "ed", "x", AS("Impersonate-User", "system:serviceaccount:demo:robot"), &who), 0);
    who = identity_free(who);
    assert_true(impersonate(f, "ed", "x", AS("Impersonate-User", "system:serviceaccount:other:robot"), &who) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(masters_impersonate_anybody),
        TEST(others_impersonate_as_roles_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apiserver/authn.h"
#include "base/base64.h"
#include "base/fs.h"
#include "server-fixture.h"
#include "server/authorities.h"

#define DAY_S 86400
#define AUTHORITIES "/apis/godwit.io/v1alpha1/certificateauthorities"

/* --- Files --- */

static char dir[64];

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/test-authority-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return fs_remove_tree(dir, NULL);
}

static char *in_dir(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static struct pki_authority *reopen(struct pki_authority *a)
{
    struct pki_authority *again = NULL;

    pki_authority_free(a);
    assert_int_equal(pki_authority_open(dir, "ca", "x", DAY_S, &again, NULL), 0);
    return again;
}

static char *issue(const struct pki_ca *ca)
{
    _cleanup_key_ char *key = NULL;
    char *cert = NULL;

    assert_int_equal(pki_issue_with_key(ca, &(struct pki_subject){.cn = "alice"}, PKI_CLIENT, 3600, &cert, &key, NULL), 0);
    return cert;
}

static bool trusts(const struct pki_authority *a, const char *cert)
{
    return pki_trust_verify_pem(pki_authority_now(a)->trust, cert, PKI_CLIENT, clock_wall_ms(), NULL, NULL) == 0;
}

static void wait_a_second(void)
{
    usleep(1100 * 1000); /* objects know whole seconds */
}

static void an_authority_is_made_once(void **state)
{
    _cleanup_free_ char *key = in_dir("ca.key"), *first = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct pki_authority *a = reopen(NULL), *other = NULL;
    struct stat st;

    first = xstrdup(pki_authority_now(a)->bundle);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    a = reopen(a);
    assert_string_equal(pki_authority_now(a)->bundle, first);
    pki_authority_free(a);
    /* A certificate without its key is damage, and never replaced in silence. */
    assert_int_equal(remove(key), 0);
    assert_true(pki_authority_open(dir, "ca", "x", DAY_S, &other, &err) < 0);
    assert_non_null(strstr(err.message, "ca.key"));
}

static void each_step_survives_a_restart(void **state)
{
    struct pki_authority *a = reopen(NULL);
    _cleanup_free_ char *old = issue(pki_authority_now(a)->issuer), *new = NULL, *key_path = in_dir("ca.key");
    _cleanup_free_ char *text = NULL;
    char fingerprint[65];

    assert_true(pki_authority_advance(a, NULL) < 0);
    assert_true(pki_authority_drop(a, NULL) < 0);
    assert_int_equal(pki_authority_begin(a, NULL), 0);
    for (int i = 0; i < 2; i++, a = reopen(a)) {
        const struct pki_authority_state *now = pki_authority_now(a);

        assert_int_equal(now->phase, PKI_SPREADING);
        assert_true(pki_is_of_first(now->bundle, old));
        assert_ptr_equal(now->oldest, now->issuer);
        assert_ptr_equal(now->newest, now->other);
        assert_true(pki_authority_begin(a, NULL) < 0);
    }
    new = issue(pki_authority_now(a)->newest);
    assert_true(trusts(a, old) && trusts(a, new));
    assert_int_equal(pki_authority_advance(a, NULL), 0);
    for (int i = 0; i < 2; i++, a = reopen(a)) {
        const struct pki_authority_state *now = pki_authority_now(a);

        assert_int_equal(now->phase, PKI_RENEWING);
        assert_true(pki_is_of_first(now->bundle, new));
        assert_false(pki_is_of_first(now->bundle, old));
        assert_int_equal(pki_issuer_of(now->bundle, old, fingerprint, NULL), 0);
        assert_ptr_equal(now->oldest, now->other);
        assert_true(trusts(a, old) && trusts(a, new));
    }
    assert_int_equal(pki_authority_drop(a, NULL), 0);
    for (int i = 0; i < 2; i++, a = reopen(a)) {
        assert_int_equal(pki_authority_now(a)->phase, PKI_STABLE);
        assert_false(trusts(a, old));
        assert_true(trusts(a, new));
        assert_true(pki_issuer_of(pki_authority_now(a)->bundle, old, fingerprint, NULL) < 0);
    }
    assert_int_equal(fs_read(key_path, 0, &text, NULL, NULL), 0);
    const char *at = text;
    pki_free_key(pki_next_pem(&at, "PRIVATE KEY"));
    assert_null(pki_next_pem(&at, "PRIVATE KEY")); /* the old key is gone */
    pki_authority_free(a);
}

/* What a begin leaves that was killed before its certificate, and a finish that was killed after its own. */
static void a_key_too_many_is_what_a_crash_left(void **state)
{
    struct pki_authority *a = reopen(NULL);
    _cleanup_free_ char *path = in_dir("ca.key"), *keys = NULL, *two = NULL, *after = NULL;
    _cleanup_key_ char *other = NULL;

    assert_int_equal(fs_read(path, 0, &keys, NULL, NULL), 0);
    assert_int_equal(pki_key_new(&other, NULL), 0);
    two = xasprintf("%s%s", other, keys);
    assert_int_equal(fs_write(path, two, strlen(two), 0600, NULL), 0);
    a = reopen(a);
    assert_int_equal(pki_authority_now(a)->phase, PKI_STABLE);
    assert_int_equal(fs_read(path, 0, &after, NULL, NULL), 0);
    assert_string_equal(after, keys);
    pki_authority_free(a);
}

static void a_root_above_needs_no_key(void **state)
{
    struct pki_authority *a = reopen(NULL);
    _cleanup_free_ char *path = in_dir("ca.crt"), *text = NULL, *cert = NULL;
    struct pki_ca *root = NULL;

    assert_int_equal(pki_ca_new("root", DAY_S, &root, NULL), 0);
    cert = issue(root);
    text = xasprintf("%s%s", pki_authority_now(a)->bundle, pki_ca_cert_pem(root));
    assert_int_equal(fs_write(path, text, strlen(text), 0644, NULL), 0);
    a = reopen(a);
    assert_int_equal(pki_authority_now(a)->phase, PKI_STABLE);
    assert_string_equal(pki_authority_now(a)->bundle, text);
    assert_true(trusts(a, cert));
    pki_ca_free(root);
    pki_authority_free(a);
}

/* --- The server's steps --- */

struct bench {
    struct fixture *f;
    struct pki_authority *cluster, *migration;
    struct authorities *authorities;
    int changes;
};

static const struct rest_extra *const extras[] = {authority_extras, NULL};

static void count(void *userdata)
{
    ((struct bench *)userdata)->changes++;
}

static int setup(void **state)
{
    struct bench *b = xnew(struct bench);

    b->f = fixture_new();
    b->f->rest.extras = extras;
    fixture_populate(b->f);
    assert_int_equal(fixture_admin(b->f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"kube-system\"}}"), 201);
    assert_int_equal(pki_authority_open(NULL, "ca", "cluster", DAY_S, &b->cluster, NULL), 0);
    assert_int_equal(pki_authority_open(NULL, "ca", "migration", DAY_S, &b->migration, NULL), 0);
    b->authorities = authorities_new(&b->f->rest, b->cluster, b->migration, count, b);
    b->f->rest.authorities = b->authorities;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    authorities_free(b->authorities);
    fixture_free(b->f);
    pki_authority_free(b->cluster);
    pki_authority_free(b->migration);
    free(b);
    return 0;
}

static int step(struct bench *b, const char *name, const char *what, const char *reason)
{
    _cleanup_free_ char *target = xasprintf(AUTHORITIES "/%s/rotate", name), *body = xasprintf("{\"step\":\"%s\"}", what),
                        *text = NULL;
    int status = fixture_call(b->f, "root", "system:masters", "POST", target, body, &text);

    if (reason && !strstr(text, reason))
        fail_msg("%s", text);
    return status;
}

static const char *fingerprint_of(const struct pki_ca *ca, char buf[65])
{
    _cleanup_pki_info_ struct pki_info info = {0};

    assert_int_equal(pki_cert_read(pki_ca_cert_pem(ca), &info, NULL), 0);
    memcpy(buf, info.fingerprint, 65);
    return buf;
}

/* The Node says what its agent would: trusts, client, serving. */
static void say(struct bench *b, const char *node, const struct pki_ca *trusted, const struct pki_ca *client,
                const struct pki_ca *serving)
{
    char t[65], c[65], s[65];
    _cleanup_free_ char *path = xasprintf("/api/v1/nodes/%s", node);
    _cleanup_free_ char *body = xasprintf(
        "{\"metadata\":{\"annotations\":{\"godwit.io/authorities\":\"{\\\"cluster\\\":[\\\"%s\\\"],\\\"migration\\\":[\\\"%s\\\"],"
        "\\\"client\\\":\\\"%s\\\",\\\"serving\\\":\\\"%s\\\"}\"}}}",
        fingerprint_of(trusted, t), t, fingerprint_of(client, c), fingerprint_of(serving, s));

    assert_int_equal(fixture_admin(b->f, "PATCH", path, body), 200);
    assert_int_equal(authorities_tick(b->authorities, NULL), 0);
}

static void a_roll_over_waits_for_every_agent(void **state)
{
    struct bench *b = *state;
    const struct pki_ca *old = pki_authority_now(b->cluster)->issuer, *new;
    _cleanup_free_ char *text = NULL;

    assert_int_equal(step(b, "cluster", "dance", "want begin, finish or abort"), 400);
    assert_int_equal(step(b, "nobody", "begin", "not found"), 404);
    assert_int_equal(step(b, "cluster", "finish", "no roll-over is under way"), 409);
    assert_int_equal(step(b, "cluster", "begin", "Spreading"), 201);
    assert_int_equal(b->changes, 1);
    new = pki_authority_now(b->cluster)->newest;
    say(b, "node-a", new, old, old);
    assert_int_equal(pki_authority_now(b->cluster)->phase, PKI_SPREADING); /* node-c says nothing */
    assert_int_equal(step(b, "cluster", "finish", "node node-c: its agent does not say"), 409);
    say(b, "node-c", old, old, old);
    assert_int_equal(step(b, "cluster", "finish", "node node-c: its agent does not trust the new authority yet"), 409);
    say(b, "node-c", new, old, old);
    assert_int_equal(pki_authority_now(b->cluster)->phase, PKI_RENEWING);
    assert_ptr_equal(pki_authority_now(b->cluster)->issuer, new);
    assert_int_equal(step(b, "cluster", "abort", "has begun to sign"), 409);
    say(b, "node-a", new, new, new);
    authorities_note_user(b->authorities, "alice");
    authorities_note_user(b->authorities, "alice");
    authorities_note_user(b->authorities, "system:node:node-c");
    assert_int_equal(fixture_call(b->f, "root", "system:masters", "GET", AUTHORITIES "/cluster", NULL, &text), 200);
    assert_non_null(strstr(text, "\"usersOfTheOld\":[\"alice\"]"));
    assert_int_equal(step(b, "cluster", "finish", "node node-c: its agent's client certificate"), 409);
    say(b, "node-c", new, new, old);
    assert_int_equal(step(b, "cluster", "finish", "node node-c: its agent's serving certificate"), 409);
    say(b, "node-c", new, new, new);
    assert_int_equal(step(b, "cluster", "finish", "Stable"), 201);
    assert_int_equal(b->changes, 3);
}

static void a_silent_node_is_named_as_such(void **state)
{
    struct bench *b = *state;
    const struct pki_ca *old = pki_authority_now(b->cluster)->issuer;

    assert_int_equal(step(b, "cluster", "begin", NULL), 201);
    say(b, "node-a", pki_authority_now(b->cluster)->newest, old, old);
    assert_int_equal(fixture_admin(b->f, "PATCH", "/api/v1/nodes/node-c",
                                   "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/unreachable\",\"effect\":\"NoSchedule\"}]}}"), 200);
    assert_int_equal(step(b, "cluster", "finish", "it is silent: start it, or delete the Node"), 409);
    assert_int_equal(fixture_admin(b->f, "DELETE", "/api/v1/nodes/node-c", NULL), 200);
    assert_int_equal(authorities_tick(b->authorities, NULL), 0);
    assert_int_equal(pki_authority_now(b->cluster)->phase, PKI_RENEWING);
}

static void a_roll_over_can_be_given_up_while_nothing_is_signed(void **state)
{
    struct bench *b = *state;
    const struct pki_ca *old = pki_authority_now(b->cluster)->issuer;

    assert_int_equal(step(b, "cluster", "begin", NULL), 201);
    assert_int_equal(step(b, "cluster", "abort", "Stable"), 201);
    assert_ptr_equal(pki_authority_now(b->cluster)->issuer, old);
}

static void the_bundle_is_published(void **state)
{
    struct bench *b = *state;
    _cleanup_free_ char *text = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(step(b, "migration", "begin", NULL), 201);
    assert_int_equal(fixture_call(b->f, "root", "system:masters", "GET", "/api/v1/namespaces/kube-system/configmaps/godwit-ca", NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    assert_string_equal(json_key_str(yyjson_doc_get_root(doc), "/data", "migration-ca.crt"), pki_authority_now(b->migration)->bundle);
    assert_string_equal(json_key_str(yyjson_doc_get_root(doc), "/data", "cluster-ca.crt"), pki_authority_now(b->cluster)->bundle);
}

static void only_administrators_take_steps(void **state)
{
    struct bench *b = *state;

    assert_int_equal(fixture_call(b->f, "alice", "dev", "POST", AUTHORITIES "/cluster/rotate", "{\"step\":\"begin\"}", NULL), 403);
    assert_int_equal(fixture_call(b->f, "system:node:node-a", "system:nodes", "POST", AUTHORITIES "/cluster/rotate", "{\"step\":\"begin\"}", NULL), 403);
    assert_int_equal(pki_authority_now(b->cluster)->phase, PKI_STABLE);
}

#define MIGRATIONS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations"

/* Makes a migration of vm1 and writes into the VMI that it is under way. */
static char *migrate(struct bench *b, const char *name)
{
    _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"vmiName\":\"vm1\"}}", name), *text = NULL,
                        *patch = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    char *uid;

    assert_int_equal(fixture_call(b->f, "system:godwit:controllers", "system:godwit:controllers", "POST", MIGRATIONS, body, &text), 201);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    uid = xstrdup(json_str(yyjson_doc_get_root(doc), "/metadata/uid"));
    patch = xasprintf("{\"status\":{\"migrationState\":{\"migrationUid\":\"%s\",\"completed\":false}}}", uid);
    b->f->rest.authorize = NULL; /* without the rules of the hand-over */
    assert_int_equal(fixture_admin(b->f, "PATCH", FIXTURE_VMIS "/vm1", patch), 200);
    b->f->rest.authorize = authz_check;
    return uid;
}

static const struct pki_ca *issuer_for(struct bench *b, const char *uid)
{
    const struct pki_authority_state *now = pki_authority_now(b->migration);
    _cleanup_key_ char *key = NULL;
    _cleanup_free_ char *csr = NULL, *cert = NULL;
    const struct pki_subject subject = {.cn = "x"};

    assert_int_equal(pki_key_new(&key, NULL), 0);
    assert_int_equal(pki_csr_new(key, &subject, PKI_CLIENT, &csr, NULL), 0);
    assert_int_equal(authorities_issue_migration(b->authorities, uid, csr, &subject, PKI_CLIENT, 3600, &cert, NULL), 0);
    return pki_is_of_first(now->bundle, cert) ? now->issuer : now->other;
}

/* Both sides' certificates are of one authority, whenever they ask; and it is trusted until they are through. */
static void a_migration_keeps_its_authority(void **state)
{
    struct bench *b = *state;
    const struct pki_ca *old = pki_authority_now(b->migration)->issuer, *new;
    _cleanup_free_ char *before = migrate(b, "before"), *after = NULL;

    assert_int_equal(fixture_admin(b->f, "DELETE", "/api/v1/nodes/node-c", NULL), 200);
    assert_int_equal(step(b, "migration", "begin", NULL), 201);
    assert_ptr_equal(issuer_for(b, before), old);
    new = pki_authority_now(b->migration)->newest;
    say(b, "node-a", new, old, old);
    assert_int_equal(pki_authority_now(b->migration)->phase, PKI_RENEWING);
    assert_ptr_equal(issuer_for(b, before), old);
    assert_ptr_equal(issuer_for(b, "no-such-migration"), old);
    assert_int_equal(step(b, "migration", "finish", "virtualmachineinstance default/vm1: its migration began before"), 409);
    fixture_fail_migration(b->f);
    b->f->rest.authorize = NULL;
    assert_int_equal(fixture_admin(b->f, "PATCH", MIGRATIONS "/before/status", "{\"status\":{\"phase\":\"Failed\"}}"), 200);
    b->f->rest.authorize = authz_check;
    wait_a_second();
    after = migrate(b, "after");
    assert_ptr_equal(issuer_for(b, after), new);
    assert_int_equal(step(b, "migration", "finish", "Stable"), 201);
}

static struct identity *enter(struct authn *a, const char *cert)
{
    struct identity *who = NULL;
    unsigned char der[4096];
    const char *at = strchr(cert, '\n'), *end = strstr(cert, "-----END");
    _cleanup_free_ char *body = xstrndup(at + 1, (size_t)(end - at - 1)), *bytes = NULL;
    size_t n = 0;

    for (char *from = body, *to = body;; from++)
        if (*from != '\n' && !(*to++ = *from))
            break;
    assert_int_equal(base64_decode(body, strlen(body), &bytes, &n), 0);
    assert_true(n <= sizeof(der));
    memcpy(der, bytes, n);
    return authn_chain(a, &(struct pki_der){der, n}, 1, clock_wall_ms(), &who, NULL) == 0 ? who : NULL;
}

static void connections_of_the_old_authority_end_with_it(void **state)
{
    struct bench *b = *state;
    _cleanup_free_ char *cert = issue(pki_authority_now(b->cluster)->issuer);
    struct authn *a = NULL;
    struct identity *who, *again;

    assert_int_equal(authn_new(&(struct authn_config){.clients = b->cluster}, &a, NULL), 0);
    who = enter(a, cert);
    assert_non_null(who);
    assert_true(authn_is_current(a, who, clock_wall_ms()));
    assert_false(authn_is_current(a, who, clock_wall_ms() + 7200 * 1000));
    assert_int_equal(pki_authority_begin(b->cluster, NULL), 0);
    assert_false(authn_is_current(a, who, clock_wall_ms()));
    assert_false(who->of_old);
    assert_int_equal(pki_authority_advance(b->cluster, NULL), 0);
    again = enter(a, cert);
    assert_non_null(again);
    assert_true(again->of_old);
    _cleanup_free_ char *newer = issue(pki_authority_now(b->cluster)->issuer);
    _cleanup_identity_ struct identity *with_new = enter(a, newer);
    assert_false(with_new->of_old);
    assert_int_equal(pki_authority_drop(b->cluster, NULL), 0);
    assert_false(authn_is_current(a, again, clock_wall_ms()));
    assert_null(enter(a, cert));
    identity_free(who);
    identity_free(again);
    authn_free(a);
}

#define FILES(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)
#define SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILES(an_authority_is_made_once),
        FILES(each_step_survives_a_restart),
        FILES(a_key_too_many_is_what_a_crash_left),
        FILES(a_root_above_needs_no_key),
        SERVER(a_roll_over_waits_for_every_agent),
        SERVER(a_silent_node_is_named_as_such),
        SERVER(a_roll_over_can_be_given_up_while_nothing_is_signed),
        SERVER(the_bundle_is_published),
        SERVER(only_administrators_take_steps),
        SERVER(a_migration_keeps_its_authority),
        SERVER(connections_of_the_old_authority_end_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "base/base64.h"
#include "server-fixture.h"
#include "server/approval.h"
#include "server/signer.h"
#include "server/sweep.h"

#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define PERSON "kubernetes.io/kube-apiserver-client"
#define SERVING "kubernetes.io/kubelet-serving"
#define MIGRATION "godwit.io/migration"
#define NODE_A "system:node:node-a"
#define NODE_B "system:node:node-b"
#define BOOTSTRAP "system:bootstrap:abcdef"

struct bench {
    struct fixture *f;
    struct pki_authority *cluster, *migration;
    struct signer signer;
    char *key;
};

static const struct rest_extra *const extras[] = {approval_extras, NULL};

static int setup(void **state)
{
    struct bench *b = xnew(struct bench);

    b->f = fixture_new();
    b->f->rest.extras = extras;
    fixture_populate(b->f);
    assert_int_equal(fixture_admin(b->f, "PATCH", "/api/v1/nodes/node-a/status",
                                   "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"}]}}"),
                     200);
    assert_int_equal(pki_authority_open(NULL, "ca", "cluster", 3650 * 86400, &b->cluster, NULL), 0);
    assert_int_equal(pki_authority_open(NULL, "migration-ca", "migration", 3650 * 86400, &b->migration, NULL), 0);
    assert_int_equal(pki_key_new(&b->key, NULL), 0);
    b->signer = (struct signer){&b->f->rest, authorities_new(&b->f->rest, b->cluster, b->migration, NULL, NULL), 0};
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    fixture_free(b->f);
    authorities_free(b->signer.authorities);
    pki_authority_free(b->cluster);
    pki_authority_free(b->migration);
    pki_free_key(b->key);
    free(b);
    return 0;
}

static yyjson_doc *fetch(struct bench *b, const char *name)
{
    _cleanup_free_ char *target = xasprintf(CSRS "/%s", name), *text = NULL;
    yyjson_doc *doc = NULL;

    assert_int_equal(fixture_call(b->f, "x", "system:masters", "GET", target, NULL, &text), 200);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

static void process(struct bench *b, const char *name)
{
    _cleanup_doc_ yyjson_doc *doc = fetch(b, name);

    assert_int_equal(signer_process(&b->signer, yyjson_doc_get_root(doc), NULL), 0);
}

static void ask(struct bench *b, const char *name, const char *user, const char *group, const char *signer,
                const struct pki_subject *subject)
{
    _cleanup_free_ char *csr = NULL, *base64 = NULL, *body = NULL;

    assert_int_equal(pki_csr_new(b->key, subject, PKI_CLIENT | PKI_SERVER, &csr, NULL), 0);
    base64 = base64_encode(csr, strlen(csr));
    body = xasprintf("{\"apiVersion\":\"certificates.k8s.io/"
                     "v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"%s\"},"
                     "\"spec\":{\"request\":\"%s\",\"signerName\":\"%s\",\"usages\":[\"client auth\"]}}",
                     name, base64, signer);
    assert_int_equal(fixture_call(b->f, user, group, "POST", CSRS, body, NULL), 201);
    process(b, name);
}

/* What the certificate says that was issued; fails if there is none. */
static struct pki_info issued(struct bench *b, const char *name, const struct pki_authority *by, unsigned purpose)
{
    _cleanup_doc_ yyjson_doc *doc = fetch(b, name);
    const char *base64 = json_str(yyjson_doc_get_root(doc), "/status/certificate");
    _cleanup_free_ char *pem = NULL;
    struct pki_trust *trust = NULL;
    struct pki_info info = {0};

    if (!base64)
        fail_msg("no certificate: %s",
                 json_str_or(yyjson_doc_get_root(doc), "/status/conditions/0/message", "no condition"));
    assert_true(condition_true(yyjson_doc_get_root(doc), "Approved"));
    assert_int_equal(base64_decode(base64, strlen(base64), &pem, NULL), 0);
    assert_int_equal(pki_trust_new(pki_ca_cert_pem(pki_authority_now(by)->issuer), &trust, NULL), 0);
    assert_int_equal(pki_trust_verify_pem(trust, pem, purpose, clock_wall_ms(), &info, NULL), 0);
    assert_true(pki_cert_matches_key(pem, b->key));
    pki_trust_free(trust);
    return info;
}

static void assert_condition(struct bench *b, const char *name, const char *type, const char *why)
{
    _cleanup_doc_ yyjson_doc *doc = fetch(b, name);
    yyjson_val *condition = condition_find(yyjson_doc_get_root(doc), type);

    assert_null(json_str(yyjson_doc_get_root(doc), "/status/certificate"));
    if (!condition || !strstr(json_str_or(condition, "/message", ""), why))
        fail_msg("%s: %s", name, condition ? json_str_or(condition, "/message", "") : "no condition");
}

static const char *const nodes[] = {"system:nodes", NULL};

static void joining_and_renewing_agents_get_their_certificate(void **state)
{
    struct bench *b = *state;
    const struct pki_subject subject = {NODE_A, nodes, NULL};
    struct pki_info info;

    ask(b, "join", BOOTSTRAP, "system:bootstrappers", CLIENT, &subject);
    info = issued(b, "join", b->cluster, PKI_CLIENT);
    assert_string_equal(info.cn, NODE_A);
    assert_int_equal(info.n_o, 1);
    assert_int_equal(info.usages, PKI_CLIENT);
    pki_info_done(&info);
    ask(b, "renew", NODE_A, "system:nodes", CLIENT, &subject);
    info = issued(b, "renew", b->cluster, PKI_CLIENT);
    pki_info_done(&info);
}

static void agents_get_no_other_names(void **state)
{
    struct bench *b = *state;
    static const char *const masters[] = {"system:masters", NULL}, *const both[] = {"system:nodes", "system:masters",
                                                                                    NULL};
    static const char *const sans[] = {"kubernetes", NULL};

    ask(b, "admin", BOOTSTRAP, "system:bootstrappers", CLIENT, &(struct pki_subject){"admin", masters, NULL});
    assert_condition(b, "admin", "Denied", "CN=system:node:NODE");
    ask(b, "both", BOOTSTRAP, "system:bootstrappers", CLIENT, &(struct pki_subject){NODE_A, both, NULL});
    assert_condition(b, "both", "Denied", "and nothing else");
    ask(b, "sans", BOOTSTRAP, "system:bootstrappers", CLIENT, &(struct pki_subject){NODE_A, nodes, sans});
    assert_condition(b, "sans", "Denied", "no subject alternative names");
}

static void another_nodes_certificate_waits_for_an_administrator(void **state)
{
    struct bench *b = *state;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    struct pki_info info;

    ask(b, "other", NODE_B, "system:nodes", CLIENT, &(struct pki_subject){NODE_A, nodes, NULL});
    doc = fetch(b, "other");
    assert_null(json_at(yyjson_doc_get_root(doc), "/status/certificate"));
    assert_null(condition_find(yyjson_doc_get_root(doc), "Denied"));
    assert_int_equal(fixture_admin(b->f, "PATCH", CSRS "/other/approval",
                                   "{\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\",\"reason\":"
                                   "\"R\",\"message\":\"m\"}]}}"),
                     200);
    process(b, "other");
    info = issued(b, "other", b->cluster, PKI_CLIENT);
    pki_info_done(&info);
}

static void approve(struct bench *b, const char *name)
{
    _cleanup_free_ char *target = xasprintf(CSRS "/%s/approval", name);

    assert_int_equal(fixture_call(b->f, "root", "system:masters", "PATCH", target,
                                  "{\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\",\"reason\":"
                                  "\"R\",\"message\":\"m\"}]}}", NULL),
                     200);
    process(b, name);
}

static void people_get_a_certificate_when_it_is_approved(void **state)
{
    static const char *const groups[] = {"dev", "ops", NULL}, *const masters[] = {"dev", "system:masters", NULL},
                             *const sans[] = {"x", NULL};
    struct bench *b = *state;
    struct pki_info info;

    ask(b, "alice", "root", "system:masters", PERSON, &(struct pki_subject){"alice", groups, NULL});
    _cleanup_doc_ yyjson_doc *doc = fetch(b, "alice");
    assert_null(json_at(yyjson_doc_get_root(doc), "/status/certificate"));
    approve(b, "alice");
    info = issued(b, "alice", b->cluster, PKI_CLIENT);
    assert_string_equal(info.cn, "alice");
    assert_int_equal(info.n_o, 2);
    assert_string_equal(info.o[1], "ops");
    assert_int_equal(info.usages, PKI_CLIENT);
    pki_info_done(&info);
    ask(b, "root", "root", "system:masters", PERSON, &(struct pki_subject){"eve", masters, NULL});
    assert_condition(b, "root", "Denied", "no certificate for group system:masters");
    ask(b, "agent", "root", "system:masters", PERSON, &(struct pki_subject){NODE_A, nodes, NULL});
    assert_condition(b, "agent", "Denied", "no certificate for group system:nodes");
    ask(b, "node", "root", "system:masters", PERSON, &(struct pki_subject){NODE_A, NULL, NULL});
    assert_condition(b, "node", "Denied", "no certificate for users system:node:");
    ask(b, "server", "root", "system:masters", PERSON, &(struct pki_subject){"system:godwit:apiserver", NULL, NULL});
    assert_condition(b, "server", "Denied", "no certificate for users system:godwit:");
    ask(b, "sans", "root", "system:masters", PERSON, &(struct pki_subject){"alice", NULL, sans});
    assert_condition(b, "sans", "Denied", "no subject alternative names");
}

static void denied_requests_stay_denied(void **state)
{
    struct bench *b = *state;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    ask(b, "no", NODE_B, "system:nodes", CLIENT, &(struct pki_subject){NODE_A, nodes, NULL});
    assert_int_equal(fixture_admin(b->f, "PATCH", CSRS "/no/approval",
                                   "{\"status\":{\"conditions\":[{\"type\":\"Denied\",\"status\":\"True\",\"reason\":"
                                   "\"R\",\"message\":\"m\"}]}}"),
                     200);
    process(b, "no");
    doc = fetch(b, "no");
    assert_null(json_at(yyjson_doc_get_root(doc), "/status/certificate"));
}

static void serving_certificates_name_the_node_only(void **state)
{
    struct bench *b = *state;
    static const char *const good[] = {"node-a", "10.0.0.1", NULL}, *const evil[] = {"node-a", "10.0.0.2", NULL},
                             *const name[] = {"kubernetes", NULL};
    struct pki_info info;

    ask(b, "good", NODE_A, "system:nodes", SERVING, &(struct pki_subject){NODE_A, nodes, good});
    info = issued(b, "good", b->cluster, PKI_SERVER);
    assert_int_equal(info.n_sans, 2);
    assert_int_equal(info.usages, PKI_SERVER);
    pki_info_done(&info);
    ask(b, "evil", NODE_A, "system:nodes", SERVING, &(struct pki_subject){NODE_A, nodes, evil});
    assert_condition(b, "evil", "Denied", "10.0.0.2");
    ask(b, "name", NODE_A, "system:nodes", SERVING, &(struct pki_subject){NODE_A, nodes, name});
    assert_condition(b, "name", "Denied", "kubernetes");
    ask(b, "none", NODE_A, "system:nodes", SERVING, &(struct pki_subject){NODE_A, nodes, NULL});
    assert_condition(b, "none", "Denied", "are needed");
    ask(b, "stranger", NODE_B, "system:nodes", SERVING, &(struct pki_subject){NODE_A, nodes, good});
    assert_condition(b, "stranger", "Denied", "by the agent that it is for");
    ask(b, "absent", NODE_B, "system:nodes", SERVING, &(struct pki_subject){NODE_B, nodes, good});
    assert_condition(b, "absent", "Denied", "register it first");
}

static void migrations_certify_the_two_agents_concerned(void **state)
{
    struct bench *b = *state;
    static const char *const source[] = {"source.mig-1.migration.godwit.io", NULL},
                             *const target[] = {"target.mig-1.migration.godwit.io", NULL},
                             *const other[] = {"source.mig-2.migration.godwit.io", NULL},
                             *const more[] = {"source.mig-1.migration.godwit.io", "x", NULL};
    struct pki_info info;
    int64_t day = 86400000;

    ask(b, "s", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, source});
    info = issued(b, "s", b->migration, PKI_CLIENT);
    assert_string_equal(info.cn, "mig-1:source");
    assert_int_equal(info.usages, PKI_CLIENT | PKI_SERVER);
    assert_in_range(info.not_after_ms, clock_wall_ms() + day - 5000, clock_wall_ms() + day);
    pki_info_done(&info);
    ask(b, "t", NODE_B, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:target", NULL, target});
    info = issued(b, "t", b->migration, PKI_SERVER);
    pki_info_done(&info);

    b->signer.longest_s = 60; /* no certificate lives longer, and its life begins near its issue */
    ask(b, "short", NODE_B, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:target", NULL, target});
    info = issued(b, "short", b->migration, PKI_SERVER);
    assert_in_range(info.not_after_ms, clock_wall_ms() + 50000, clock_wall_ms() + 60000);
    assert_in_range(info.not_before_ms, clock_wall_ms() - 25000, clock_wall_ms() - 14000);
    assert_in_range(pki_renew_at_ms(&info), clock_wall_ms() + 15000, clock_wall_ms() + 40000);
    pki_info_done(&info);
    b->signer.longest_s = 0;

    ask(b, "wrong-side", NODE_B, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, source});
    assert_condition(b, "wrong-side", "Denied", "only the agent");
    ask(b, "admin", "root", "system:masters", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, source});
    assert_condition(b, "admin", "Denied", "only the agent");
    ask(b, "unknown", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-2:source", NULL, other});
    assert_condition(b, "unknown", "Denied", "mig-2");
    ask(b, "dns", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, other});
    assert_condition(b, "dns", "Denied", "source.mig-1.migration.godwit.io");
    ask(b, "more", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, more});
    assert_condition(b, "more", "Denied", "the only subject alternative name");
    ask(b, "group", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", nodes, source});
    assert_condition(b, "group", "Denied", "and nothing else");
    ask(b, "cn", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:both", NULL, source});
    assert_condition(b, "cn", "Denied", ":source or :target");
}

static void decided_migrations_certify_nobody(void **state)
{
    struct bench *b = *state;
    static const char *const source[] = {"source.mig-1.migration.godwit.io", NULL};

    fixture_fail_migration(b->f);
    ask(b, "late", NODE_A, "system:nodes", MIGRATION, &(struct pki_subject){"mig-1:source", NULL, source});
    assert_condition(b, "late", "Denied", "decided already");
}

static void unreadable_requests_are_denied_and_foreign_ones_left_alone(void **state)
{
    struct bench *b = *state;
#define BODY(name, signer) \
    "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"" name \
    "\"}," \
    "\"spec\":{\"request\":\"aGVsbG8=\",\"signerName\":\"" signer "\",\"usages\":[\"client auth\"]}}"

    assert_int_equal(fixture_admin(b->f, "POST", CSRS, BODY("junk", CLIENT)), 201);
    process(b, "junk");
    assert_condition(b, "junk", "Denied", "cannot read the certificate request");
    assert_int_equal(fixture_admin(b->f, "POST", CSRS, BODY("foreign", "example.com/signer")), 201);
    process(b, "foreign");
    _cleanup_doc_ yyjson_doc *doc = fetch(b, "foreign");
    assert_null(json_at(yyjson_doc_get_root(doc), "/status/conditions/0"));
}

static void old_requests_are_stale(void **state)
{
    struct bench *b = *state;
    int64_t now = clock_wall_ms(), hour = 3600000;
    _cleanup_doc_ yyjson_doc *done = NULL, *waiting = NULL;

    ask(b, "done", BOOTSTRAP, "system:bootstrappers", CLIENT, &(struct pki_subject){NODE_A, nodes, NULL});
    ask(b, "waiting", NODE_B, "system:nodes", CLIENT, &(struct pki_subject){NODE_A, nodes, NULL});
    done = fetch(b, "done");
    waiting = fetch(b, "waiting");
    assert_false(signer_is_stale(yyjson_doc_get_root(done), now));
    assert_true(signer_is_stale(yyjson_doc_get_root(done), now + 2 * hour));
    assert_false(signer_is_stale(yyjson_doc_get_root(waiting), now + 2 * hour));
    assert_true(signer_is_stale(yyjson_doc_get_root(waiting), now + 25 * hour));
}

static void put_event(struct bench *b, int number, const char *last)
{
    _cleanup_free_ char *body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"e%d\",\"namespace\":"
                                          "\"default\"},\"involvedObject\":{\"namespace\":\"default\"},\"lastTimestamp\":\"%s\"}", number, last);

    assert_int_equal(fixture_admin(b->f, "POST", "/api/v1/namespaces/default/events", body), 201);
}

static void old_events_go(void **state)
{
    struct bench *b = *state;
    int64_t now = clock_wall_ms(), hour = 3600000;
    char recent[CLOCK_TEXT_MAX];

    clock_format(now + hour, recent);
    for (int i = 0; i < 600; i++) /* more than a page */
        put_event(b, i, i % 100 ? "2020-01-01T00:00:00Z" : recent);
    assert_int_equal(sweep_stale(&b->f->rest, now + hour / 2), 0); /* what was just made is kept, whatever it says */
    assert_int_equal(sweep_stale(&b->f->rest, now + hour + hour / 2), 594);
    assert_int_equal(sweep_stale(&b->f->rest, now + 3 * hour), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joining_and_renewing_agents_get_their_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(agents_get_no_other_names, setup, teardown),
        cmocka_unit_test_setup_teardown(another_nodes_certificate_waits_for_an_administrator, setup, teardown),
        cmocka_unit_test_setup_teardown(people_get_a_certificate_when_it_is_approved, setup, teardown),
        cmocka_unit_test_setup_teardown(denied_requests_stay_denied, setup, teardown),
        cmocka_unit_test_setup_teardown(serving_certificates_name_the_node_only, setup, teardown),
        cmocka_unit_test_setup_teardown(migrations_certify_the_two_agents_concerned, setup, teardown),
        cmocka_unit_test_setup_teardown(decided_migrations_certify_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(unreadable_requests_are_denied_and_foreign_ones_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(old_requests_are_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(old_events_go, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

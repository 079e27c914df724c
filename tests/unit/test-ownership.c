/* Every write that docs/handover.md, section 2, allows, and what a stolen certificate of an agent would try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "api/patch.h"
#include "apiserver/ownership.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "migration/epoch.h"
#include "pki/pki.h"

#define M(fields) "{\"status\":{\"migrationState\":{" fields "}}}"
#define H(fields) M("\"handover\":{" fields "}")
#define STEP(name, more) "\"" name "\":{\"epoch\":4,\"time\":\"2026-11-21T08:00:00Z\"" more "}"
#define GRANT STEP("grant", ",\"node\":\"b\",\"by\":\"Source\"")
#define RETURN STEP("returned", ",\"node\":\"b\"")
#define NAMES_B "\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"b\"}}"
#define CLAIM_WITH(more)                                                                                                      \
    "{" NAMES_B ",\"status\":{\"nodeName\":\"b\",\"evacuationNodeName\":null,\"migrationState\":{\"completed\":true,"        \
    "\"endTimestamp\":\"2026-11-21T08:00:00Z\",\"targetNodeDomainReadyTimestamp\":\"2026-11-21T08:00:00Z\","                  \
    "\"handover\":{" STEP("claim", ",\"node\":\"b\"" more) "}}}}"
#define CLAIM CLAIM_WITH("")
#define FAILURE M("\"completed\":true,\"failed\":true,\"failureReason\":\"x\",\"endTimestamp\":\"2026-11-21T08:00:00Z\"")
#define WITHDRAW H("\"withdraw\":{\"by\":\"Controller\"}")
#define HAND_OFF(epoch, source)                                                                                               \
    M("\"migrationUid\":\"m5\",\"sourceNode\":\"" source "\",\"sourcePod\":\"p\",\"targetNode\":\"c\",\"targetPod\":\"q\","   \
      "\"completed\":null,\"failed\":null,\"abortRequested\":null,\"startTimestamp\":null,\"handover\":{\"epoch\":" epoch ","  \
      "\"grant\":null,\"claim\":null,\"returned\":null,\"withdraw\":null,\"received\":null}")

/* A VMI that moves from a to b in epoch 4; and what brings it into each state. */
static const char vmi[] =
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"vm\",\"uid\":\"u\",\"resourceVersion\":\"9\","
    "\"labels\":{\"kubevirt.io/nodeName\":\"a\",\"app\":\"x\"}},\"spec\":{\"domain\":{\"cpu\":{\"cores\":1}},\"volumes\":[{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}]},\"status\":{\"phase\":\"Running\","
    "\"nodeName\":\"a\",\"evacuationNodeName\":\"a\",\"interfaces\":[{\"ipAddress\":\"10.0.0.1\"}],\"migrationState\":{"
    "\"migrationUid\":\"m4\",\"sourceNode\":\"a\",\"sourcePod\":\"s\",\"targetNode\":\"b\",\"targetPod\":\"t\",\"targetState\":{\"node\":\"b\",\"pod\":\"q\"},"
    "\"migrationConfiguration\":{\"bandwidthPerMigration\":\"0\"},\"handover\":{\"epoch\":4}}}}";

enum { FRESH, UNBORN, OPEN, WITHDRAWN, RECEIVED, GRANTED, RETURNED, CLAIMED, CLOSED };
static const char *const states[] = {
    [FRESH] = "{\"status\":{\"migrationState\":null}}",
    [UNBORN] = "{\"status\":null,\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":null}}}",
    [OPEN] = "{}",
    [WITHDRAWN] = H("\"withdraw\":{\"by\":\"Controller\"}"),
    [RECEIVED] = H(STEP("received", "")),
    [GRANTED] = H(GRANT),
    [RETURNED] = H(RETURN),
    [CLAIMED] = CLAIM,
    [CLOSED] = FAILURE,
};

static struct pki_ca *ca, *other_ca;
static struct pki_trust *trust;

static yyjson_doc *patched(yyjson_val *object, const char *text)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(object);
    _cleanup_doc_ yyjson_doc *patch = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (json_parse(text, strlen(text), &patch, &err) < 0)
        fail_msg("%s: %s", text, gw_error_message(&err));
    assert_int_equal(patch_merge(d, yyjson_doc_get_root(patch), NULL), 0);
    return yyjson_mut_doc_imut_copy(d, NULL);
}

/* What is stored of others: both nodes, the pods of both sides, the claim of the disk. NULL is absent, "?" cannot be
 * known. */
#define READY "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
#define SILENT "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}"
#define TAINTED(status) \
    "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"effect\":\"NoExecute\"}]},\"status\":" \
    "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"" status "\"}]}}"
#define DEAD TAINTED("Unknown")
#define LIVE_POD "{\"status\":{\"phase\":\"Running\"}}"
#define OVER_POD "{\"status\":{\"phase\":\"Failed\"}}"
#define OF_ONE "{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]}}"
#define OF_MANY "{\"spec\":{\"accessModes\":[\"ReadWriteOnce\",\"ReadWriteMany\"]}}"

enum { NODE_A, NODE_B, POD_S, POD_T, DISK, N_STORED };
typedef const char *world[N_STORED];
static const char *const stored_names[N_STORED] = {"Node/a", "Node/b", "Pod/s", "Pod/t", "PersistentVolumeClaim/disk"};
static const world well = {READY, READY, LIVE_POD, LIVE_POD, OF_ONE};

struct reader {
    const char *const *world;
    yyjson_doc *docs[N_STORED];
};

static int read_stored(void *data, const char *kind, const char *namespace, const char *name, yyjson_val **ret)
{
    struct reader *r = data;
    _cleanup_free_ char *want = xasprintf("%s/%s", kind, name);

    *ret = NULL;
    for (size_t i = 0; i < N_STORED; i++) {
        const char *text = streq(stored_names[i], want) ? r->world[i] : NULL;
        if (!text)
            continue;
        if (streq(text, "?"))
            return -EIO;
        if (!r->docs[i])
            assert_int_equal(json_parse(text, strlen(text), &r->docs[i], NULL), 0);
        *ret = yyjson_doc_get_root(r->docs[i]);
    }
    return 0;
}

/* node NULL: the controllers. The refusal's text, or NULL: allowed. */
static char *try_in(const world w, const char *node, int state, const char *patch)
{
    struct reader reader = {.world = w};
    const struct ownership o = {.node = node, .pod_here = node && streq(node, "a"), .migration_trust = trust,
                                .wall_ms = clock_wall_ms(), .read = read_stored, .data = &reader};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *base = NULL, *old = NULL, *object = NULL;

    assert_int_equal(json_parse(vmi, strlen(vmi), &base, NULL), 0);
    old = patched(yyjson_doc_get_root(base), states[state]);
    object = patched(yyjson_doc_get_root(old), patch);
    assert_false(json_equal(yyjson_doc_get_root(old), yyjson_doc_get_root(object)));
    int r = ownership_check(&o, yyjson_doc_get_root(old), yyjson_doc_get_root(object), &err);
    for (size_t i = 0; i < N_STORED; i++)
        yyjson_doc_free(reader.docs[i]);
    if (r == 0)
        return NULL;
    assert_int_equal(err.reason, GW_FORBIDDEN);
    return xstrdup(gw_error_message(&err));
}

/* dead: a node that is declared dead, while all else is well. */
static char *try_write(const char *node, const char *dead, int state, const char *patch)
{
    world w;

    memcpy(w, well, sizeof(w));
    if (dead)
        w[streq(dead, "a") ? NODE_A : NODE_B] = DEAD;
    return try_in(w, node, state, patch);
}

static void allowed(const char *node, const char *dead, int state, const char *patch)
{
    _cleanup_free_ char *refusal = try_write(node, dead, state, patch);

    if (refusal)
        fail_msg("%s in state %d, %s: %s", node ? node : "C", state, patch, refusal);
}

/* field: what the refusal must name. */
static void refused(const char *node, const char *dead, int state, const char *patch, const char *field)
{
    _cleanup_free_ char *refusal = try_write(node, dead, state, patch);

    if (!refusal)
        fail_msg("%s in state %d, %s: was allowed", node ? node : "C", state, patch);
    if (!strstr(refusal, field))
        fail_msg("%s in state %d, %s: '%s' does not name %s", node ? node : "C", state, patch, refusal, field);
}

static void the_owner_speaks_for_the_guest(void **state)
{
    static const char first[] = "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"a\"},\"annotations\":{\"godwit.io/cpu\":\"x\"}},"
                                "\"status\":{\"phase\":\"Running\",\"nodeName\":\"a\",\"activePods\":{\"p\":\"a\"}}}";
    static const char running[] = "{\"status\":{\"interfaces\":[],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}";
    static const char final[] = "{\"status\":{\"phase\":\"Failed\"}}";

    allowed("a", NULL, UNBORN, first);
    refused("b", NULL, UNBORN, first, "metadata.");
    for (int s = FRESH; s <= CLOSED; s++) {
        if (s != UNBORN && s != CLAIMED)
            allowed("a", NULL, s, running);
        if (s != UNBORN)
            refused("c", NULL, s, running, "status.");
    }
    allowed("b", NULL, CLAIMED, running);
    refused("b", NULL, OPEN, running, "status.interfaces");
    refused("a", NULL, CLAIMED, running, "status.interfaces");
    refused("a", NULL, CLAIMED, "{\"status\":{\"nodeName\":\"a\"}}", "status.nodeName");
    refused("a", NULL, FRESH, "{\"status\":{\"nodeName\":\"b\"}}", "status.nodeName");
    refused("a", NULL, FRESH, "{\"status\":{\"nodeName\":null}}", "status.nodeName");
    refused("a", NULL, FRESH, "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"b\"}}}", "metadata.labels.kubevirt.io/nodeName");

    /* A final phase, only when it is certain that the guest runs nowhere else. */
    allowed("a", NULL, FRESH, final);
    allowed("a", NULL, RETURNED, final);
    allowed("a", NULL, CLOSED, final);
    allowed("b", NULL, CLAIMED, final);
    refused("a", NULL, OPEN, final, "status.phase");
    refused("a", NULL, GRANTED, final, "status.phase");
    allowed("a", NULL, OPEN, "{\"status\":{\"phase\":\"Scheduled\"}}");
}

static void spec_and_metadata_are_not_the_agents(void **state)
{
    static const struct {
        const char *patch, *field;
    } rows[] = {
        {"{\"spec\":{\"domain\":{\"cpu\":{\"cores\":2}}}}", "spec.domain.cpu.cores"},
        {"{\"spec\":null}", "spec.domain"},
        {"{\"metadata\":{\"labels\":{\"app\":\"y\"}}}", "metadata.labels.app"},
        {"{\"metadata\":{\"labels\":{\"kubevirt.io/migrationTargetNodeName\":\"a\"}}}", "migrationTargetNodeName"},
        {"{\"metadata\":{\"annotations\":{\"godwit.io/pod-address\":\"10.0.0.9\"}}}", "pod-address"},
        {"{\"metadata\":{\"finalizers\":[\"x\"]}}", "metadata.finalizers"},
        {"{\"metadata\":{\"ownerReferences\":[]}}", "metadata.ownerReferences"},
        {"{\"other\":1}", "other"},
    };
    static const char *const nodes[] = {"a", "b", "c"};

    for (size_t n = 0; n < ARRAY_SIZE(nodes); n++)
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
            for (int s = FRESH; s <= CLOSED; s++)
                if (s != UNBORN)
                    refused(nodes[n], NULL, s, rows[i].patch, rows[i].field);
}

static void the_copy(void **state)
{
    static const struct {
        const char *node, *patch, *field;
    } rows[] = {
        {"b", M("\"targetNodeAddress\":\"10.0.0.2\""), "targetNodeAddress"},
        {"b", M("\"targetDirectMigrationNodePorts\":{\"49152\":49152}"), "targetDirectMigrationNodePorts"},
        {"b", M("\"targetNodeDomainDetected\":true"), "targetNodeDomainDetected"},
        {"b", M("\"targetState\":{\"nodeAddress\":\"10.0.0.2\",\"syncAddress\":\"10.0.0.2:1\"}"), "targetState.nodeAddress"},
        {"b", H(STEP("received", "")), "handover.received"},
        {"a", M("\"startTimestamp\":\"2026-11-21T08:00:00Z\",\"mode\":\"PreCopy\""), "startTimestamp"},
        {"a", H("\"withdraw\":{\"by\":\"Source\"}"), "handover.withdraw"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        allowed(rows[i].node, NULL, OPEN, rows[i].patch);
        refused(streq(rows[i].node, "a") ? "b" : "a", NULL, OPEN, rows[i].patch, rows[i].field);
        refused("c", NULL, OPEN, rows[i].patch, rows[i].field);
        for (int s = GRANTED; s <= CLOSED; s++)
            refused(rows[i].node, NULL, s, rows[i].patch, rows[i].field);
    }
    refused("a", NULL, WITHDRAWN, H("\"withdraw\":null"), "withdraw");
    refused("a", NULL, WITHDRAWN, H("\"withdraw\":{\"by\":\"Source\"}"), "withdraw");
    refused("b", NULL, OPEN, H("\"received\":{\"epoch\":3}"), "received");
    refused("b", NULL, OPEN, M("\"targetState\":{\"node\":\"c\"}"), "targetState.node");
    refused("b", NULL, OPEN, M("\"targetState\":null"), "targetState.");

    const char *progress = M("\"progress\":{\"percent\":5}");
    allowed("a", NULL, OPEN, progress);
    allowed("a", NULL, GRANTED, progress);
    allowed("a", NULL, CLAIMED, progress);
    refused("a", NULL, CLOSED, progress, "progress");
    refused("b", NULL, OPEN, progress, "progress.percent");
}

static void nobody_but_the_controllers_says_who_moves_where(void **state)
{
    static const struct {
        const char *patch, *field;
    } rows[] = {
        {M("\"sourceNode\":\"b\""), "sourceNode"},
        {M("\"targetNode\":\"a\""), "targetNode"},
        {M("\"migrationUid\":\"other\""), "migrationUid"},
        {M("\"migrationConfiguration\":{\"bandwidthPerMigration\":\"1\"}"), "migrationConfiguration"},
        {M("\"abortRequested\":true"), "abortRequested"},
        {H("\"epoch\":5"), "handover.epoch"},
        {H("\"epoch\":3"), "handover.epoch"},
        {"{\"status\":{\"migrationState\":null}}", "migrationState."},
        {HAND_OFF("5", "a"), "migrationState."},
    };

    for (int s = OPEN; s <= CLOSED; s++)
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            refused("a", NULL, s, rows[i].patch, rows[i].field);
            refused("b", NULL, s, rows[i].patch, rows[i].field);
        }
    refused("a", NULL, FRESH, HAND_OFF("1", "a"), "migrationState.");
    /* Also an agent that names itself the target in the write that claims. */
    refused("c", NULL, GRANTED, CLAIM, "metadata.labels");
}

static void a_grant_is_given_once_by_the_source(void **state)
{
    const char *with_figures = M("\"progress\":{\"percent\":100,\"downtimeMs\":3},\"handover\":{" GRANT "}");

    allowed("a", NULL, OPEN, with_figures);
    allowed("a", NULL, RECEIVED, H(GRANT));
    refused("b", NULL, OPEN, H(GRANT), "handover.grant");
    refused("c", NULL, OPEN, H(GRANT), "handover.grant");
    refused("a", NULL, RETURNED, H(GRANT), "handover.grant");
    refused("a", NULL, CLAIMED, H(GRANT), "handover.grant");
    refused("a", NULL, CLOSED, H(GRANT), "handover.grant");
    refused("a", NULL, GRANTED, H("\"grant\":null"), "handover.grant");
    refused("a", NULL, GRANTED, H("\"grant\":{\"time\":\"2027-01-01T00:00:00Z\"}"), "handover.grant");
    refused("a", NULL, OPEN, H("\"grant\":{\"epoch\":3,\"node\":\"b\"}"), "handover.grant");
    refused("a", NULL, OPEN, H("\"grant\":{\"epoch\":4,\"node\":\"c\"}"), "handover.grant");
    refused("a", NULL, OPEN, H("\"grant\":{}"), "handover.grant");
}

static void the_source_fails_what_it_has_not_granted(void **state)
{
    const char *aborted = M("\"completed\":true,\"failed\":true,\"failureReason\":\"x\",\"abortStatus\":\"Succeeded\"");

    allowed("a", NULL, OPEN, FAILURE);
    allowed("a", NULL, OPEN, aborted);
    allowed("a", NULL, WITHDRAWN, FAILURE);
    allowed("a", NULL, RETURNED, FAILURE);
    refused("a", NULL, GRANTED, FAILURE, "migrationState.");
    refused("a", NULL, CLAIMED, FAILURE, "migrationState.");
    refused("b", NULL, OPEN, FAILURE, "migrationState.");
    refused("b", NULL, RETURNED, FAILURE, "migrationState.");
    refused("a", NULL, OPEN, M("\"completed\":true"), "completed"); /* a success is the target's to say */
    refused("a", NULL, CLOSED, M("\"completed\":null,\"failed\":null"), "completed");
    refused("a", NULL, CLAIMED, M("\"completed\":null"), "completed");
}

static void a_return_is_final(void **state)
{
    allowed("b", NULL, OPEN, H(RETURN));
    allowed("b", NULL, GRANTED, H(RETURN));
    refused("a", NULL, OPEN, H(RETURN), "handover.returned");
    refused("c", NULL, GRANTED, H(RETURN), "handover.returned");
    refused("b", NULL, RETURNED, H("\"returned\":null"), "handover.returned");
    refused("b", NULL, RETURNED, H("\"returned\":{\"node\":\"x\"}"), "handover.returned");
    refused("b", NULL, CLAIMED, H(RETURN), "handover.returned");
    refused("b", NULL, CLOSED, H(RETURN), "handover.returned");
    refused("b", NULL, OPEN, H("\"returned\":{\"epoch\":3}"), "handover.returned");
}

static void a_claim_needs_a_grant(void **state)
{
    allowed("b", NULL, GRANTED, CLAIM);
    refused("b", NULL, OPEN, CLAIM, "no grant is recorded");
    refused("b", NULL, RECEIVED, CLAIM, "no grant is recorded");
    refused("b", NULL, RETURNED, CLAIM, "may be written");
    refused("b", NULL, CLOSED, CLAIM, "may be written");
    refused("a", NULL, GRANTED, CLAIM, "metadata.labels");
    refused("c", NULL, GRANTED, CLAIM, "metadata.labels");
    refused("b", NULL, GRANTED, "{\"status\":{\"nodeName\":\"b\"}}", "status.nodeName");
    refused("b", NULL, GRANTED, "{" NAMES_B "}", "metadata.labels.kubevirt.io/nodeName");
    refused("b", NULL, GRANTED, H(STEP("claim", ",\"node\":\"b\"")), "status.nodeName must");
    refused("b", NULL, GRANTED, M("\"completed\":true"), "completed");
    refused("b", NULL, CLAIMED, H("\"claim\":null"), "handover.claim");
    refused("b", NULL, CLAIMED, H("\"claim\":{\"time\":\"2027-01-01T00:00:00Z\"}"), "handover.claim");
    refused("a", NULL, CLAIMED, H("\"claim\":null"), "handover.claim");
}

static char *claim_with_proof(const struct pki_ca *by, const char *cn, unsigned usage, const char *uid, int64_t epoch, const char *node)
{
    _cleanup_free_ char *text = epoch_grant_text("u", uid, epoch, node), *cert = NULL, *signature = NULL;
    _cleanup_key_ char *key = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *proof = json_object();

    assert_int_equal(pki_issue_with_key(by, &(struct pki_subject){.cn = cn}, usage, 3600, &cert, &key, NULL), 0);
    assert_int_equal(pki_sign(key, text, strlen(text), &signature, NULL), 0);
    json_set_str(proof, "/certificate", cert);
    json_set_str(proof, "/signature", signature);
    _cleanup_free_ char *json = json_text(yyjson_mut_doc_get_root(proof)), *more = xasprintf(",\"proof\":%s", json);
    return xasprintf(CLAIM_WITH("%s"), more);
}

static void or_a_proof_of_one(void **state)
{
    const struct {
        const struct pki_ca *by;
        const char *cn;
        unsigned usage;
        const char *uid;
        int64_t epoch;
        const char *node, *why;
    } rows[] = {
        {ca, "m4:source", PKI_CLIENT, "m4", 4, "b", NULL},
        {other_ca, "m4:source", PKI_CLIENT, "m4", 4, "b", "migration authority"},
        {ca, "m4:source", PKI_SERVER, "m4", 4, "b", "migration authority"},
        {ca, "m4:target", PKI_CLIENT, "m4", 4, "b", "migration's source"},
        {ca, "m3:source", PKI_CLIENT, "m4", 4, "b", "migration's source"},
        {ca, "m4:source", PKI_CLIENT, "m3", 4, "b", "signature"},
        {ca, "m4:source", PKI_CLIENT, "m4", 3, "b", "signature"},
        {ca, "m4:source", PKI_CLIENT, "m4", 4, "c", "signature"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *claim = claim_with_proof(rows[i].by, rows[i].cn, rows[i].usage, rows[i].uid, rows[i].epoch, rows[i].node);
        if (rows[i].why) {
            refused("b", NULL, OPEN, claim, rows[i].why);
            continue;
        }
        allowed("b", NULL, OPEN, claim);
        allowed("b", NULL, WITHDRAWN, claim);
        allowed("b", NULL, GRANTED, claim);
        refused("b", NULL, RETURNED, claim, "may be written");
        refused("b", NULL, CLOSED, claim, "may be written");
        refused("a", NULL, OPEN, claim, "metadata.labels");
    }
    refused("b", NULL, OPEN, CLAIM_WITH(",\"proof\":{}"), "migration authority");
    refused("b", NULL, OPEN, CLAIM_WITH(",\"proof\":7"), "migration authority");
}

static void hand_offs_follow_settled_epochs_only(void **state)
{
    allowed(NULL, NULL, FRESH, HAND_OFF("1", "a"));
    allowed(NULL, NULL, CLOSED, HAND_OFF("5", "a"));
    allowed(NULL, NULL, CLAIMED, HAND_OFF("5", "b"));
    refused(NULL, NULL, OPEN, HAND_OFF("5", "a"), "settled");
    refused(NULL, NULL, GRANTED, HAND_OFF("5", "a"), "settled");
    refused(NULL, NULL, RETURNED, HAND_OFF("5", "a"), "settled");
    refused(NULL, NULL, CLOSED, HAND_OFF("6", "a"), "rises by one");
    refused(NULL, NULL, CLOSED, HAND_OFF("3", "a"), "rises by one");
    refused(NULL, NULL, CLAIMED, HAND_OFF("5", "a"), "owns the guest");
    refused(NULL, NULL, CLOSED, HAND_OFF("5", "c"), "two nodes");
    refused(NULL, NULL, CLOSED, H("\"epoch\":5"), "begins Open");
    refused(NULL, NULL, CLOSED, "{\"status\":{\"migrationState\":null}}", "rises by one");
    refused(NULL, NULL, OPEN, M("\"targetNode\":\"c\""), "targetNode");
    refused(NULL, NULL, OPEN, M("\"migrationUid\":\"c\""), "migrationUid");
}

static void controllers_act_for_the_dead_only(void **state)
{
    allowed(NULL, NULL, OPEN, M("\"abortRequested\":true"));
    refused(NULL, NULL, GRANTED, M("\"abortRequested\":true"), "abortRequested");
    allowed(NULL, "a", OPEN, WITHDRAW);
    refused(NULL, NULL, OPEN, WITHDRAW, "withdraw");
    refused(NULL, "b", OPEN, WITHDRAW, "withdraw");
    refused(NULL, "a", GRANTED, WITHDRAW, "withdraw");
    allowed(NULL, "a", RECEIVED, H(GRANT));
    refused(NULL, "a", OPEN, H(GRANT), "handover.grant");
    refused(NULL, "b", RECEIVED, H(GRANT), "handover.grant");
    refused(NULL, NULL, RECEIVED, H(GRANT), "handover.grant");
    allowed(NULL, "b", OPEN, H(RETURN));
    allowed(NULL, "b", GRANTED, H(RETURN));
    refused(NULL, NULL, GRANTED, H(RETURN), "handover.returned");
    refused(NULL, "b", CLAIMED, H(RETURN), "handover.returned");
    refused(NULL, "a", OPEN, FAILURE, "completed"); /* the target may have a grant that nobody else knows of */
    allowed(NULL, "a", RETURNED, FAILURE);
    refused(NULL, NULL, RETURNED, FAILURE, "completed"); /* the source takes the guest back */
    refused(NULL, "b", RETURNED, FAILURE, "completed");
    refused(NULL, "a", RETURNED, M("\"completed\":true"), "completed");
    refused(NULL, "a", GRANTED, FAILURE, "migrationState.");
    refused(NULL, "a", CLAIMED, FAILURE, "migrationState.");
    refused(NULL, "a", GRANTED, CLAIM, "migrationState.");
    refused(NULL, NULL, OPEN, "{\"status\":{\"nodeName\":\"b\"}}", "status.nodeName");
    refused(NULL, "a", FRESH, "{\"status\":{\"nodeName\":null}}", "status.nodeName");
    allowed(NULL, NULL, UNBORN, "{\"status\":{\"phase\":\"Scheduling\",\"conditions\":[]}}");
    allowed(NULL, "a", CLOSED, "{\"status\":{\"phase\":\"Failed\"},\"metadata\":{\"labels\":{\"app\":\"z\"},\"finalizers\":[]}}");
}

/* What is stored of a side, and whether it counts as gone: for the source with a target that has returned, for the
 * target with a source that is declared dead. */
static void gone_is_what_the_stored_objects_show(void **state)
{
    static const struct {
        const char *node, *pod;
        bool gone;
    } rows[] = {
        {DEAD, LIVE_POD, true},          {DEAD, NULL, true},      {DEAD, OVER_POD, true},
        {READY, NULL, true},             {READY, OVER_POD, true}, {READY, LIVE_POD, false},
        {SILENT, NULL, false},           {SILENT, LIVE_POD, false},
        {TAINTED("True"), LIVE_POD, false}, /* it answers: declared wrongly */
        {NULL, NULL, false},             {NULL, LIVE_POD, false}, /* a Node that was removed says nothing */
        {"?", NULL, false},              {READY, "?", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const world source = {rows[i].node, READY, rows[i].pod, LIVE_POD, OF_ONE};
        const world target = {DEAD, rows[i].node, LIVE_POD, rows[i].pod, OF_ONE};
        _cleanup_free_ char *close = try_in(source, NULL, RETURNED, FAILURE), *withdraw = try_in(source, NULL, OPEN, WITHDRAW);
        _cleanup_free_ char *at_once = try_in(target, NULL, OPEN, FAILURE);

        if (!close != rows[i].gone || !withdraw != rows[i].gone || !at_once != rows[i].gone)
            fail_msg("row %zu: %s; %s; %s", i, close, withdraw, at_once);
    }
}

/* A source that is dead may have run on, and written, after the target was complete. */
static void no_grant_in_its_place_with_a_shared_disk(void **state)
{
    static const struct {
        const char *claim;
        bool granted;
    } rows[] = {{OF_ONE, true}, {OF_MANY, false}, {NULL, false}, {"?", false}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const world w = {DEAD, READY, LIVE_POD, LIVE_POD, rows[i].claim}, silent = {SILENT, READY, NULL, LIVE_POD, rows[i].claim};
        _cleanup_free_ char *refusal = try_in(w, NULL, RECEIVED, H(GRANT)), *unsure = try_in(silent, NULL, RECEIVED, H(GRANT));

        assert_int_equal(!refusal, rows[i].granted);
        assert_non_null(unsure);
    }
}

static void controllers_end_no_guest_in_mid_air(void **state)
{
    static const char over[] = "{\"status\":{\"phase\":\"Failed\"}}";

    allowed(NULL, NULL, FRESH, over);
    allowed(NULL, NULL, CLAIMED, over);
    refused(NULL, "a", OPEN, over, "status.phase");
    refused(NULL, "a", GRANTED, over, "status.phase");
    refused(NULL, "a", RETURNED, over, "status.phase");
    allowed(NULL, NULL, OPEN, "{\"status\":{\"phase\":\"Scheduled\"}}");
}

static void refusals_say_who_may_and_when(void **state)
{
    _cleanup_free_ char *text = try_write("b", NULL, GRANTED, H("\"grant\":null"));

    assert_string_equal(text, "status.migrationState.handover.grant.epoch may be written by the agent of the source while the epoch is Open, once, for "
                              "this epoch and its target; or by the controllers while the epoch is Open, once the target has received "
                              "the guest, the source's node is declared dead, and no disk is shared; epoch 4 is Granted");
    free(text);
    text = try_write("a", NULL, OPEN, M("\"sourceNode\":\"b\""));
    assert_string_equal(text, "status.migrationState.sourceNode may be written neither by agents nor, but at a hand-off, by the controllers; "
                              "epoch 4 is Open");
}

static int setup(void **state)
{
    assert_int_equal(pki_ca_new("migration", 3600, &ca, NULL), 0);
    assert_int_equal(pki_ca_new("other", 3600, &other_ca, NULL), 0);
    return pki_trust_new(pki_ca_cert_pem(ca), &trust, NULL);
}

static int teardown(void **state)
{
    pki_trust_free(trust);
    pki_ca_free(ca);
    pki_ca_free(other_ca);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_speaks_for_the_guest),
        cmocka_unit_test(spec_and_metadata_are_not_the_agents),
        cmocka_unit_test(the_copy),
        cmocka_unit_test(nobody_but_the_controllers_says_who_moves_where),
        cmocka_unit_test(a_grant_is_given_once_by_the_source),
        cmocka_unit_test(the_source_fails_what_it_has_not_granted),
        cmocka_unit_test(a_return_is_final),
        cmocka_unit_test(a_claim_needs_a_grant),
        cmocka_unit_test(or_a_proof_of_one),
        cmocka_unit_test(hand_offs_follow_settled_epochs_only),
        cmocka_unit_test(controllers_act_for_the_dead_only),
        cmocka_unit_test(gone_is_what_the_stored_objects_show),
        cmocka_unit_test(no_grant_in_its_place_with_a_shared_disk),
        cmocka_unit_test(controllers_end_no_guest_in_mid_air),
        cmocka_unit_test(refusals_say_who_may_and_when),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

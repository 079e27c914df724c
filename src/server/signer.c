#include "server/signer.h"

#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/str.h"
#include "apiserver/local.h"

#define HOUR_S 3600LL
#define DAY_S (24 * HOUR_S)
#define MIN_LIFETIME_S 600
#define CLIENT_LIFETIME_S (365 * DAY_S)
/* A certificate matters at handshakes and in the proof of a grant. One day covers the copying of any guest but the
 * hugest, and an agent may ask again while the migration is open; the key is worth nothing once its migration is over.
 */
#define MIGRATION_LIFETIME_S DAY_S
#define KEEP_DONE_MS (HOUR_S * 1000)
#define KEEP_WAITING_MS (DAY_S * 1000)

/* One request on its way. */
struct csr {
    struct signer *s;
    yyjson_val *object;
    const char *user; /* who asks */
    char *pem;
    struct pki_info info;
    struct api_user who;
    const char **groups;
};

static void csr_done(struct csr *c)
{
    free(c->pem);
    free(c->groups);
    pki_info_done(&c->info);
}

/* Says why a request is never to be signed. */
#define refuse(err, ...) gw_error_set((err), GW_FORBIDDEN, __VA_ARGS__)

static const char *requesting_node(const struct csr *c)
{
    return authz_node_of(&c->who);
}

/* The node that the request's subject names; "" if it is not that of an agent. */
static const char *subject_node(const struct csr *c)
{
    if (!str_starts(c->info.cn, NODE_USER_PREFIX) || c->info.n_o != 1 || !streq(c->info.o[0], GROUP_NODES))
        return "";
    return c->info.cn + strlen(NODE_USER_PREFIX);
}

/* --- kubernetes.io/kube-apiserver-client --- */

/* For people and programs. Who approves says that the names are right; no approval makes somebody a master. */
static int check_client(const struct csr *c, struct gw_error *err)
{
    static const char *const never[] = {GROUP_MASTERS, GROUP_CONTROLLERS, GROUP_NODES, GROUP_BOOTSTRAPPERS};
    /* By these names agents know each other and this server, without any group. */
    static const char *const reserved[] = {NODE_USER_PREFIX, "system:godwit:"};

    if (!*c->info.cn)
        return refuse(err, "the subject must have a common name: the user");
    if (c->info.n_sans || c->info.n_other_sans)
        return refuse(err, "a client certificate has no subject alternative names");
    for (size_t i = 0; i < c->info.n_o; i++)
        for (size_t k = 0; k < ARRAY_SIZE(never); k++)
            if (streq(c->info.o[i], never[k]))
                return refuse(err, "no certificate for group %s is signed on request", never[k]);
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (str_starts(c->info.cn, reserved[i]))
            return refuse(err, "no certificate for users %s... is signed on request", reserved[i]);
    return 0;
}

static bool may_never(const struct csr *c)
{
    return false;
}

/* --- kubernetes.io/kube-apiserver-client-kubelet --- */

static int check_node_client(const struct csr *c, struct gw_error *err)
{
    if (!*subject_node(c))
        return refuse(err, "the subject must be CN=system:node:NODE, O=system:nodes and nothing else");
    if (c->info.n_sans || c->info.n_other_sans)
        return refuse(err, "a client certificate of an agent has no subject alternative names");
    return 0;
}

static bool may_node_client(const struct csr *c)
{
    return api_user_in_group(&c->who, GROUP_BOOTSTRAPPERS) || streq(c->info.cn, c->user);
}

/* --- kubernetes.io/kubelet-serving --- */

static bool is_node_address(yyjson_val *node, const char *text)
{
    return streq(text, meta_name(node)) || json_find(json_at(node, "/status/addresses"), "/address", text);
}

static int check_serving(const struct csr *c, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(c->s->rest->kinds, "", NULL, "Node");
    const char *name = subject_node(c);
    _cleanup_doc_ yyjson_doc *node = NULL;

    if (!*name || !streq(name, requesting_node(c)))
        return refuse(
            err,
            "a serving certificate must be requested by the agent that it is for: CN=system:node:NODE, O=system:nodes");
    if (c->info.n_sans == 0 || c->info.n_other_sans)
        return refuse(err, "DNS names and IP addresses are needed as subject alternative names, and no others");
    if (!kind || rest_read(c->s->rest, kind, NULL, name, &node, NULL) < 0)
        return refuse(err, "Node \"%s\" does not exist: register it first", name);
    for (size_t i = 0; i < c->info.n_sans; i++)
        if (!is_node_address(yyjson_doc_get_root(node), c->info.sans[i]))
            return refuse(err, "\"%s\" is neither the name nor in status.addresses of Node \"%s\"", c->info.sans[i],
                          name);
    return 0;
}

static bool may_always(const struct csr *c)
{
    return true; /* check has looked at who asks */
}

/* --- godwit.io/migration --- */

struct side {
    const char *name, *node_path;
};
static const struct side sides[] = {
    {"source", "/status/migrationState/sourceNode"},
    {"target", "/status/migrationState/targetNode"},
};

/* CN=<migration uid>:source, DNS name source.<migration uid>.migration.godwit.io (docs/handover.md). */
static const struct side *find_side(const struct pki_info *info, char **ret_uid)
{
    const char *colon = strrchr(info->cn, ':');

    for (size_t i = 0; colon && i < ARRAY_SIZE(sides); i++)
        if (streq(colon + 1, sides[i].name)) {
            *ret_uid = xstrndup(info->cn, (size_t)(colon - info->cn));
            return &sides[i];
        }
    return NULL;
}

/* The VMI whose status speaks of this migration. Texts are searched before they are parsed: there may be many VMIs. */
static yyjson_doc *find_vmi(struct rest_server *rest, const char *migration_uid)
{
    const struct kind *kind = kinds_find_kind(rest->kinds, "kubevirt.io", NULL, "VirtualMachineInstance");
    _cleanup_store_list_ struct store_list list = {0};

    if (!kind || store_list(rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < list.len; i++) {
        const struct blob *b = list.items[i].value;
        _cleanup_doc_ yyjson_doc *doc = NULL;

        if (memmem(b->data, b->len, migration_uid, strlen(migration_uid)) &&
            object_load("v1", kind->kind, list.items[i].revision, b->data, b->len, &doc, NULL) == 0 &&
            streq(json_str_or(yyjson_doc_get_root(doc), "/status/migrationState/migrationUid", ""), migration_uid))
            return TAKE_PTR(doc);
    }
    return NULL;
}

static bool is_open(yyjson_val *vmi)
{
    yyjson_val *m = json_at(vmi, "/status/migrationState");

    return !json_bool(m, "/completed", false) && !json_at(m, "/handover/grant") && !json_at(m, "/handover/claim") &&
           !json_at(m, "/handover/returned");
}

static int check_migration(const struct csr *c, struct gw_error *err)
{
    _cleanup_free_ char *uid = NULL, *dns = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;
    const struct side *side = find_side(&c->info, &uid);

    if (!side || !*uid || c->info.n_o)
        return refuse(err, "the subject must be CN=<uid of the migration>:source or :target and nothing else");
    dns = xasprintf("%s.%s.migration.godwit.io", side->name, uid);
    if (c->info.n_sans != 1 || !streq(c->info.sans[0], dns) || c->info.n_other_sans)
        return refuse(err, "the only subject alternative name must be the DNS name %s", dns);
    vmi = find_vmi(c->s->rest, uid);
    if (!vmi)
        return refuse(err, "no VirtualMachineInstance is in the migration with uid %s", uid);
    if (!*requesting_node(c) || !streq(json_str_or(yyjson_doc_get_root(vmi), side->node_path, ""), requesting_node(c)))
        return refuse(err, "only the agent that status.migrationState names for the %s may ask for its certificate",
                      side->name);
    if (!is_open(yyjson_doc_get_root(vmi)))
        return refuse(err, "the migration with uid %s is decided already", uid);
    return 0;
}

/* --- The signers --- */

struct rule {
    const char *name;
    unsigned usages;
    int64_t lifetime_s;
    int (*check)(const struct csr *, struct gw_error *err); /* 0, or why it is never to be signed */
    bool (*approves)(const struct csr *);                   /* without an administrator */
    bool by_migration_ca;
};

static const struct rule rules[] = {
    {"kubernetes.io/kube-apiserver-client", PKI_CLIENT, CLIENT_LIFETIME_S, check_client, may_never, false},
    {"kubernetes.io/kube-apiserver-client-kubelet", PKI_CLIENT, CLIENT_LIFETIME_S, check_node_client, may_node_client,
     false},
    {"kubernetes.io/kubelet-serving", PKI_SERVER, CLIENT_LIFETIME_S, check_serving, may_always, false},
    {"godwit.io/migration", PKI_CLIENT | PKI_SERVER, MIGRATION_LIFETIME_S, check_migration, may_always, true},
};

static const struct rule *find_rule(yyjson_val *csr)
{
    const char *name = json_str_or(csr, "/spec/signerName", "");

    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (streq(rules[i].name, name))
            return &rules[i];
    return NULL;
}

static int read_csr(struct csr *c, struct gw_error *err)
{
    yyjson_val *groups = json_at(c->object, "/spec/groups"), *group;
    const char *request = json_str_or(c->object, "/spec/request", "");

    c->user = json_str_or(c->object, "/spec/username", "");
    c->groups = xnew_n(const char *, yyjson_arr_size(groups) + 1);
    json_each(groups, group)
        c->groups[c->who.n_groups++] = yyjson_is_str(group) ? yyjson_get_str(group) : "";
    c->who.name = c->user;
    c->who.groups = c->groups;
    if (base64_decode(request, strlen(request), &c->pem, NULL) < 0)
        return refuse(err, "spec.request is not base64");
    return pki_csr_read(c->pem, &c->info, err);
}

/* --- Writing the outcome --- */

static yyjson_mut_doc *status_with(yyjson_val *csr, const char *type, const char *reason, const char *message)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *conditions = yyjson_val_mut_copy(d, json_at(csr, "/status/conditions")), *c = yyjson_mut_obj(d);
    char now[CLOCK_TEXT_MAX];

    clock_format(clock_wall_ms(), now);
    json_set_str(d, "/metadata/resourceVersion", meta_version(csr));
    yyjson_mut_obj_add_strcpy(d, c, "type", type);
    yyjson_mut_obj_add_strcpy(d, c, "status", "True");
    yyjson_mut_obj_add_strcpy(d, c, "reason", reason);
    yyjson_mut_obj_add_strcpy(d, c, "message", message);
    yyjson_mut_obj_add_strcpy(d, c, "lastUpdateTime", now);
    yyjson_mut_obj_add_strcpy(d, c, "lastTransitionTime", now);
    if (!conditions)
        conditions = yyjson_mut_arr(d);
    yyjson_mut_arr_append(conditions, c);
    json_set(d, "/status/conditions", conditions);
    return d;
}

static int write_status(struct signer *s, yyjson_val *csr, yyjson_mut_doc *patch, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(s->rest->kinds, "certificates.k8s.io", NULL, "CertificateSigningRequest");
    _cleanup_free_ char *target = local_target(kind, NULL, meta_name(csr), "status");
    _cleanup_blob_ struct blob *body = json_encode(yyjson_mut_doc_get_root(patch));

    return local_call(s->rest, "PATCH", target, MERGE_PATCH, body, NULL, err);
}

static int write_refusal(struct signer *s, yyjson_val *csr, const struct gw_error *why, struct gw_error *err)
{
    /* One that an administrator has approved can't be denied any more: the two exclude each other. */
    const char *type = condition_true(csr, "Approved") ? "Failed" : "Denied";
    _cleanup_mut_doc_ yyjson_mut_doc *patch = status_with(csr, type, "SignerValidationFailure", gw_error_message(why));

    return write_status(s, csr, patch, err);
}

static int64_t lifetime(const struct csr *c, const struct rule *rule)
{
    int64_t wanted = json_int(c->object, "/spec/expirationSeconds", rule->lifetime_s);

    return pki_life(c->s->longest_s, MIN(MAX(wanted, MIN_LIFETIME_S), rule->lifetime_s));
}

static int sign_migration(const struct csr *c, const struct rule *rule, const struct pki_subject *subject, char **ret,
                          struct gw_error *err)
{
    _cleanup_free_ char *uid = NULL;

    (void)find_side(&c->info, &uid); /* check_migration has found one */
    return authorities_issue_migration(c->s->authorities, uid, c->pem, subject, rule->usages, lifetime(c, rule), ret,
                                       err);
}

static int sign(const struct csr *c, const struct rule *rule, struct gw_error *err)
{
    _cleanup_free_ const char **o = xnew_n(const char *, c->info.n_o + 1),
                              **sans = xnew_n(const char *, c->info.n_sans + 1);
    const struct pki_subject subject = {c->info.cn, o, sans};
    _cleanup_free_ char *cert = NULL, *text = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *patch = NULL;
    int r;

    for (size_t i = 0; i < c->info.n_o; i++)
        o[i] = c->info.o[i];
    for (size_t i = 0; i < c->info.n_sans; i++)
        sans[i] = c->info.sans[i];
    r = rule->by_migration_ca
            ? sign_migration(c, rule, &subject, &cert, err)
            : authorities_issue(c->s->authorities, c->pem, &subject, rule->usages, lifetime(c, rule), &cert, err);
    if (r < 0)
        return r;
    text = base64_encode(cert, strlen(cert));
    patch = condition_true(c->object, "Approved") ? json_object()
                                                  : status_with(c->object, "Approved", "AutoApproved",
                                                                "the signer's own rules approve of this requester");
    json_set_str(patch, "/metadata/resourceVersion", meta_version(c->object));
    json_set_str(patch, "/status/certificate", text);
    return write_status(c->s, c->object, patch, err);
}

static bool is_answered(yyjson_val *csr)
{
    return json_str(csr, "/status/certificate") || condition_true(csr, "Denied") || condition_true(csr, "Failed");
}

int signer_process(struct signer *s, yyjson_val *object, struct gw_error *err)
{
    const struct rule *rule = find_rule(object);
    _cleanup_(csr_done) struct csr c = {.s = s, .object = object};
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r;

    if (!rule || is_answered(object) || meta_deleting(object))
        return 0;
    r = read_csr(&c, &why);
    r = r < 0 ? r : rule->check(&c, &why);
    if (r < 0)
        return write_refusal(s, object, &why, err);
    if (!condition_true(object, "Approved") && !rule->approves(&c))
        return 0; /* waits for an administrator */
    return sign(&c, rule, err);
}

bool signer_is_stale(yyjson_val *csr, int64_t wall_ms)
{
    int64_t age = wall_ms - meta_created(csr);

    return age > (is_answered(csr) ? KEEP_DONE_MS : KEEP_WAITING_MS);
}

/* certificateauthorities.godwit.io: what the authorities are and whom a roll-over waits for, computed for each request.
 */
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "server/authorities_internal.h"

#define GROUP "godwit.io"
#define VERSION "v1alpha1"
#define KIND "CertificateAuthority"

struct waiting_list {
    yyjson_mut_doc *d;
    yyjson_mut_val *list;
};

static void add_waiting(void *userdata, const char *what, const char *name, const char *why)
{
    struct waiting_list *w = userdata;
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(w->d, w->list);

    yyjson_mut_obj_add_strcpy(w->d, o, "kind", what);
    yyjson_mut_obj_add_strcpy(w->d, o, "name", name);
    yyjson_mut_obj_add_strcpy(w->d, o, "reason", why);
}

static void add_cert(yyjson_mut_doc *d, yyjson_mut_val *list, const struct pki_ca *ca, const char *role)
{
    _cleanup_pki_info_ struct pki_info info = {0};
    yyjson_mut_val *o;
    char time[CLOCK_TEXT_MAX];

    if (!ca || pki_cert_read(pki_ca_cert_pem(ca), &info, NULL) < 0)
        return;
    o = yyjson_mut_arr_add_obj(d, list);
    yyjson_mut_obj_add_str(d, o, "role", role);
    yyjson_mut_obj_add_strcpy(d, o, "subject", info.cn);
    yyjson_mut_obj_add_strcpy(d, o, "fingerprint", info.fingerprint);
    yyjson_mut_obj_add_strcpy(d, o, "notBefore", clock_format(info.not_before_ms, time));
    yyjson_mut_obj_add_strcpy(d, o, "notAfter", clock_format(info.not_after_ms, time));
}

/* Only the cluster's authority has users. */
static void add_users(yyjson_mut_doc *d, yyjson_mut_val *status, struct authorities *a, const struct authority *one)
{
    yyjson_mut_val *list;

    if (one != &a->each[CLUSTER] || pki_authority_now(one->authority)->phase != PKI_RENEWING)
        return;
    list = yyjson_mut_obj_add_arr(d, status, "usersOfTheOld");
    pthread_mutex_lock(&a->users_lock);
    for (size_t i = 0; i < a->users.len; i++)
        yyjson_mut_arr_add_strcpy(d, list, a->users.items[i]);
    pthread_mutex_unlock(&a->users_lock);
}

static yyjson_mut_val *describe(yyjson_mut_doc *d, struct authorities *a, const struct authority *one)
{
    const struct pki_authority_state *now = pki_authority_now(one->authority);
    yyjson_mut_val *o = yyjson_mut_obj(d), *metadata = yyjson_mut_obj_add_obj(d, o, "metadata"),
                   *status = yyjson_mut_obj_add_obj(d, o, "status"), *certs = yyjson_mut_arr(d);
    struct waiting_list waiting = {d, yyjson_mut_arr(d)};
    char time[CLOCK_TEXT_MAX];

    yyjson_mut_obj_add_str(d, metadata, "name", one->name);
    yyjson_mut_obj_add_str(d, status, "phase", pki_phase_text(now->phase));
    yyjson_mut_obj_add_strcpy(d, status, "since", clock_format(now->since_ms, time));
    add_cert(d, certs, now->issuer, "Signs");
    add_cert(d, certs, now->other, "Trusted");
    yyjson_mut_obj_add_val(d, status, "certificates", certs);
    authorities_waiting(a, one, add_waiting, &waiting);
    yyjson_mut_obj_add_val(d, status, "waitingFor", waiting.list);
    add_users(d, status, a, one);
    yyjson_mut_obj_add_strcpy(d, status, "bundle", now->bundle);
    return o;
}

static int answer_one(struct authorities *a, const struct authority *one, int status, struct api_response *response)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    yyjson_mut_doc_set_root(d, describe(d, a, one));
    json_set_str(d, "/kind", KIND);
    json_set_str(d, "/apiVersion", GROUP "/" VERSION);
    api_response_json(response, status, json_encode(yyjson_mut_doc_get_root(d)));
    return 0;
}

static int answer_list(struct authorities *a, struct api_response *response)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *items = yyjson_mut_arr(d);

    json_set_str(d, "/kind", KIND "List");
    json_set_str(d, "/apiVersion", GROUP "/" VERSION);
    json_set(d, "/metadata", yyjson_mut_obj(d));
    for (size_t i = 0; i < ARRAY_SIZE(a->each); i++)
        yyjson_mut_arr_append(items, describe(d, a, &a->each[i]));
    json_set(d, "/items", items);
    api_response_json(response, 200, json_encode(yyjson_mut_doc_get_root(d)));
    return 0;
}

static const struct authority *find(struct authorities *a, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(a->each); i++)
        if (streq(a->each[i].name, name))
            return &a->each[i];
    return NULL;
}

static int rotate(struct authorities *a, const struct authority *one, const struct api_request *q,
                  struct api_response *response, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = json_parse(q->body ? q->body : "", q->body_len, &doc, err);

    r = r < 0 ? r : authorities_step(a, one, json_str_or(yyjson_doc_get_root(doc), "/step", ""), err);
    return r < 0 ? r : answer_one(a, one, 201, response);
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    struct authorities *a = s->authorities;
    const struct authority *one = a && t->name ? find(a, t->name) : NULL;

    if (a && !t->subresource && streq(t->verb, "list"))
        return answer_list(a, response);
    if (t->name && !one)
        return gw_error_set(err, GW_NOT_FOUND, "certificateauthorities." GROUP " \"%s\" not found", t->name);
    if (one && !t->subresource && streq(t->verb, "get"))
        return answer_one(a, one, 200, response);
    if (one && t->subresource && streq(t->verb, "create"))
        return rotate(a, one, q, response, err);
    return gw_error_set(err, GW_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

const struct rest_extra authority_extras[] = {
    {.group = GROUP, .resource = "certificateauthorities", .verbs = "get list", .version = VERSION, .handle = handle},
    {.group = GROUP,
     .resource = "certificateauthorities",
     .subresource = "rotate",
     .kind = KIND,
     .verbs = "create",
     .version = VERSION,
     .handle = handle},
    {0},
};

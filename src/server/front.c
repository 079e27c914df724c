#include "server/front.h"

#include <string.h>
#include <strings.h>

#include "apiserver/impersonation.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "server/audit.h"
#include "server/feed.h"
#include "server/health.h"

#define MAX_CHAIN 8

/* --- The answer's way back --- */

static void send_response(struct http_request *r, struct api_response *response)
{
    bool cache_said = false;

    VEC_EACH(&response->headers, h) {
        http_add_header(r, h->name, h->value);
        cache_said = cache_said || streq(h->name, "Cache-Control");
    }
    if (!cache_said)
        http_add_header(r, "Cache-Control", "no-cache, private");
    if (response->watch) {
        feed_start(r, response->status, response->content_type, TAKE_PTR(response->watch));
        return;
    }
    if (response->handoff.run) {
        void (*run)(void *, void *) = response->handoff.run;

        response->handoff.run = NULL;
        run(response->handoff.data, r);
        return;
    }
    http_answer(r, response->status, response->content_type, (const struct http_part *)response->body.items,
                response->body.len);
    response->body.len = 0; /* the references went to the answer */
}

/* about: what the request was about, or NULL. */
static void send_error(struct http_request *r, const struct gw_error *err, const struct api_subject *about)
{
    _cleanup_response_ struct api_response response = {0};

    api_response_error(&response, err, about);
    send_response(r, &response);
}

/* --- Who asks --- */

static void free_identity(void *data)
{
    identity_free(data);
}

/* The identity of a client certificate is found out once per connection, and looked at
 * again when the certificate has ended or an authority has come or gone. */
static int identify_chain(struct front *f, struct http_request *r, const struct identity **ret, struct gw_error *err)
{
    struct http_der chain[MAX_CHAIN];
    struct pki_der copy[MAX_CHAIN];
    struct identity *who = http_connection_data(r);
    int64_t now = clock_wall_ms();
    size_t n;
    int result;

    if (!who || !authn_is_current(f->authn, who, now)) {
        n = http_peer_chain(r, chain, MAX_CHAIN);
        if (n == 0)
            return 0;
        for (size_t i = 0; i < n; i++)
            copy[i] = (struct pki_der){chain[i].data, chain[i].len};
        result = authn_chain(f->authn, copy, n, now, &who, err);
        if (result < 0)
            return result;
        http_set_connection_data(r, who, free_identity);
    }
    *ret = who;
    return 0;
}

/* The certificate counts before the token, the token before nothing. ret_own is what the caller frees. */
static int identify(struct front *f, struct http_request *r, const struct identity **ret, struct identity **ret_own,
                    struct gw_error *err)
{
    const char *token = http_bearer_token(r);
    int result = identify_chain(f, r, ret, err);

    if (result < 0 || *ret)
        return result;
    if (token)
        result = authn_token(f->authn, token, ret_own, err);
    else
        *ret_own = identity_anonymous();
    *ret = *ret_own;
    return result;
}

static void collect(void *data, const char *name, const char *value)
{
    if (strncasecmp(name, "Impersonate-", strlen("Impersonate-")) == 0)
        api_headers_push(data, (struct api_header){(char *)name, (char *)value}); /* they live as long as the request */
}

/* ret: as whom the request is to be made, who may be somebody else than real; ret_own is what the caller frees. */
static int impersonate(struct front *f, struct http_request *r, const struct identity *real,
                       const struct identity **ret, struct identity **ret_own, struct api_subject *ret_about,
                       struct gw_error *err)
{
    const struct api_user user = identity_user(real);
    struct api_headers asked = {0};
    int result;

    http_each_header(r, collect, &asked);
    result = impersonation_apply(f->rest, &user, &asked, ret_own, ret_about, err);
    api_headers_done(&asked);
    if (result == 0)
        *ret = *ret_own ? *ret_own : real;
    return result;
}

/* --- The request --- */

/* real: who asks, who: as whom. */
static void handle_api(struct front *f, struct http_request *r, const struct identity *who, const struct identity *real)
{
    _cleanup_response_ struct api_response response = {0};
    const int64_t received_us = clock_wall_us();
    struct api_request request = {
        .method = http_method(r),
        .target = http_target(r),
        .accept = http_header(r, "Accept"),
        .content_type = http_header(r, "Content-Type"),
        .if_none_match = http_header(r, "If-None-Match"),
        .user_agent = http_header(r, "User-Agent"),
        .upgrade = http_header(r, "Upgrade"),
        .user = identity_user(who),
    };

    const struct api_user user = identity_user(real);

    http_set_user(r, real->name);
    request.body = http_body(r, &request.body_len);
    if (!discovery_handle(f->discovery, &request, &response))
        rest_handle(f->rest, &request, &response);
    audit_write(f->audit, &user, &request, http_client_address(r), received_us, &response);
    send_response(r, &response);
}

void front_handle(struct http_request *r, void *userdata)
{
    struct front *f = userdata;
    _cleanup_identity_ struct identity *own = NULL, *other = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const struct identity *real = NULL, *who = NULL;
    struct api_subject about = {0};

    if (http_fault(r)) {
        send_error(r, http_fault(r), NULL);
    } else if (health_answer(r, __atomic_load_n(&f->ready, __ATOMIC_ACQUIRE))) {
        return;
    } else if (identify(f, r, &real, &own, &err) < 0) {
        /* The reason goes to nobody: it would help those who try keys. Kubernetes says the same word. */
        gw_error_set(&err, GW_UNAUTHORIZED, "Unauthorized");
        send_error(r, &err, NULL);
    } else if (impersonate(f, r, real, &who, &other, &about, &err) < 0) {
        send_error(r, &err, &about);
    } else {
        handle_api(f, r, who, real);
    }
}

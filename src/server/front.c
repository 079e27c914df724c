#include "server/front.h"

#include <string.h>
#include <strings.h>

#include "apiserver/impersonation.h"
#include "apiserver/render.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server/audit.h"
#include "server/authorities.h"
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

/* --- Who asks --- */

static void free_identity(void *data)
{
    identity_free(data);
}

/* The identity of a client certificate is found out once per connection, and looked at again when the certificate has
 * ended or an authority has come or gone. */
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
        if (who->of_old && f->rest->authorities)
            authorities_note_user(f->rest->authorities, who->name);
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
        result = authn_token(f->authn, token, NULL, ret_own, err);
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

static struct api_request read_request(const struct http_request *r)
{
    struct api_request request = {
        .method = http_method(r),
        .target = http_target(r),
        .accept = http_header(r, "Accept"),
        .content_type = http_header(r, "Content-Type"),
        .if_none_match = http_header(r, "If-None-Match"),
        .user_agent = http_header(r, "User-Agent"),
        .upgrade = http_header(r, "Upgrade"),
    };

    request.body = http_body(r, &request.body_len);
    return request;
}

void front_serve(struct front *f, const struct api_user *user, struct api_request *request, const char *address,
                 struct api_response *response)
{
    const int64_t received_us = clock_wall_us();

    if (!discovery_handle(f->discovery, request, response))
        rest_handle(f->rest, request, response);
    audit_write(f->audit, user, request, address, received_us, response);
    render_answer(request, response);
}

static void refuse(struct front *f, struct http_request *r, const struct identity *real, const struct gw_error *err,
                   const struct api_subject *about, struct api_response *response)
{
    const struct api_user user = real ? identity_user(real) : (struct api_user){.name = ""};
    struct api_request request = read_request(r);

    request.user = user;
    api_response_error(response, err, about);
    audit_write(f->audit, &user, &request, http_client_address(r), clock_wall_us(), response);
    render_answer(&request, response);
}

/* As whom the request is made is found out here, who makes it is known. */
static void serve_identified(struct front *f, struct http_request *r, const struct identity *real,
                             struct api_response *response)
{
    _cleanup_identity_ struct identity *other = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const struct api_user user = identity_user(real);
    const struct identity *who = NULL;
    struct api_subject about = {0};
    struct api_request request;

    http_set_user(r, real->name);
    if (http_fault(r)) {
        refuse(f, r, real, http_fault(r), NULL, response);
    } else if (impersonate(f, r, real, &who, &other, &about, &err) < 0) {
        refuse(f, r, real, &err, &about, response);
    } else {
        request = read_request(r);
        request.user = identity_user(who);
        front_serve(f, &user, &request, http_client_address(r), response);
    }
}

/* For the operator alone, and not more than once a second: whoever tries keys shall not fill the log. */
static void say_why(struct front *f, struct http_request *r, const struct gw_error *err)
{
    int64_t now = clock_monotonic_ms(), last = __atomic_load_n(&f->refused_ms, __ATOMIC_RELAXED);

    if (now - last < 1000 && last != 0)
        return;
    __atomic_store_n(&f->refused_ms, now, __ATOMIC_RELAXED);
    log_info("credentials from %s are not believed: %s", http_client_address(r), gw_error_message(err));
}

void front_handle(struct http_request *r, void *userdata)
{
    struct front *f = userdata;
    _cleanup_identity_ struct identity *own = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_response_ struct api_response response = {0};
    const struct identity *real = NULL;

    if (!http_fault(r) && health_answer(r, __atomic_load_n(&f->ready, __ATOMIC_ACQUIRE)))
        return;
    if (identify(f, r, &real, &own, &err) == 0) {
        serve_identified(f, r, real, &response);
    } else {
        say_why(f, r, &err);
        /* The reason goes to nobody else: it would help those who try keys. Kubernetes says the same word. */
        gw_error_set(&err, GW_UNAUTHORIZED, "Unauthorized");
        refuse(f, r, NULL, &err, NULL, &response);
    }
    send_response(r, &response);
}

#include "server/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/meta.h"
#include "apiserver/authz.h"
#include "apiserver/route.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

struct audit {
    char *path;
    int fd;
    bool failing; /* atomic: said already */
};

int audit_open(const char *path, struct audit **ret, struct gw_error *err)
{
    struct audit *a;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return gw_error_errno(err, errno, "cannot open the audit log %s", path);
    a = xnew(struct audit);
    a->path = xstrdup(path);
    a->fd = fd;
    *ret = a;
    return 0;
}

struct audit *audit_close(struct audit *a)
{
    if (a) {
        (void)close(a->fd);
        free(a->path);
        free(a);
    }
    return NULL;
}

static bool is_read(const struct api_request *request)
{
    return streq(request->method, "GET") || streq(request->method, "HEAD");
}

static bool is_routine(const struct api_user *u, const struct rest_target *t)
{
    bool own = api_user_in_group(u, GROUP_CONTROLLERS) || api_user_in_group(u, GROUP_NODES);

    return own && (streq(t->resource, "leases") || streq(t->resource, "events") || str_same(t->subresource, "status"));
}

static void put_text(yyjson_mut_doc *d, const char *path, const char *text)
{
    if (text && *text)
        json_set_str(d, path, text);
}

static void put_user(yyjson_mut_doc *d, const char *key, const struct api_user *u)
{
    yyjson_mut_val *who = yyjson_mut_obj_add_obj(d, yyjson_mut_doc_get_root(d), key), *groups;

    if (!*u->name)
        return;
    yyjson_mut_obj_add_strcpy(d, who, "username", u->name);
    groups = yyjson_mut_obj_add_arr(d, who, "groups");

    for (size_t i = 0; i < u->n_groups; i++)
        yyjson_mut_arr_add_strcpy(d, groups, u->groups[i]);
}

static void put_object(yyjson_mut_doc *d, const struct rest_target *t)
{
    put_text(d, "/objectRef/resource", t->resource);
    put_text(d, "/objectRef/namespace", t->namespace);
    put_text(d, "/objectRef/name", t->name);
    put_text(d, "/objectRef/apiGroup", t->group);
    put_text(d, "/objectRef/apiVersion", t->version);
    put_text(d, "/objectRef/subresource", t->subresource);
}

/* The answer knows what a new object is called, and why a request was refused. */
static void put_answer(yyjson_mut_doc *d, const struct api_response *response)
{
    _cleanup_blob_ struct blob *text = api_parts_join(&response->body);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *answer;

    json_set(d, "/responseStatus/metadata", yyjson_mut_obj(d));
    json_set_int(d, "/responseStatus/code", response->status);
    if (json_parse(text->data, text->len, &doc, NULL) < 0)
        return;
    answer = yyjson_doc_get_root(doc);
    if (response->status >= 400) {
        put_text(d, "/responseStatus/status", json_str(answer, "/status"));
        put_text(d, "/responseStatus/reason", json_str(answer, "/reason"));
        put_text(d, "/responseStatus/message", json_str(answer, "/message"));
    } else if (json_mut_at(d, "/objectRef") && !json_mut_at(d, "/objectRef/name")) {
        put_text(d, "/objectRef/name", meta_name(answer));
    }
}

static void put_times(yyjson_mut_doc *d, int64_t received_us)
{
    char text[CLOCK_TEXT_MAX];

    json_set_str(d, "/requestReceivedTimestamp", clock_format_micro(received_us, text));
    json_set_str(d, "/stageTimestamp", clock_format_micro(clock_wall_us(), text));
}

static void append(struct audit *a, yyjson_mut_doc *d)
{
    _cleanup_free_ char *line = json_text(yyjson_mut_doc_get_root(d));
    _cleanup_free_ char *text = xasprintf("%s\n", line);
    ssize_t n = write(a->fd, text, strlen(text)); /* one call, so that lines of several threads stay whole */
    struct gw_error err = GW_ERROR_INIT;

    if (n == (ssize_t)strlen(text)) {
        __atomic_store_n(&a->failing, false, __ATOMIC_RELAXED);
    } else if (!__atomic_exchange_n(&a->failing, true, __ATOMIC_RELAXED)) {
        int r = gw_error_errno(&err, n < 0 ? errno : ENOSPC, "%s", a->path);

        log_failure(r, &err, "writing the audit log");
    }
}

void audit_write(struct audit *a, const struct api_user *user, const struct api_request *request, const char *address,
                 int64_t received_us, struct api_response *response)
{
    _cleanup_uri_ struct http_uri uri = {0};
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    struct rest_target t = {0};
    yyjson_mut_val *addresses;
    char id[UUID_TEXT];

    if (!a || (is_read(request) && response->status != 401) || http_uri_parse(request->target, &uri, NULL) < 0)
        return;
    if (route_target(request->method, &uri, &t, NULL) == 0 && is_routine(&request->user, &t))
        return;
    d = json_object();
    json_set_str(d, "/kind", "Event");
    json_set_str(d, "/apiVersion", "audit.k8s.io/v1");
    json_set_str(d, "/level", "Metadata");
    json_set_str(d, "/auditID", random_uuid(id));
    json_set_str(d, "/stage", "ResponseComplete");
    json_set_str(d, "/requestURI", request->target);
    json_set_str(d, "/verb", t.verb ? t.verb : request->method);
    put_user(d, "user", user);
    if (!streq(user->name, request->user.name))
        put_user(d, "impersonatedUser", &request->user);
    addresses = yyjson_mut_arr(d);
    yyjson_mut_arr_add_strcpy(d, addresses, address);
    json_set(d, "/sourceIPs", addresses);
    put_text(d, "/userAgent", request->user_agent);
    if (t.resource)
        put_object(d, &t);
    put_answer(d, response);
    put_times(d, received_us);
    append(a, d);
    api_response_header(response, "Audit-Id", "%s", id);
}

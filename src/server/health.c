#include "server/health.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "http/uri.h"

#define TEXT "text/plain; charset=utf-8"

const char *const health_targets[] = {"/livez", "/readyz", "/healthz", NULL};

/* ping says no more than that somebody answers; a server that starts or stops is alive, but not ready. */
static const struct check {
    const char *name;
    bool ready_only;
    const char *fault; /* while the server does not serve; NULL: no such */
} checks[] = {
    {"ping", false, NULL},
    {"serving", true, "starting or shutting down"},
};

struct health {
    const char *endpoint; /* "readyz" */
    const struct http_uri *uri;
    bool serving;
};

static bool concerns(const struct health *h, const struct check *c)
{
    return !c->ready_only || streq(h->endpoint, "readyz");
}

static bool fails(const struct health *h, const struct check *c)
{
    return c->fault && !h->serving;
}

static bool is_excluded(const struct health *h, const char *name)
{
    for (size_t i = 0; i < h->uri->n_params; i++)
        if (streq(h->uri->params[i].name, "exclude") && streq(h->uri->params[i].value, name))
            return true;
    return false;
}

static void answer_all(struct http_request *r, const struct health *h)
{
    _cleanup_str_ struct str lines = {0};
    bool failed = false;

    for (const struct check *c = checks; c < checks + ARRAY_SIZE(checks); c++) {
        if (!concerns(h, c))
            continue;
        if (is_excluded(h, c->name)) {
            str_printf(&lines, "[+]%s excluded: ok\n", c->name);
        } else if (fails(h, c)) {
            failed = true;
            str_printf(&lines, "[-]%s failed: %s\n", c->name, c->fault);
        } else {
            str_printf(&lines, "[+]%s ok\n", c->name);
        }
    }
    str_printf(&lines, "%s check %s\n", h->endpoint, failed ? "failed" : "passed");
    bool verbose = failed || http_uri_param(h->uri, "verbose");
    http_answer_text(r, failed ? 500 : 200, TEXT, verbose ? str_text(&lines) : "ok");
}

static void answer_one(struct http_request *r, const struct health *h, const char *name)
{
    for (const struct check *c = checks; c < checks + ARRAY_SIZE(checks); c++)
        if (concerns(h, c) && streq(c->name, name)) {
            http_answer_text(r, fails(h, c) ? 500 : 200, TEXT, fails(h, c) ? c->fault : "ok");
            return;
        }
    http_answer_text(r, 404, TEXT, "404 page not found");
}

static bool is_endpoint(const char *segment)
{
    for (const char *const *t = health_targets; *t; t++)
        if (streq(*t + 1, segment))
            return true;
    return false;
}

bool health_answer(struct http_request *r, bool serving)
{
    _cleanup_uri_ struct http_uri uri = {0};

    if (http_uri_parse(http_target(r), &uri, NULL) < 0 || uri.n_segments == 0 || !is_endpoint(uri.segments[0]))
        return false;
    struct health h = {.endpoint = uri.segments[0], .uri = &uri, .serving = serving};
    if (uri.n_segments == 1)
        answer_all(r, &h);
    else
        answer_one(r, &h, uri.n_segments == 2 ? uri.segments[1] : "");
    return true;
}

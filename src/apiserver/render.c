#include "apiserver/render.h"

#include <stdlib.h>

#include "api/yaml.h"
#include "apiserver/output.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"

static bool asked_by_people(const char *user_agent)
{
    static const char *const programs[] = {"curl", "Wget", "Mozilla/5.0"};

    for (size_t i = 0; user_agent && i < ARRAY_SIZE(programs); i++)
        if (str_starts(user_agent, programs[i]))
            return true;
    return false;
}

static bool wants_pretty(const struct api_request *request)
{
    _cleanup_uri_ struct http_uri uri = {0};
    const char *said = http_uri_parse(request->target, &uri, NULL) == 0 ? http_uri_param(&uri, "pretty") : NULL;

    return said && *said ? http_uri_flag(&uri, "pretty") : asked_by_people(request->user_agent);
}

static bool is_plain_json(const struct api_response *response)
{
    if (!str_same(response->content_type, "application/json") || response->watch || response->handoff.run)
        return false;
    VEC_EACH(&response->headers, h)
        if (streq(h->name, "ETag"))
            return false;
    return true;
}

/* What cannot be written otherwise stays as it is. */
void render_answer(const struct api_request *request, struct api_response *response)
{
    bool yaml = output_wants_yaml(request->accept);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_blob_ struct blob *body = NULL;
    char *text;

    if (!is_plain_json(response) || !(yaml || wants_pretty(request)))
        return;
    body = api_parts_join(&response->body);
    if (json_parse(body->data, body->len, &doc, NULL) < 0)
        return;
    text = yaml ? yaml_write(yyjson_doc_get_root(doc))
                : yyjson_val_write(yyjson_doc_get_root(doc),
                                   YYJSON_WRITE_PRETTY_TWO_SPACES | YYJSON_WRITE_NEWLINE_AT_END, NULL);
    if (!text)
        return;
    api_parts_clear(&response->body);
    api_parts_add_text(&response->body, text);
    response->content_type = yaml ? "application/yaml" : response->content_type;
    free(text);
}

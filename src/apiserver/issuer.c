#include "apiserver/issuer.h"

#include <string.h>

#include "apiserver/account_token.h"
#include "base/alloc.h"
#include "base/str.h"
#include "pki/jwt.h"

bool issuer_is_path(const struct http_uri *uri)
{
    return streq(uri->path, ISSUER_CONFIGURATION) || streq(uri->path, ISSUER_KEYS);
}

/* Under the address that clients know this server by, which is the endpoint of default/kubernetes: the issuer's name
 * leads somewhere only for those who have arranged it. */
static char *keys_url(struct rest_server *s)
{
    const struct kind *kind = kinds_find_kind(s->kinds, "discovery.k8s.io", NULL, "EndpointSlice");
    _cleanup_doc_ yyjson_doc *doc = NULL;
    const char *address = NULL;
    yyjson_val *slice;

    if (kind && rest_read(s, kind, "default", "kubernetes", &doc, NULL) == 0) {
        slice = yyjson_doc_get_root(doc);
        address = json_str(slice, "/endpoints/0/addresses/0");
    }
    if (!address)
        return xstrdup(TOKEN_AUDIENCE ISSUER_KEYS);
    return xasprintf(strchr(address, ':') ? "https://[%s]:%lld%s" : "https://%s:%lld%s", address,
                     (long long)json_int(slice, "/ports/0/port", 443), ISSUER_KEYS);
}

static void set_list(yyjson_mut_doc *d, const char *key, const char *only)
{
    yyjson_mut_arr_add_str(d, yyjson_mut_obj_add_arr(d, d->root, key), only);
}

static void fill_configuration(struct rest_server *s, yyjson_mut_doc *d)
{
    _cleanup_free_ char *url = keys_url(s);

    json_set_str(d, "/issuer", TOKEN_AUDIENCE);
    json_set_str(d, "/jwks_uri", url);
    set_list(d, "response_types_supported", "id_token");
    set_list(d, "subject_types_supported", "public");
    set_list(d, "id_token_signing_alg_values_supported", JWT_ALGORITHM);
}

void issuer_answer(struct rest_server *s, const struct http_uri *uri, struct api_response *response)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool keys = streq(uri->path, ISSUER_KEYS);

    if (!s->token_key) {
        api_response_text(response, 404, "404 page not found\n");
        return;
    }
    if (!keys)
        fill_configuration(s, d);
    else if (jwt_public_keys(s->token_key, d, &err) < 0) {
        api_response_error(response, &err, NULL);
        return;
    }
    api_response_header(response, "Cache-Control", "public, max-age=3600");
    api_response_json(response, 200, json_encode(d->root));
    if (keys)
        response->content_type = "application/jwk-set+json";
}

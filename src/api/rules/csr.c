/* CertificateSigningRequest: who asks is what the server saw, and the request is fixed. */
#include <string.h>

#include "api/rules/common.h"
#include "api/rules/kinds.h"

static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_mut_val *groups = yyjson_mut_arr(d);

    if (old)
        return; /* the API server keeps spec as it was */
    json_set_str(d, "/spec/username", ctx->user);
    for (const char *const *g = ctx->groups; g && *g; g++)
        yyjson_mut_arr_add_strcpy(d, groups, *g);
    json_set(d, "/spec/groups", groups);
    json_remove(d, "/spec/uid");
    json_remove(d, "/spec/extra");
}

static void check_signer(yyjson_val *object, struct gw_error *err)
{
    const char *signer = json_str_or(object, "/spec/signerName", ""), *slash = strchr(signer, '/');
    _cleanup_free_ char *text = xasprintf("\"%s\"", signer);

    if (!slash || slash == signer || !slash[1] || !memchr(signer, '.', (size_t)(slash - signer)))
        field_invalid(err, "spec.signerName", text,
                      "must be a fully qualified domain and path of the form "
                      "'example.com/signer-name'");
}

static void check_conditions(yyjson_val *object, struct gw_error *err)
{
    yyjson_val *condition;
    bool approved = false, denied = false;

    json_each(json_at(object, "/status/conditions"), condition) {
        const char *type = json_str_or(condition, "/type", "");
        approved |= streq(type, "Approved");
        denied |= streq(type, "Denied");
    }
    if (approved && denied)
        field_invalid(err, "status.conditions", "\"Denied\"", "Approved and Denied conditions are mutually exclusive");
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    check_conditions(object, err);
    if (old) {
        spec_fixed(object, old, err);
        return;
    }
    check_signer(object, err);
    if (!*json_str_or(object, "/spec/request", ""))
        field_required(err, "spec.request", "PEM encoded certificate request");
    if (yyjson_arr_size(json_at(object, "/spec/usages")) == 0)
        field_required(err, "spec.usages", "what the certificate is for");
}

const struct rules csr_rules = {
    .group = "certificates.k8s.io",
    .kind = "CertificateSigningRequest",
    .set_defaults = set_defaults,
    .validate = validate,
};

#include "server/sweep.h"

#include "api/meta.h"
#include "api/object.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "apiserver/bootstrap_token.h"
#include "apiserver/local.h"
#include "server/signer.h"

#define EVENT_KEEP_MS 3600000
#define PAGE 500

bool event_is_stale(yyjson_val *event, int64_t wall_ms)
{
    static const char *const times[] = {"/series/lastObservedTime", "/lastTimestamp", "/eventTime"};
    int64_t last = meta_created(event);

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        const char *text = json_str(event, times[i]);
        last = MAX(last, text ? clock_parse(text) : -1);
    }
    return wall_ms - last > EVENT_KEEP_MS;
}

static const struct swept {
    const char *group, *kind;
    bool (*is_stale)(yyjson_val *object, int64_t wall_ms);
} swept[] = {
    {"certificates.k8s.io", "CertificateSigningRequest", signer_is_stale},
    {"", "Event", event_is_stale},
    {"", "Secret", bootstrap_secret_is_stale},
};

static bool sweep_one(struct rest_server *rest, const struct kind *kind, const struct swept *rule,
                      const struct store_item *item, int64_t wall_ms)
{
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind)), *target = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (object_load(api_version, kind->kind, item->revision, item->value->data, item->value->len, &doc, NULL) < 0)
        return false;
    yyjson_val *object = yyjson_doc_get_root(doc);
    if (!rule->is_stale(object, wall_ms))
        return false;
    target = local_target(kind, meta_namespace(object), meta_name(object), NULL);
    return local_call(rest, "DELETE", target, NULL, NULL, NULL, NULL) == 0;
}

/* Page by page, since there may be very many. */
static size_t sweep_kind(struct rest_server *rest, const struct kind *kind, const struct swept *rule, int64_t wall_ms)
{
    _cleanup_free_ char *after = NULL;
    int64_t remaining = 1;
    size_t n = 0;

    while (remaining > 0) {
        _cleanup_store_list_ struct store_list list = {0};
        struct store_list_options page = {.prefix = kind->prefix, .after_key = after, .limit = PAGE};
        if (store_list(rest->store, &page, &list, NULL) < 0 || list.len == 0)
            break;
        for (size_t i = 0; i < list.len; i++)
            n += sweep_one(rest, kind, rule, &list.items[i], wall_ms);
        free(after);
        after = xstrdup(list.items[list.len - 1].key);
        remaining = list.remaining;
    }
    return n;
}

size_t sweep_stale(struct rest_server *rest, int64_t wall_ms)
{
    size_t n = 0;

    for (const struct swept *rule = swept; rule < swept + ARRAY_SIZE(swept); rule++) {
        const struct kind *kind = kinds_find_kind(rest->kinds, rule->group, NULL, rule->kind);
        n += kind ? sweep_kind(rest, kind, rule, wall_ms) : 0;
    }
    return n;
}

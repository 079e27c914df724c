/* What the rules of several kinds share. */
#pragma once

#include "api/rules.h"
#include "base/alloc.h"
#include "base/str.h"

/* Builds field paths below a base: at(&w, "disks[%zu].name", 2) is "spec.domain.devices.disks[2].name". */
struct where {
    const char *base;
    struct gw_error *err;
    char field[320];
};

/* The text belongs to w and holds until the next call. */
const char *at(struct where *w, const char *fmt, ...) _printf_(2, 3);

/* A resource quantity that may be JSON text or number: whole units, and thousandths. fallback when absent or no
 * quantity. */
int64_t amount(yyjson_val *v, int64_t fallback);
int64_t amount_milli(yyjson_val *v, int64_t fallback);

/* Whether spec was set or changed: on create, and on updates that touch it. */
bool spec_changed(yyjson_val *object, yyjson_val *old);

/* Refuses (GW_INVALID) a change of spec after creation, with Kubernetes' word for it. */
void spec_fixed(yyjson_val *object, yyjson_val *old, struct gw_error *err);

/* Refuses, in the words of a Kubernetes admission webhook: `admission webhook "NAME" denied the request: ...`. */
void webhook_deny(struct gw_error *err, enum gw_reason reason, const char *webhook, const char *fmt, ...)
    _printf_(4, 5);

/* Whether a controller or an agent asks, and not a person. */
bool asked_by_system(const struct rule_ctx *ctx);

/* The cluster's setting: KubeVirt's if set there, else HyperConverged's, else fallback. Pointers into spec of each. */
const char *setting(struct rule_ctx *ctx, const char *kubevirt, const char *hyperconverged, const char *fallback);

/* Whether text is made of letters, digits and "_.+-" only: safe within QEMU's options. "" is not. */
bool plain_word(const char *text);

/* The number of keys of an object that are among names (NULL-terminated), and the last one found. */
size_t count_of(yyjson_val *object, const char *const *names, const char **ret_last);

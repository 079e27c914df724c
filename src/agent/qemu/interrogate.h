/* A QEMU without a guest, asked questions one after the other: blocking, for the probe at the agent's start. */
#pragma once

#include "base/json.h"

struct interrogation;

/* Starts binary with `-machine none`-like emptiness under the accelerator ("kvm", "tcg") and waits for QMP. */
int interrogation_start(const char *binary, const char *accelerator, struct interrogation **ret, struct gw_error *err);
struct interrogation *interrogation_end(struct interrogation *i);
DEFINE_CLEANUP(struct interrogation *, interrogation_end)

/* {"qemu": {"major": 10, ...}, "package": "..."} */
yyjson_val *interrogation_version(struct interrogation *i);

/* One command; takes the arguments. The answer's "return" is *ret, which the caller frees. */
int interrogation_ask(struct interrogation *i, const char *command, yyjson_mut_doc *arguments, yyjson_doc **ret,
                      struct gw_error *err);

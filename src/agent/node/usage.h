/* Measures every 15 s how much CPU and memory the node and its pods' QEMUs use, and tells the server, which keeps the
 * last figures in memory (server/metrics.h): nothing is stored for it, and nobody is woken. */
#pragma once

#include "agent/agent.h"

struct usage_meter;

struct usage_meter *usage_start(struct agent *a);
struct usage_meter *usage_stop(struct usage_meter *m);

/* What users ask of a guest, and what the API server hands on to the agent that has it: the launcher's log, pause and
 * the like, channels to its console and ports (docs/agent.md). Served at the agent's endpoint; nothing here outlives
 * the agent. */
#pragma once

#include "agent/endpoint/endpoint.h"
#include "agent/pod.h"

struct guest_services;

struct guest_services *guest_start(struct agent *a);
struct guest_services *guest_stop(struct guest_services *g);

/* Shared by the files of this folder. */
#pragma once

#include "agent/guest/guest.h"

struct command;
struct log_reader;
struct errand;

struct guest_services {
    struct agent *agent;
    struct command *commands; /* that wait for QEMU or for the server */
    struct log_reader *logs;  /* open ones */
    unsigned channels;        /* open ones, logs included: other agents need connections to the endpoint as well */
    struct map *reboots;      /* pod uid -> struct wish of reboot.c */
    struct map *talks;        /* pod uid -> struct talk of talk.h */
    struct errand *errands;   /* that wait for guests' agents */
};

/* The pod that has the guest named in the call; NULL after a refusal: it is elsewhere, or QEMU does not answer. */
struct pod *guest_pod(const struct endpoint_call *call);

/* `cont` would run a guest whose migration is complete (QEMU's state `postmigrate`), and QEMU completes by itself. So
 * whoever sends it asks both: whether the epoch is unsettled, in the instant in which `cont` is sent, on the session on
 * which this agent's `migrate` would follow; and before that QEMU (the answer to query-migrate), for a migration of an
 * earlier life of the agent, of which the VMI as it is known may not tell. */
bool guest_is_migrating(const struct pod *p);
bool guest_copy_is_over(yyjson_val *query_migrate);

/* log.c, channels.c, commands.c, errands.c, freeze.c, reboot.c */
extern const struct endpoint_route log_routes[], channel_routes[], command_routes[], facts_routes[], freeze_routes[],
    reboot_routes[];

/* Counts one more channel; false after a refusal, when there are too many. */
bool guest_channel_begin(struct guest_services *g, const struct endpoint_call *call);

/* The pod's QEMU has ended: nothing is written any more. */
void logs_ended(struct guest_services *g, const struct pod *p);
/* Something about the pod has changed that a command may wait for; gone: it is forgotten. */
void commands_look(struct guest_services *g, struct pod *p, bool gone);
void commands_stop(struct guest_services *g);
/* A soft reboot by the power button; request is answered. */
void command_press_button(struct guest_services *g, struct pod *p, struct http_request *request);

/* reboot.c: before the power button is pressed; and what tells of the shutdown. */
void reboot_prepare(struct guest_services *g, struct pod *p);
void reboot_event(struct guest_services *g, struct pod *p, const char *name, yyjson_val *data);
void reboot_attached(struct guest_services *g, struct pod *p);
void reboot_vmi_changed(struct guest_services *g, struct pod *p);

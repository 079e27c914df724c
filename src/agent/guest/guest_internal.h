/* Shared by the files of this folder. */
#pragma once

#include "agent/guest/guest.h"

struct command;
struct log_reader;

struct guest_services {
    struct agent *agent;
    struct command *commands; /* that wait for QEMU or for the server */
    struct log_reader *logs;  /* open ones */
    unsigned channels;        /* open ones, logs included: other agents need connections to the endpoint as well */
    struct map *reboots;      /* pod uid -> struct wish of reboot.c */
};

/* The pod that has the guest named in the call; NULL after a refusal: it is elsewhere, or QEMU does not answer. */
struct pod *guest_pod(const struct endpoint_call *call);

/* log.c, channels.c, commands.c */
extern const struct endpoint_route log_routes[], channel_routes[], command_routes[];

/* Counts one more channel; false after a refusal, when there are too many. */
bool guest_channel_begin(struct guest_services *g, const struct endpoint_call *call);

/* The pod's QEMU has ended: nothing is written any more. */
void logs_ended(struct guest_services *g, const struct pod *p);
/* Something about the pod has changed that a command may wait for; gone: it is forgotten. */
void commands_look(struct guest_services *g, struct pod *p, bool gone);
void commands_stop(struct guest_services *g);

/* reboot.c: before the power button is pressed; and what tells of the shutdown. */
void reboot_prepare(struct guest_services *g, struct pod *p);
void reboot_event(struct guest_services *g, struct pod *p, const char *name, yyjson_val *data);
void reboot_attached(struct guest_services *g, struct pod *p);

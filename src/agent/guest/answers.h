/* What the agent inside a guest answers (qemu-ga's guest-get-osinfo and the like), in the words of the API. Pure.
 *
 * The answers are a guest's, who may be hostile: types are checked, lists and texts cut to what is sensible, control
 * characters (a terminal would obey them) replaced, addresses taken only when they are such. What is missing or no
 * answer to the question gives less, never a failure.
 *
 * All results are new values of d. */
#pragma once

#include "base/json.h"

#define ANSWER_BRIEF 10 /* users and file systems in guestosinfo, as in KubeVirt */
#define ANSWER_ALL 256  /* in their own lists */

/* VirtualMachineInstanceGuestOSInfo, of guest-get-osinfo; NULL where there is nothing. */
yyjson_mut_val *answer_os(yyjson_mut_doc *d, yyjson_val *result);

/* Of guest-network-get-interfaces, without the loopback one: [{"interfaceName", "mac", "ipAddresses": [...]}]. */
yyjson_mut_val *answer_interfaces(yyjson_mut_doc *d, yyjson_val *result);

/* VirtualMachineInstanceGuestOSUser and VirtualMachineInstanceFileSystem: lists of at most max, of guest-get-users and
 * guest-get-fsinfo. */
yyjson_mut_val *answer_users(yyjson_mut_doc *d, yyjson_val *result, size_t max);
yyjson_mut_val *answer_filesystems(yyjson_mut_doc *d, yyjson_val *result, size_t max);

/* GuestAgentCommandInfo: a list, of guest-info. */
yyjson_mut_val *answer_commands(yyjson_mut_doc *d, yyjson_val *result);
/* Why KubeVirt would call an agent with that answer to guest-info unsupported; NULL: it would not. */
const char *answer_unsupported(yyjson_val *result);

/* Copies what fits of a guest's text, cleaned; buf holds size bytes. Returns buf. */
char *answer_clean(const char *text, char *buf, size_t size);

/* The string at path, cut and cleaned; NULL where there is none. */
yyjson_mut_val *answer_text(yyjson_mut_doc *d, yyjson_val *result, const char *path);

/* "Europe/Berlin, 3600", of guest-get-timezone. */
yyjson_mut_val *answer_timezone(yyjson_mut_doc *d, yyjson_val *result);

/* kubeconfig files (clientcmd/v1): the current context's cluster and user, with embedded base64 data or file names. */
#pragma once

#include "client/client_curl.h"

/* context NULL = current-context. File names in the file are relative to it. Fills ret, which the caller clears with
 * client_config_done. Errors name what is missing. exec and auth-provider plugins are refused. */
int kubeconfig_load(const char *path, const char *context, struct client_config *ret, struct gw_error *err);

/* The same from a list of files with colons between, such as $KUBECONFIG, as if they were one (kubeconfig_merge.c). */
int kubeconfig_load_list(const char *list, const char *context, struct client_config *ret, struct gw_error *err);
#define KUBECONFIG_MAX (1u << 20) /* bytes of one file */

/* The same from text; folder (NULL = none allowed) is where relative file names begin. */
int kubeconfig_parse(const char *text, size_t len, const char *folder, const char *context, struct client_config *ret,
                     struct gw_error *err);

/* The text (YAML that is JSON) of a kubeconfig with one context, all data embedded. Caller frees. It holds secrets. */
char *kubeconfig_write(const struct client_config *cfg, const char *cluster_name, const char *user_name);

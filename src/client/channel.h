/* A websocket of the API (subprotocol plain.kubevirt.io) as a channel of bytes. Opening blocks, the rest does not. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "client/client.h"

struct api_channel;

/* c must be a client over HTTPS (client_curl_new). A refusal is decoded as that of any request. */
int api_channel_open(struct api_client *c, const char *path, struct api_channel **ret, struct gw_error *err);
struct api_channel *api_channel_free(struct api_channel *ch);

/* To wait for: readable always, writable while api_channel_waiting() is more than 0. */
int api_channel_fd(const struct api_channel *ch);
size_t api_channel_waiting(const struct api_channel *ch);

/* Appends what has come to data, some 64 KiB at most; keeps on sending what waits. False when the channel is over (data
 * may have come). When api_channel_more() is true behind it, there is more to come that the descriptor may not tell of.
 */
bool api_channel_more(const struct api_channel *ch);
bool api_channel_turn(struct api_channel *ch, struct str *data);

/* Queues data. The caller holds back while much is waiting. */
void api_channel_send(struct api_channel *ch, const void *data, size_t len);

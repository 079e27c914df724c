/* libcurl's multi interface on an sd-event loop. Nothing of ours runs inside libcurl (it forbids calls from its own
 * callbacks): after each turn of libcurl `turned` is called, from the loop. */
#pragma once

#include <curl/curl.h>
#include <systemd/sd-event.h>

#include "base/error.h"

struct curl_loop;

int curl_loop_new(sd_event *loop, void (*turned)(void *userdata), void *userdata, struct curl_loop **ret,
                  struct gw_error *err);
/* All handles must have been removed. */
struct curl_loop *curl_loop_free(struct curl_loop *cl);

/* The handle to add to, remove from and read messages of. */
CURLM *curl_loop_multi(struct curl_loop *cl);

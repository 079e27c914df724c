/* How the JSON of an answer is written for whoever asked: as YAML, in lines for people, or as it is. */
#pragma once

#include "apiserver/request.h"

/* Rewrites the body of an answer that is JSON and whole (no stream, and without an ETag, which stands for its bytes):
 * as YAML if the first type of Accept that can be given is application/yaml; indented if ?pretty says so or, where it
 * says nothing, if curl, Wget or a browser asks (k8s.io/apiserver, endpoints/handlers/negotiation). */
void render_answer(const struct api_request *request, struct api_response *response);

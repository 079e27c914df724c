/* What others need to check service accounts' tokens by themselves, without asking this server for each: the documents
 * of OpenID Connect Discovery, as kube-apiserver has them (k8s.io/kubernetes pkg/serviceaccount/openidmetadata.go). */
#pragma once

#include "apiserver/rest.h"
#include "http/uri.h"

#define ISSUER_CONFIGURATION "/.well-known/openid-configuration"
#define ISSUER_KEYS "/openid/v1/jwks"

/* Whether the path is one of the two. */
bool issuer_is_path(const struct http_uri *uri);

/* Answers a GET of it that is allowed. Any thread. */
void issuer_answer(struct rest_server *s, const struct http_uri *uri, struct api_response *response);

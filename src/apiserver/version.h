/* Which releases this server speaks the APIs of, as their clients ask for it. */
#pragma once

#include "apiserver/request.h"

/* GET /version: of Kubernetes. */
void version_answer_kubernetes(struct api_response *response);

/* GET /apis/subresources.kubevirt.io/VERSION/version: of KubeVirt. */
void version_answer_kubevirt(struct api_response *response);

/* What clients of OpenShift ask for beyond Kubernetes, as views of what is there:
 *
 * project.openshift.io/v1 projects are namespaces, shown by kind (kinds/projects.project.openshift.io.yaml). Everybody
 * may list them and sees those that he may get; roles name them as `projects` in the namespace itself. Whoever may
 * delete one so needs no right to namespaces. Whoever may create projectrequests (role self-provisioner) gets a new
 * namespace in which he is admin.
 *
 * authorization.openshift.io/v1 has the questions that oc asks: may somebody do this (everybody may ask about himself),
 * and who may do it.
 *
 * user.openshift.io/v1 users/~ is who asks; there are no other users to be read. */
#pragma once

#include "apiserver/rest.h"

extern const struct rest_extra project_extras[], user_extras[], access_review_extras[];

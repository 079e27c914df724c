#include "apiserver/version.h"

#include "base/json.h"

/* Clients compare these with their own. */
#define KUBERNETES_MINOR "32"
#define KUBEVIRT_VERSION "v1.8.0"

#define OURS "+godwit.v" GODWIT_VERSION

/* minor: NULL where the numbers do not stand alone as well. */
static void answer(struct api_response *response, const char *minor, const char *git_version)
{
    const char *const fields[][2] = {
        {"major", minor ? "1" : NULL},
        {"minor", minor},
        {"gitVersion", git_version},
        {"gitCommit", ""},
        {"gitTreeState", ""},
        {"buildDate", "1970-01-01T00:00:00Z"},
        {"goVersion", ""},
        {"compiler", "C"},
        {"platform", "linux/amd64"},
    };
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (fields[i][1])
            yyjson_mut_obj_add_str(d, d->root, fields[i][0], fields[i][1]);
    api_response_json(response, 200, json_encode(d->root));
}

void version_answer_kubernetes(struct api_response *response)
{
    answer(response, KUBERNETES_MINOR, "v1." KUBERNETES_MINOR ".0" OURS);
}

void version_answer_kubevirt(struct api_response *response)
{
    answer(response, NULL, KUBEVIRT_VERSION OURS);
}

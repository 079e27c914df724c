#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "apiserver/catalog.h"
#include "apiserver/discovery.h"
#include "base/alloc.h"
#include "base/str.h"

#define V2 "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define V2BETA1 "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

static const struct rest_extra review_extras[] = {
    {.group = "reviews.example.com",
     .resource = "selfsubjectaccessreviews",
     .kind = "SelfSubjectAccessReview",
     .verbs = "create",
     .version = "v1"},
    {.group = "subresources.kubevirt.io",
     .resource = "virtualmachines",
     .subresource = "start",
     .kind = "StartOptions",
     .verbs = "update",
     .version = "v1",
     .namespaced = true},
    {.group = "subresources.kubevirt.io",
     .resource = "virtualmachines",
     .subresource = "stop",
     .kind = "StopOptions",
     .verbs = "update",
     .version = "v1",
     .namespaced = true},
    {.group = "kubevirt.io", .resource = "virtualmachines", .subresource = "hidden"},
    {0},
};
static const struct rest_extra *const extras[] = {review_extras, NULL};

static struct rest_server server;
static struct discovery *discovery;

static int authorize(void *data, const struct api_user *user, const struct rest_target *t, yyjson_val *old,
                     yyjson_val *object, struct gw_error *err)
{
    return streq(user->name, "me") ? 0 : rest_forbid(user, t, NULL, err);
}

static int load(void **state)
{
    server.extras = extras;
    server.authorize = authorize;
    if (kinds_new(&server.kinds, NULL) < 0)
        return -1;
    discovery = discovery_new(&server);
    return 0;
}

static int unload(void **state)
{
    discovery_free(discovery);
    kinds_free(server.kinds);
    return 0;
}

struct answer {
    bool taken;
    int status;
    const char *type;
    char etag[64];
    char cache[64];
    yyjson_doc *doc;
};

static void answer_done(struct answer *a)
{
    yyjson_doc_free(a->doc);
}
#define _cleanup_answer_ __attribute__((cleanup(answer_done)))

static struct answer ask(const char *method, const char *target, const char *accept, const char *etag)
{
    static const char *const groups[] = {"system:authenticated"};
    struct api_request request = {
        .method = method, .target = target, .accept = accept, .if_none_match = etag, .user = {.name = "me", .groups = groups, .n_groups = 1}};
    _cleanup_response_ struct api_response response = {0};
    struct answer a = {.taken = discovery_handle(discovery, &request, &response)};

    a.status = response.status;
    a.type = response.content_type;
    VEC_EACH (&response.headers, h) {
        if (streq(h->name, "ETag"))
            snprintf(a.etag, sizeof(a.etag), "%s", h->value);
        if (streq(h->name, "Cache-Control"))
            snprintf(a.cache, sizeof(a.cache), "%s", h->value);
    }
    _cleanup_blob_ struct blob *body = api_parts_join(&response.body);
    a.doc = yyjson_read(body->data, body->len, 0);
    return a;
}

static struct answer get(const char *target, const char *accept)
{
    struct answer a = ask("GET", target, accept, NULL);

    assert_true(a.taken);
    assert_int_equal(a.status, 200);
    assert_non_null(a.doc);
    return a;
}

/* The element of a list whose member has that value. */
static yyjson_val *find(yyjson_val *list, const char *path, const char *value)
{
    yyjson_val *item;

    json_each(list, item)
        if (str_same(json_str(item, path), value))
            return item;
    fail_msg("no element with %s %s", path, value);
    return NULL;
}

static yyjson_val *root(const struct answer *a)
{
    return yyjson_doc_get_root(a->doc);
}

static void test_legacy(void **state)
{
    _cleanup_answer_ struct answer api = get("/api?timeout=32s", NULL), apis = get("/apis", "application/json, */*");
    _cleanup_answer_ struct answer group = get("/apis/kubevirt.io/", "*/*"), core = get("/api/v1", "application/json");

    assert_string_equal(json_str(root(&api), "/kind"), "APIVersions");
    assert_string_equal(json_str(root(&api), "/versions/0"), "v1");
    yyjson_val *g = find(json_at(root(&apis), "/groups"), "/name", "kubevirt.io");
    assert_string_equal(json_str(g, "/preferredVersion/groupVersion"), "kubevirt.io/v1");
    assert_string_equal(json_str(g, "/versions/1/version"), "v1alpha3");
    assert_string_equal(json_str(root(&group), "/kind"), "APIGroup");
    assert_string_equal(json_str(root(&core), "/groupVersion"), "v1");
    yyjson_val *binding = find(json_at(root(&core), "/resources"), "/name", "pods/binding");
    assert_string_equal(json_str(binding, "/kind"), "Binding");
    assert_int_equal(yyjson_arr_size(json_at(binding, "/verbs")), 1);
    find(json_at(root(&core), "/resources"), "/name", "namespaces/finalize");
}

static void test_legacy_resources(void **state)
{
    _cleanup_answer_ struct answer a = get("/apis/kubevirt.io/v1", NULL),
                                   extra = get("/apis/subresources.kubevirt.io/v1", NULL);
    yyjson_val *vmi = find(json_at(root(&a), "/resources"), "/name", "virtualmachineinstances"), *item;

    assert_string_equal(json_str(vmi, "/kind"), "VirtualMachineInstance");
    assert_string_equal(json_str(vmi, "/singularName"), "virtualmachineinstance");
    assert_string_equal(json_str(vmi, "/shortNames/0"), "vmi");
    assert_string_equal(json_str(vmi, "/categories/0"), "all");
    assert_true(json_bool(vmi, "/namespaced", false));
    assert_int_equal(yyjson_arr_size(json_at(vmi, "/verbs")), 8);
    find(json_at(root(&a), "/resources"), "/name", "virtualmachines/status");
    json_each(json_at(root(&a), "/resources"), item) {
        assert_string_not_equal(json_str(item, "/name"), "virtualmachineinstances/status");
        assert_string_not_equal(json_str(item, "/name"), "virtualmachines/hidden");
    }
    assert_string_equal(json_str(root(&extra), "/resources/0/name"), "virtualmachines/start");
    assert_string_equal(json_str(root(&extra), "/resources/0/kind"), "StartOptions");
}

static void test_aggregated(void **state)
{
    _cleanup_answer_ struct answer apis = get("/apis", V2 "," V2BETA1 ",application/json"), core = get("/api", V2);
    _cleanup_answer_ struct answer beta = get("/apis", V2BETA1 ",application/json");

    assert_string_equal(apis.type, V2);
    assert_string_equal(apis.cache, "public");
    assert_string_equal(json_str(root(&apis), "/kind"), "APIGroupDiscoveryList");
    assert_string_equal(json_str(root(&apis), "/apiVersion"), "apidiscovery.k8s.io/v2");
    assert_string_equal(beta.type, V2BETA1);
    assert_string_equal(json_str(root(&beta), "/apiVersion"), "apidiscovery.k8s.io/v2beta1");
    yyjson_val *g = find(json_at(root(&apis), "/items"), "/metadata/name", "kubevirt.io");
    assert_string_equal(json_str(g, "/versions/0/version"), "v1");
    yyjson_val *vm = find(json_at(g, "/versions/0/resources"), "/resource", "virtualmachines");
    assert_string_equal(json_str(vm, "/responseKind/kind"), "VirtualMachine");
    assert_string_equal(json_str(vm, "/scope"), "Namespaced");
    assert_string_equal(json_str(vm, "/singularResource"), "virtualmachine");
    assert_string_equal(json_str(vm, "/subresources/0/subresource"), "status");
    assert_int_equal(yyjson_arr_size(json_at(root(&core), "/items")), 1);
    find(json_at(root(&core), "/items/0/versions/0/resources"), "/resource", "pods");
}

static void test_aggregated_extras(void **state)
{
    _cleanup_answer_ struct answer apis = get("/apis", V2);
    yyjson_val *reviews = find(json_at(root(&apis), "/items"), "/metadata/name", "reviews.example.com");
    yyjson_val *verbs = find(json_at(root(&apis), "/items"), "/metadata/name", "subresources.kubevirt.io");

    assert_string_equal(json_str(reviews, "/versions/0/resources/0/responseKind/kind"), "SelfSubjectAccessReview");
    assert_string_equal(json_str(reviews, "/versions/0/resources/0/scope"), "Cluster");
    assert_int_equal(yyjson_arr_size(json_at(verbs, "/versions/0/resources")), 1);
    assert_int_equal(yyjson_arr_size(json_at(verbs, "/versions/0/resources/0/subresources")), 2);
    assert_string_equal(json_str(verbs, "/versions/0/resources/0/responseKind/kind"), "");
}

/* kubectl drain looks for it. */
static void test_evictions_are_announced(void **state)
{
    _cleanup_answer_ struct answer legacy = get("/api/v1", NULL), core = get("/api", V2);
    yyjson_val *pods = find(json_at(root(&core), "/items/0/versions/0/resources"), "/resource", "pods");
    yyjson_val *sub = find(json_at(pods, "/subresources"), "/subresource", "eviction");
    yyjson_val *eviction = find(json_at(root(&legacy), "/resources"), "/name", "pods/eviction");

    assert_string_equal(json_str(sub, "/responseKind/group"), "policy");
    assert_string_equal(json_str(eviction, "/group"), "policy");
    assert_string_equal(json_str(eviction, "/version"), "v1");
    assert_string_equal(json_str(eviction, "/kind"), "Eviction");
    _cleanup_answer_ struct answer groups = get("/apis", NULL);
    assert_string_equal(json_str(find(json_at(root(&groups), "/groups"), "/name", "policy"), "/preferredVersion/groupVersion"),
                        "policy/v1");
}

static void test_etags(void **state)
{
    static const char *const targets[] = {"/apis", "/openapi/v3", "/openapi/v3/apis/kubevirt.io/v1"};

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        _cleanup_answer_ struct answer first = get(targets[i], V2), again = ask("GET", targets[i], V2, first.etag);
        _cleanup_answer_ struct answer other = ask("GET", targets[i], V2, "\"0\"");
        assert_int_equal(again.status, 304);
        assert_string_equal(again.etag, first.etag);
        assert_null(again.doc);
        assert_int_equal(other.status, 200);
    }
}

static void test_new_kinds_show_up(void **state)
{
    static const char widget[] =
        "{group: x.io, kind: Widget, plural: widgets, singular: widget, scope: Cluster, versions: "
        "[{name: v1beta1, storage: true}, {name: v1}], schema: {properties: {}}}";
    _cleanup_answer_ struct answer before = get("/apis", V2), index = get("/openapi/v3", NULL);

    assert_int_equal(kinds_add_yaml(server.kinds, "widget", widget, strlen(widget), NULL), 0);
    _cleanup_answer_ struct answer after = get("/apis", V2), new_index = get("/openapi/v3", NULL);
    assert_string_not_equal(before.etag, after.etag);
    assert_null(json_at(root(&index), "/paths/apis~1x.io~1v1"));
    assert_non_null(json_at(root(&new_index), "/paths/apis~1x.io~1v1"));
    assert_string_equal(
        json_str(find(json_at(root(&after), "/items"), "/metadata/name", "x.io"), "/versions/0/version"), "v1");
    kinds_remove(server.kinds, "x.io", "widgets");
}

static void test_other_paths(void **state)
{
    static const char *const others[] = {
        "/healthz", "/api/v1/pods", "/apis/kubevirt.io/v1/virtualmachines", "/versions", "/api/%zz"};
    static const char *const missing[] = {"/apis/none.io",
                                          "/apis/kubevirt.io/v9",
                                          "/api/v2",
                                          "/openapi",
                                          "/openapi/v3/api/v2",
                                          "/openid/v1/jwks", /* no key */
                                          "/openapi/v3/apis/kubevirt.io",
                                          "/openapi/v3/apis/reviews.example.com/v1"};

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        _cleanup_answer_ struct answer a = ask("GET", others[i], NULL, NULL);
        assert_false(a.taken);
    }
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
        _cleanup_answer_ struct answer a = ask("GET", missing[i], NULL, NULL);
        assert_true(a.taken);
        assert_int_equal(a.status, 404);
    }
    _cleanup_answer_ struct answer post = ask("POST", "/apis", NULL, NULL);
    assert_int_equal(post.status, 405);
}

static void test_paths(void **state)
{
    static const char *const some[] = {"/api", "/api/v1", "/apis", "/apis/kubevirt.io", "/apis/kubevirt.io/v1", "/version"};
    _cleanup_answer_ struct answer a = get("/", NULL);
    yyjson_val *path;

    for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
        bool found = false;
        json_each(json_at(root(&a), "/paths"), path)
            found = found || yyjson_equals_str(path, some[i]);
        if (!found)
            fail_msg("%s is not listed", some[i]);
    }
}

static void test_strangers_are_refused(void **state)
{
    struct api_request request = {.method = "GET", .target = "/apis", .user = {.name = "system:anonymous"}};
    _cleanup_response_ struct api_response response = {0};

    assert_true(discovery_handle(discovery, &request, &response));
    assert_int_equal(response.status, 403);
    _cleanup_blob_ struct blob *body = api_parts_join(&response.body);
    assert_non_null(strstr(body->data, "forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/apis\\\""));
}

static void test_version(void **state)
{
    _cleanup_answer_ struct answer a = get("/version/?timeout=32s", "application/json, */*");

    assert_string_equal(json_str(root(&a), "/major"), "1");
    assert_string_equal(json_str(root(&a), "/minor"), "32");
    assert_true(str_starts(json_str(root(&a), "/gitVersion"), "v1.32."));
}

static void test_openapi_index_leads_to_documents(void **state)
{
    _cleanup_answer_ struct answer index = get("/openapi/v3", "application/json");
    yyjson_val *key, *value;

    assert_true(yyjson_obj_size(json_at(root(&index), "/paths")) > 8);
    json_each_member(json_at(root(&index), "/paths"), key, value) {
        _cleanup_answer_ struct answer document = get(json_str(value, "/serverRelativeURL"), "application/json");
        assert_string_equal(json_str(root(&document), "/openapi"), "3.0.0");
        assert_string_equal(document.cache, "public, immutable");
    }
}

/* Every reference of a document has its target. */
static void check_refs(yyjson_val *v, const char *prefix, yyjson_val *schemas)
{
    const char *ref = json_str(v, "/$ref");
    yyjson_val *key, *item;

    if (ref && (!str_starts(ref, prefix) || !yyjson_obj_get(schemas, ref + strlen(prefix))))
        fail_msg("%s leads nowhere", ref);
    if (yyjson_is_arr(v)) {
        json_each(v, item)
            check_refs(item, prefix, schemas);
    } else {
        json_each_member(v, key, item)
            check_refs(item, prefix, schemas);
    }
}

static void test_openapi_document(void **state)
{
    _cleanup_answer_ struct answer a = get("/openapi/v3/apis/kubevirt.io/v1", NULL),
                                   core = get("/openapi/v3/api/v1", NULL);
    yyjson_val *path = yyjson_obj_get(json_at(root(&a), "/paths"),
                                      "/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}");
    yyjson_val *patch = yyjson_obj_get(path, "patch"),
               *schema = json_at(root(&a), "/components/schemas/io.kubevirt.v1.VirtualMachine");

    assert_string_equal(json_str(patch, "/x-kubernetes-group-version-kind/kind"), "VirtualMachine");
    find(yyjson_obj_get(patch, "parameters"), "/name", "fieldValidation");
    find(yyjson_obj_get(patch, "parameters"), "/name", "dryRun");
    assert_null(json_at(patch, "/requestBody/content/application~1strategic-merge-patch+json"));
    assert_string_equal(json_str(schema, "/x-kubernetes-group-version-kind/0/version"), "v1");
    assert_string_equal(json_str(schema, "/properties/metadata/allOf/0/$ref"),
                        "#/components/schemas/io.godwit.types.ObjectMeta");
    check_refs(root(&a), "#/components/schemas/", json_at(root(&a), "/components/schemas"));
    check_refs(root(&core), "#/components/schemas/", json_at(root(&core), "/components/schemas"));
    path = yyjson_obj_get(json_at(root(&core), "/paths"), "/api/v1/nodes/{name}");
    assert_non_null(json_at(path, "/patch/requestBody/content/application~1strategic-merge-patch+json"));
    yyjson_val *conditions =
        json_at(root(&core), "/components/schemas/io.k8s.api.core.v1.Node/properties/status/properties/conditions");
    assert_string_equal(json_str(conditions, "/x-kubernetes-patch-merge-key"), "type");
}

/* Old readers give up at a list whose items are not said, and at a reference that has a type beside it. */
static void check_v2_schema(yyjson_val *v)
{
    yyjson_val *key, *item;

    if (str_same(json_str(v, "/type"), "array"))
        assert_true(yyjson_is_obj(yyjson_obj_get(v, "items")));
    assert_false(json_str(v, "/$ref") && json_str(v, "/type"));
    assert_null(yyjson_obj_get(v, "allOf"));
    json_each_member(yyjson_obj_get(v, "properties"), key, item)
        check_v2_schema(item);
    if (yyjson_obj_get(v, "items"))
        check_v2_schema(yyjson_obj_get(v, "items"));
}

static void test_openapi_v2(void **state)
{
    _cleanup_answer_ struct answer a = get("/openapi/v2", "application/json"), again = {0};
    yyjson_val *definitions = json_at(root(&a), "/definitions"), *key, *value,
               *patch = json_at(root(&a), "/paths/~1api~1v1~1nodes~1{name}/patch");

    assert_string_equal(json_str(root(&a), "/swagger"), "2.0");
    check_refs(root(&a), "#/definitions/", definitions);
    json_each_member(definitions, key, value)
        check_v2_schema(value);
    find(yyjson_obj_get(patch, "parameters"), "/name", "dryRun");
    assert_string_equal(json_str(patch, "/x-kubernetes-group-version-kind/kind"), "Node");
    assert_string_equal(json_str(definitions, "/io.k8s.api.core.v1.Node/properties/metadata/$ref"),
                        "#/definitions/io.godwit.types.ObjectMeta");
    again = ask("GET", "/openapi/v2", "application/json", a.etag);
    assert_int_equal(again.status, 304);
}

/* --- A reader of protobuf, to look at what kubectl gets --- */

struct bytes {
    const uint8_t *data;
    size_t len;
};

static uint64_t take_varint(struct bytes *b)
{
    uint64_t value = 0;

    for (int shift = 0; b->len; shift += 7) {
        uint8_t byte = *b->data++;

        b->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    fail_msg("a number is cut off");
    return 0;
}

/* The next field; only those of bytes are given. */
static unsigned take_field(struct bytes *b, struct bytes *ret)
{
    uint64_t tag = take_varint(b);

    if ((tag & 7) == 0) {
        (void)take_varint(b);
        return 0;
    }
    ret->len = (tag & 7) == 1 ? 8 : take_varint(b);
    assert_true(ret->len <= b->len && ((tag & 7) == 1 || (tag & 7) == 2));
    ret->data = b->data;
    b->data += ret->len;
    b->len -= ret->len;
    return (unsigned)(tag >> 3);
}

/* How many fields of that number there are; *ret is the first one (whose field 1 is name, if that is given). */
static size_t fields(struct bytes b, unsigned number, const char *name, struct bytes *ret)
{
    struct bytes f, key, inner;
    size_t n = 0;

    while (b.len)
        if (take_field(&b, &f) == number) {
            inner = f;
            if (name && !(take_field(&inner, &key) == 1 && key.len == strlen(name) && memcmp(key.data, name, key.len) == 0))
                continue;
            if (n++ == 0)
                *ret = f;
        }
    return n;
}

static void test_openapi_v2_in_protobuf(void **state)
{
    static const char *const groups[] = {"system:authenticated"};
    struct api_request request = {.method = "GET",
                                  .target = "/openapi/v2",
                                  .accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                                  .user = {.name = "me", .groups = groups, .n_groups = 1}};
    _cleanup_response_ struct api_response response = {0};
    _cleanup_answer_ struct answer json = get("/openapi/v2", "application/json");
    _cleanup_blob_ struct blob *body = NULL;
    struct bytes definitions, named, schema, type, text, properties, unused;

    assert_true(discovery_handle(discovery, &request, &response));
    assert_string_equal(response.content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    body = api_parts_join(&response.body);
    struct bytes document = {(const uint8_t *)body->data, body->len};

    assert_int_equal(fields(document, 1, NULL, &text), 1);
    assert_memory_equal(text.data, "2.0", 3);
    assert_int_equal(fields(document, 9, NULL, &definitions), 1);
    assert_int_equal(fields(definitions, 1, NULL, &unused),
                     yyjson_obj_size(json_at(yyjson_doc_get_root(json.doc), "/definitions")));
    assert_int_equal(fields(definitions, 1, "io.kubevirt.v1.VirtualMachine", &named), 1);
    assert_int_equal(fields(named, 2, NULL, &schema), 1);
    assert_int_equal(fields(schema, 22, NULL, &type), 1);
    assert_int_equal(fields(type, 1, NULL, &text), 1);
    assert_memory_equal(text.data, "object", 6);
    assert_int_equal(fields(schema, 31, "x-kubernetes-group-version-kind", &unused), 1);
    assert_int_equal(fields(schema, 25, NULL, &properties), 1);
    assert_int_equal(fields(properties, 1, "spec", &unused), 1);
}

static void test_version_order(void **state)
{
    static const char *const order[] = {"v10",     "v2",       "v1",       "v2beta1", "v1beta2",
                                        "v1beta1", "v1alpha3", "v1alpha1", "foo"};

    for (size_t i = 1; i < ARRAY_SIZE(order); i++) {
        assert_true(catalog_compare_versions(order[i - 1], order[i]) < 0);
        assert_true(catalog_compare_versions(order[i], order[i - 1]) > 0);
    }
    assert_int_equal(catalog_compare_versions("v1", "v1"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_legacy_resources),
        cmocka_unit_test(test_aggregated),
        cmocka_unit_test(test_aggregated_extras),
        cmocka_unit_test(test_evictions_are_announced),
        cmocka_unit_test(test_etags),
        cmocka_unit_test(test_new_kinds_show_up),
        cmocka_unit_test(test_other_paths),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_strangers_are_refused),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_openapi_index_leads_to_documents),
        cmocka_unit_test(test_openapi_document),
        cmocka_unit_test(test_openapi_v2),
        cmocka_unit_test(test_openapi_v2_in_protobuf),
        cmocka_unit_test(test_version_order),
    };

    return cmocka_run_group_tests(tests, load, unload);
}

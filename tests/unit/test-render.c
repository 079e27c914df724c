/* Who gets YAML, who gets lines, and what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apiserver/render.h"
#include "base/alloc.h"
#include "base/str.h"

#define BODY "{\"a\":[1,{\"b\":\"c\"}]}"
#define LINES "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"c\"\n    }\n  ]\n}\n"
#define YAML "a:\n- 1\n- b: c\n"

static void test_forms(void **state)
{
    static const struct {
        const char *target, *accept, *agent, *body;
    } rows[] = {
        {"/x", NULL, NULL, BODY},
        {"/x", "application/json", "kubectl/v1.32.3", BODY},
        {"/x", "*/*", "curl/7.88.1", LINES},
        {"/x", "*/*", "Wget/1.21", LINES},
        {"/x", "text/html,*/*;q=0.8", "Mozilla/5.0 (X11)", LINES},
        {"/x?pretty=false", "*/*", "curl/7.88.1", BODY},
        {"/x?pretty=0", "*/*", "curl/7.88.1", BODY},
        {"/x?pretty=true", NULL, NULL, LINES},
        {"/x?pretty=1", NULL, NULL, LINES},
        {"/x", "application/yaml", NULL, YAML},
        {"/x?pretty=true", "application/vnd.kubernetes.protobuf, application/yaml, application/json", NULL, YAML},
        {"/x", "application/json, application/yaml", NULL, BODY},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct api_request request = {.target = rows[i].target, .accept = rows[i].accept, .user_agent = rows[i].agent};
        _cleanup_response_ struct api_response response = {0};
        _cleanup_blob_ struct blob *body = NULL;

        api_response_json(&response, 200, blob_text(BODY));
        render_answer(&request, &response);
        body = api_parts_join(&response.body);
        assert_int_equal(body->len, strlen(rows[i].body));
        assert_memory_equal(body->data, rows[i].body, body->len);
        assert_string_equal(response.content_type, streq(rows[i].body, YAML) ? "application/yaml" : "application/json");
    }
}

/* An ETag stands for the very bytes; text is no JSON. */
static void test_what_is_left_alone(void **state)
{
    const struct api_request request = {.target = "/x?pretty=true"};
    _cleanup_response_ struct api_response tagged = {0}, text = {0};

    api_response_json(&tagged, 200, blob_text(BODY));
    api_response_header(&tagged, "ETag", "\"1\"");
    render_answer(&request, &tagged);
    assert_int_equal(api_parts_len(&tagged.body), strlen(BODY));
    api_response_text(&text, 404, BODY);
    render_answer(&request, &text);
    assert_int_equal(api_parts_len(&text.body), strlen(BODY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_what_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The queue of writes to one object, against a transport whose answers the test gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/core/patches.h"
#include "base/alloc.h"
#include "base/str.h"
#include "script.h"
#include "virtual.h"

struct fixture {
    struct virtual *time;
    struct api_client *client;
    struct env *env;
    struct patches *patches;
    struct str log;
    const char *wanted; /* value to be written; NULL: nothing */
};

static yyjson_mut_doc *on_wanted(void *userdata)
{
    struct fixture *f = userdata;
    yyjson_mut_doc *d = f->wanted ? json_object() : NULL;

    if (d)
        json_set_str(d, "/v", f->wanted);
    return d;
}

static void on_written(void *userdata, yyjson_doc **doc)
{
    struct fixture *f = userdata;

    str_printf(&f->log, "[%s]", *doc ? json_str_or(yyjson_doc_get_root(*doc), "/v", "-") : "gone");
    f->wanted = NULL;
}

static void on_done(void *userdata, const struct gw_error *err)
{
    str_printf(&((struct fixture *)userdata)->log, "done:%s ", err ? gw_reason_string(err->reason) : "ok");
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.time = virtual_new(1), .client = script_client()};
    f->env = virtual_env(f->time, f->client);
    f->patches =
        patches_new(&(struct patches_config){f->env, &API_PODS, "status", "ns", "p", on_wanted, on_written, NULL, f});
}

static void tear_down(struct fixture *f)
{
    patches_free(f->patches);
    virtual_env_free(f->env);
    api_client_free(f->client);
    virtual_free(f->time);
    str_done(&f->log);
}

static yyjson_mut_doc *patch(const char *value)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/v", value);
    return d;
}

static const char *body(struct fixture *f)
{
    struct api_call *c = script_call(f->client, 0);

    return c ? c->body->data : "none";
}

static void test_what_is_wanted_is_asked_when_its_turn_comes(void **state)
{
    struct fixture f;

    set_up(&f);
    f.wanted = "old";
    patches_touch(f.patches);
    f.wanted = "new";
    virtual_run(f.time, 0);
    assert_string_equal(body(&f), "{\"v\":\"new\"}");
    f.wanted = "newer";
    patches_touch(f.patches);
    virtual_run(f.time, 1000);
    assert_int_equal(script_running(f.client), 1);
    script_answer(script_call(f.client, 0), 200, "{\"v\":\"new\"}");
    virtual_run(f.time, 1000);
    assert_string_equal(str_text(&f.log), "[new]");
    assert_true(patches_idle(f.patches));
    tear_down(&f);
}

static void test_patches_go_in_order_and_first(void **state)
{
    struct fixture f;

    set_up(&f);
    patches_add(f.patches, patch("a"), on_done, &f);
    patches_add(f.patches, patch("b"), NULL, NULL);
    f.wanted = "w";
    patches_touch(f.patches);
    virtual_run(f.time, 0);
    assert_string_equal(body(&f), "{\"v\":\"a\"}");
    script_answer(script_call(f.client, 0), 200, "{\"v\":\"a\"}");
    virtual_run(f.time, 0);
    assert_string_equal(str_text(&f.log), "[a]done:ok ");
    assert_string_equal(body(&f), "{\"v\":\"b\"}");
    f.wanted = "w";
    script_answer(script_call(f.client, 0), 200, "{}");
    tear_down(&f);
}

static void test_what_passes_is_tried_again(void **state)
{
    static const int codes[] = {500, 503, 429, 409};

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        struct fixture f;
        set_up(&f);
        patches_add(f.patches, patch("a"), on_done, &f);
        virtual_run(f.time, 0);
        script_answer(script_call(f.client, 0), codes[i],
                      codes[i] == 409 ? "{\"kind\":\"Status\",\"reason\":\"Conflict\"}" : NULL);
        virtual_run(f.time, 2000);
        assert_string_equal(body(&f), "{\"v\":\"a\"}");
        script_fail(script_call(f.client, 0), GW_SERVICE_UNAVAILABLE, "nobody there");
        virtual_run(f.time, 20000);
        assert_string_equal(body(&f), "{\"v\":\"a\"}");
        script_answer(script_call(f.client, 0), 200, "{\"v\":\"a\"}");
        virtual_run(f.time, 0);
        assert_string_equal(str_text(&f.log), "[a]done:ok ");
        tear_down(&f);
    }
}

static void test_a_refusal_is_final(void **state)
{
    struct fixture f;

    set_up(&f);
    patches_add(f.patches, patch("a"), on_done, &f);
    virtual_run(f.time, 0);
    script_answer(script_call(f.client, 0), 403, "{\"kind\":\"Status\",\"reason\":\"Forbidden\"}");
    virtual_run(f.time, 100000);
    assert_string_equal(str_text(&f.log), "done:Forbidden ");
    assert_int_equal(script_running(f.client), 0);

    f.wanted = "w"; /* what is wanted and refused is not repeated until something changes */
    patches_touch(f.patches);
    virtual_run(f.time, 0);
    script_answer(script_call(f.client, 0), 404, "{\"kind\":\"Status\",\"reason\":\"NotFound\"}");
    virtual_run(f.time, 100000);
    assert_string_equal(str_text(&f.log), "done:Forbidden [gone]");
    assert_int_equal(script_started(f.client), 2);
    tear_down(&f);
}

static void test_a_conflict_asks_anew(void **state)
{
    struct fixture f;

    set_up(&f);
    f.wanted = "stale";
    patches_touch(f.patches);
    virtual_run(f.time, 0);
    f.wanted = "fresh";
    script_answer(script_call(f.client, 0), 409, "{\"kind\":\"Status\",\"reason\":\"Conflict\"}");
    virtual_run(f.time, 100);
    assert_string_equal(body(&f), "{\"v\":\"fresh\"}");
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_wanted_is_asked_when_its_turn_comes),
        cmocka_unit_test(test_patches_go_in_order_and_first),
        cmocka_unit_test(test_what_passes_is_tried_again),
        cmocka_unit_test(test_a_refusal_is_final),
        cmocka_unit_test(test_a_conflict_asks_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

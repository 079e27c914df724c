/* The controllers' transport over the real front and the real workers: answers, refusals, watches, and calls that nobody
 * waits for any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server-fixture.h"
#include "server/loopback.h"

#define EVENTS 3

struct stage {
    struct fixture *f;
    struct front front;
    sd_event *loop;
    struct http_server *http;
    struct api_client *client;
    int code, created, events;
    bool ended;
    char message[300], last[64];
    struct api_call *watch;
};

static int dispatch(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)watch_hub_dispatch(userdata, clock_wall_ms());
    return 0;
}

static struct stage *stage_new(void)
{
    struct stage *s = xnew(struct stage);
    struct loopback_config config = {.front = &s->front, .user = GROUP_CONTROLLERS, .group = GROUP_CONTROLLERS};

    s->f = fixture_new();
    assert_int_equal(fixture_admin(s->f, "POST", "/api/v1/namespaces",
                                   "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"d\"}}"),
                     201);
    s->front.rest = &s->f->rest;
    s->front.discovery = discovery_new(&s->f->rest);
    assert_true(sd_event_new(&s->loop) >= 0);
    sd_event_add_io(s->loop, NULL, watch_hub_fd(s->f->rest.hub), 1, dispatch, s->f->rest.hub);
    assert_int_equal(http_server_new(s->loop, &(struct http_config){.address = "127.0.0.1", .handler = front_handle},
                                     &s->http, NULL),
                     0);
    config.http = s->http;
    assert_int_equal(loopback_client_new(&config, s->loop, &s->client, NULL), 0);
    return s;
}

static void stage_free(struct stage *s)
{
    api_client_free(s->client); /* before the workers, which it waits for */
    http_server_free(s->http);
    sd_event_unref(s->loop);
    discovery_free(s->front.discovery);
    fixture_free(s->f);
    free(s);
}

static void note(void *userdata, struct api_answer *answer)
{
    struct stage *s = userdata;

    s->code = answer->code;
    snprintf(s->message, sizeof(s->message), "%s", answer->err ? gw_error_message(answer->err) : "");
    sd_event_exit(s->loop, 0);
}

static void note_created(void *userdata, struct api_answer *answer)
{
    ((struct stage *)userdata)->created += answer->code == 201;
}

static void create(struct stage *s, const char *name, api_done_fn done)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", name);
    (void)api_create(s->client, &API_CONFIGMAPS, "d", d, done, s);
}

static void run(struct stage *s)
{
    assert_true(sd_event_loop(s->loop) >= 0);
}

static void answers_and_refusals_come_back(void **state)
{
    struct stage *s = stage_new();

    create(s, "a", note);
    assert_int_equal(s->code, 0); /* never before the starting function has returned */
    run(s);
    assert_int_equal(s->code, 201);
    stage_free(s);

    s = stage_new();
    (void)api_get(s->client, &API_CONFIGMAPS, "d", "absent", note, s);
    run(s);
    assert_int_equal(s->code, 404);
    assert_string_equal(s->message, "configmaps \"absent\" not found");
    stage_free(s);
}

static void on_event(void *userdata, enum api_event_type type, yyjson_val *object, yyjson_doc **event)
{
    struct stage *s = userdata;

    snprintf(s->last, sizeof(s->last), "%s", json_str_or(object, "/metadata/name", ""));
    if (++s->events == EVENTS) {
        api_cancel(s->watch); /* from inside its callback */
        sd_event_exit(s->loop, 0);
    }
}

static void on_end(void *userdata, const struct gw_error *err)
{
    ((struct stage *)userdata)->ended = true;
}

static void watches_tell_in_order_until_they_are_cancelled(void **state)
{
    struct stage *s = stage_new();

    s->watch = api_watch(s->client, &API_CONFIGMAPS, "d", "resourceVersion=0", on_event, on_end, s);
    create(s, "one", note_created);
    create(s, "two", note_created);
    create(s, "three", note_created);
    create(s, "four", note_created);
    run(s);
    assert_int_equal(s->events, EVENTS);
    assert_false(s->ended);
    stage_free(s); /* with a create under way, perhaps */
}

static void on_refused(void *userdata, const struct gw_error *err)
{
    struct stage *s = userdata;

    snprintf(s->message, sizeof(s->message), "%s", gw_error_message(err));
    sd_event_exit(s->loop, 0);
}

static void a_watch_from_the_future_ends_with_its_reason(void **state)
{
    struct stage *s = stage_new();

    (void)api_watch(s->client, &API_CONFIGMAPS, "d", "resourceVersion=99999", on_event, on_refused, s);
    run(s);
    assert_non_null(strstr(s->message, "99999"));
    stage_free(s);
}

static void calls_may_be_cancelled_at_any_time(void **state)
{
    for (int pause_us = 0; pause_us < 3000; pause_us += 300) {
        struct stage *s = stage_new();
        struct api_call *calls[20];

        for (int i = 0; i < 20; i++)
            calls[i] = i % 2 ? api_list(s->client, &API_CONFIGMAPS, "d", NULL, note, s)
                             : api_watch(s->client, &API_CONFIGMAPS, "d", NULL, on_event, on_end, s);
        usleep((useconds_t)pause_us);
        for (int i = 0; i < 10; i++)
            api_cancel(calls[i]);
        (void)sd_event_run(s->loop, 1000);
        stage_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_refusals_come_back),
        cmocka_unit_test(watches_tell_in_order_until_they_are_cancelled),
        cmocka_unit_test(a_watch_from_the_future_ends_with_its_reason),
        cmocka_unit_test(calls_may_be_cancelled_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

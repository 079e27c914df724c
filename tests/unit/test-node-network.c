#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network/node_network.h"
#include "base/alloc.h"
#include "script.h"
#include "virtual.h"

/* The node "n1" with a network that records what it is told, and an API server whose answers the test gives. */
struct world {
    struct virtual *time;
    struct api_client *client;
    struct env *env;
    struct node_network *nn;
    int64_t serial, deadline;
    unsigned updates, fail_updates;
    size_t n_peers;
    int64_t followed; /* serial of n2 at the last update */
};

static int update(void *data, struct node_view_vec *views, int64_t now, struct gw_error *err)
{
    struct world *w = data;

    w->updates++;
    if (w->fail_updates) {
        w->fail_updates--;
        return gw_error_set(err, GW_INTERNAL_ERROR, "no route today");
    }
    w->n_peers = views->len;
    w->followed = views->len ? views->items[0].serial : -1;
    return 0;
}

static void announcement(void *data, struct node_view *ret)
{
    struct world *w = data;

    *ret = (struct node_view){
        .node = xstrdup("n1"), .node_address = 0x0a090001, .pod_cidr = {0x0af40100, 24}, .serial = w->serial};
    if (w->followed >= 0)
        observed_vec_push(&ret->observed, (struct observed_peer){xstrdup("n2"), w->followed});
}

static int64_t deadline(void *data)
{
    return ((struct world *)data)->deadline;
}

static void outgrow(void *data, int64_t serial)
{
    ((struct world *)data)->serial = serial + 1;
}

static const struct node_network_io io = {update, announcement, deadline, outgrow};

static int set_up(void **state)
{
    struct world *w = xnew(struct world);

    w->time = virtual_new(1);
    w->client = script_client();
    w->env = virtual_env(w->time, w->client);
    w->serial = 5;
    w->deadline = w->followed = -1;
    w->nn = node_network_new(w->env, "n1", &io, w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    node_network_free(w->nn);
    virtual_env_free(w->env);
    api_client_free(w->client);
    virtual_free(w->time);
    free(w);
    return 0;
}

/* The running call with this method whose path ends so; fails when there is none. */
static struct api_call *call(struct world *w, const char *method, const char *end)
{
    for (size_t i = 0; i < script_running(w->client); i++) {
        struct api_call *c = script_call(w->client, i);
        const char *at = strstr(c->path, end);
        if (streq(c->method, method) && !c->stream && at)
            return c;
    }
    fail_msg("no %s of %s is under way", method, end);
    return NULL;
}

static size_t running_writes(struct world *w)
{
    size_t n = 0;

    for (size_t i = 0; i < script_running(w->client); i++)
        n += !streq(script_call(w->client, i)->method, "GET");
    return n;
}

static const char *body(struct api_call *c)
{
    return c->body->data;
}

#define OBJECT(name, version, spec, status) \
    "{\"kind\":\"NodeNetwork\",\"apiVersion\":\"godwit.io/v1alpha1\",\"metadata\":{\"name\":\"" name \
    "\",\"uid\":\"" name "\",\"resourceVersion\":\"" version "\"},\"spec\":" spec ",\"status\":" status "}"
#define OWN_SPEC(serial) \
    "{\"nodeAddress\":\"10.9.0.1\",\"podCIDR\":\"10.244.1.0/24\",\"link\":\"direct\",\"serial\":" serial \
    ",\"addresses\":[]}"
#define PEER_SPEC(serial) "{\"nodeAddress\":\"10.9.0.2\",\"link\":\"direct\",\"serial\":" serial "}"

static void answer_list(struct world *w, const char *items)
{
    _cleanup_free_ char *text =
        xasprintf("{\"kind\":\"NodeNetworkList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}", items);

    virtual_run(w->time, 10);
    script_answer(call(w, "GET", "/nodenetworks"), 200, text);
    virtual_run(w->time, 100);
}

static void send_event(struct world *w, const char *type, const char *object)
{
    _cleanup_free_ char *line = xasprintf("{\"type\":\"%s\",\"object\":%s}\n", type, object);

    for (size_t i = 0; i < script_running(w->client); i++)
        if (script_call(w->client, i)->stream) {
            script_data(script_call(w->client, i), line);
            return;
        }
    fail_msg("no watch is running");
}

/* First start: created, then its status, then silence. */
static void test_create(void **state)
{
    struct world *w = *state;

    answer_list(w, OBJECT("n2", "9", PEER_SPEC("70"), "{}"));
    assert_true(node_network_has_synced(w->nn));
    assert_int_equal(w->n_peers, 1);
    struct api_call *c = call(w, "POST", "/nodenetworks");
    assert_non_null(strstr(body(c), "\"name\":\"n1\""));
    assert_non_null(strstr(body(c), OWN_SPEC("5")));
    assert_int_equal(running_writes(w), 1);
    script_answer(c, 201, OBJECT("n1", "11", OWN_SPEC("5"), "{}"));
    virtual_run(w->time, 10);
    c = call(w, "PATCH", "/nodenetworks/n1/status");
    assert_non_null(strstr(body(c), "{\"observed\":{\"n2\":70}}"));
    script_answer(c, 200, OBJECT("n1", "12", OWN_SPEC("5"), "{\"observed\":{\"n2\":70}}"));
    size_t started = script_started(w->client);
    virtual_run(w->time, 1000);
    assert_int_equal(script_started(w->client), started);
}

/* A peer's new serial is acknowledged only after the routes are in place; a failure is tried again. */
static void test_acknowledge(void **state)
{
    struct world *w = *state;

    answer_list(
        w, OBJECT("n1", "8", OWN_SPEC("4"), "{\"observed\":{\"n2\":70}}") "," OBJECT("n2", "9", PEER_SPEC("70"), "{}"));
    script_answer(call(w, "PATCH", "/nodenetworks/n1"), 200,
                  OBJECT("n1", "11", OWN_SPEC("5"), "{\"observed\":{\"n2\":70}}"));
    virtual_run(w->time, 10);
    assert_int_equal(running_writes(w), 0);
    w->fail_updates = 2;
    send_event(w, "MODIFIED", OBJECT("n2", "12", PEER_SPEC("71"), "{}"));
    send_event(w, "MODIFIED", OBJECT("n2", "13", PEER_SPEC("72"), "{}"));
    unsigned before = w->updates;
    virtual_run(w->time, 10);
    assert_int_equal(w->updates, before + 1); /* collected */
    assert_int_equal(running_writes(w), 0);
    virtual_run(w->time, 1000);
    assert_int_equal(w->updates, before + 3);
    assert_non_null(strstr(body(call(w, "PATCH", "/nodenetworks/n1/status")), "\"n2\":72"));
}

/* A peer that is gone is taken out of the status by name. */
static void test_vanished(void **state)
{
    struct world *w = *state;

    answer_list(w, OBJECT("n1", "8", OWN_SPEC("4"), "{\"observed\":{\"n2\":70}}"));
    assert_int_equal(w->n_peers, 0);
    assert_non_null(strstr(body(call(w, "PATCH", "/nodenetworks/n1/status")), "{\"observed\":{\"n2\":null}}"));
}

static void test_outgrow(void **state)
{
    struct world *w = *state;

    answer_list(w, OBJECT("n1", "8", OWN_SPEC("1000"), "{\"observed\":{}}"));
    assert_int_equal(w->serial, 1001);
    assert_non_null(strstr(body(call(w, "PATCH", "/nodenetworks/n1")), "\"serial\":1001"));
    w->serial = 1002;
    node_network_changed(w->nn);
    script_answer(call(w, "PATCH", "/nodenetworks/n1"), 200, OBJECT("n1", "11", OWN_SPEC("1001"), "{\"observed\":{}}"));
    virtual_run(w->time, 1);
    assert_non_null(strstr(body(call(w, "PATCH", "/nodenetworks/n1")), "\"serial\":1002"));
}

/* Failures back off; a server that changes what it is given is not flooded. */
static void test_stubborn_server(void **state)
{
    struct world *w = *state;

    answer_list(w, OBJECT("n1", "8", OWN_SPEC("4"), "{\"observed\":{}}"));
    for (int i = 0; i < 5; i++) {
        script_fail(call(w, "PATCH", "/nodenetworks/n1"), GW_SERVICE_UNAVAILABLE, "gone fishing");
        virtual_run(w->time, 10);
        assert_int_equal(running_writes(w), 0);
        virtual_run(w->time, 10000);
    }
    script_answer(call(w, "PATCH", "/nodenetworks/n1"), 200, OBJECT("n1", "11", OWN_SPEC("4"), "{\"observed\":{}}"));
    size_t started = script_started(w->client);
    virtual_run(w->time, 1000);
    assert_int_equal(script_started(w->client), started);
    virtual_run(w->time, 6000);
    assert_int_equal(script_started(w->client), started + 1);
}

/* Forwarding ends by time even when no peer says anything. */
static void test_deadline(void **state)
{
    struct world *w = *state;

    answer_list(w, "");
    w->deadline = virtual_now(w->time) + 60000;
    node_network_changed(w->nn);
    virtual_run(w->time, 59000);
    unsigned before = w->updates;
    w->deadline = -1;
    virtual_run(w->time, 2000);
    assert_int_equal(w->updates, before + 1);
    virtual_run(w->time, 100000);
    assert_int_equal(w->updates, before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_acknowledge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vanished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_outgrow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stubborn_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadline, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

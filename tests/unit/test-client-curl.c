/* The HTTPS transport against a server of another make (Python's), with certificates from src/pki. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "client/client_curl.h"
#include "client/env.h"
#include "pki/pki.h"

#define FAR 3600

static sd_event *loop;
static char dir[] = "/tmp/test-client-curl-XXXXXX", *ca_pem, *other_ca_pem, *cert_pem, *key_pem, *server;
static pid_t server_pid;
static int port;

static void write_file(const char *name, const char *text)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

    assert_int_equal(fs_write(path, text, strlen(text), 0600, NULL), 0);
}

static void start_server(void)
{
    int fds[2];
    char text[16] = "";

    assert_int_equal(pipe(fds), 0);
    server_pid = fork();
    if (server_pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        if (chdir(dir) == 0)
            execlp("python3", "python3", SOURCE_DIR "/tests/unit/https-server.py", "cert.pem", "key.pem", "ca.pem", (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    close(fds[0]);
    port = atoi(text);
    server = xasprintf("https://127.0.0.1:%d", port);
}

static int set_up(void **state)
{
    struct pki_ca *ca, *other;
    const struct pki_subject subject = {.cn = "server", .sans = (const char *const[]){"127.0.0.1", "godwit.test", NULL}};
    const struct pki_subject user = {.cn = "somebody"};
    _cleanup_free_ char *cert = NULL, *key = NULL;

    assert_int_equal(sd_event_new(&loop), 0);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pki_ca_new("test", FAR, &ca, NULL), 0);
    assert_int_equal(pki_ca_new("other", FAR, &other, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &subject, PKI_SERVER, FAR, &cert, &key, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &user, PKI_CLIENT, FAR, &cert_pem, &key_pem, NULL), 0);
    ca_pem = xstrdup(pki_ca_cert_pem(ca));
    other_ca_pem = xstrdup(pki_ca_cert_pem(other));
    write_file("cert.pem", cert);
    write_file("key.pem", key);
    write_file("ca.pem", ca_pem);
    pki_ca_free(ca);
    pki_ca_free(other);
    start_server();
    return 0;
}

static int tear_down(void **state)
{
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    fs_remove_tree(dir, NULL);
    sd_event_unref(loop);
    free(ca_pem);
    free(other_ca_pem);
    free(cert_pem);
    pki_free_key(key_pem);
    free(server);
    return 0;
}

/* --- one call at a time --- */

struct outcome {
    bool ended;
    int code;
    enum gw_reason reason;
    int number;
    char message[512], events[256];
    yyjson_doc *doc;
};

static void outcome_done(struct outcome *o)
{
    yyjson_doc_free(o->doc);
}
#define _cleanup_outcome_ _cleanup_(outcome_done)

static void on_done(void *userdata, struct api_answer *answer)
{
    struct outcome *o = userdata;

    o->ended = true;
    o->code = answer->code;
    o->reason = answer->err ? answer->err->reason : GW_OK;
    o->number = answer->err ? answer->err->number : 0;
    snprintf(o->message, sizeof(o->message), "%s", answer->err ? answer->err->message : "");
    o->doc = TAKE_PTR(answer->doc);
}

static void wait_for(bool *flag, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;

    while (!*flag && clock_monotonic_ms() < until)
        assert_true(sd_event_run(loop, 50000) >= 0);
}

static struct api_client *client_with(const struct client_config *cfg)
{
    struct api_client *c = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (client_curl_new(loop, cfg, &c, &err) < 0)
        fail_msg("%s", err.message);
    return c;
}

static struct api_client *plain_client(void)
{
    return client_with(&(struct client_config){.server = server, .ca = ca_pem});
}

static void call(struct api_client *c, const char *method, const char *path, const char *body, int timeout_ms,
                 struct outcome *o)
{
    _cleanup_blob_ struct blob *b = body ? blob_text(body) : NULL;

    api_request(c, method, path, body ? "application/merge-patch+json" : NULL, b, timeout_ms, on_done, o);
    assert_false(o->ended);
    wait_for(&o->ended, 10000);
    assert_true(o->ended);
}

static const char *field(const struct outcome *o, const char *path)
{
    return json_str_or(yyjson_doc_get_root(o->doc), path, "(absent)");
}

/* --- tests --- */

static void test_get(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/echo?a=b%20c", NULL, 0, &o);
    assert_int_equal(o.code, 200);
    assert_string_equal(field(&o, "/path"), "/echo?a=b%20c");
    assert_string_equal(field(&o, "/accept"), "application/json");
    assert_string_equal(field(&o, "/agent"), "godwit");
    assert_string_equal(field(&o, "/cn"), "");
    assert_string_equal(field(&o, "/authorization"), "");
}

static void test_bodies(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    _cleanup_(api_client_freep) struct api_client *c = plain_client();

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        _cleanup_outcome_ struct outcome o = {0}, empty = {0};
        call(c, methods[i], "/echo", "{\"a\":1}", 0, &o);
        assert_string_equal(field(&o, "/method"), methods[i]);
        assert_string_equal(field(&o, "/body"), "{\"a\":1}");
        assert_string_equal(field(&o, "/type"), "application/merge-patch+json");
        call(c, methods[i], "/echo", NULL, 0, &empty);
        assert_string_equal(field(&empty, "/body"), "");
    }
}

static void test_large_body(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome o = {0};
    size_t len = 3 << 20;
    _cleanup_free_ char *text = xmalloc(len + 1);

    memset(text, 'x', len);
    text[len] = '\0';
    call(c, "POST", "/echo", text, 0, &o);
    assert_int_equal(strlen(field(&o, "/body")), len);
}

static void test_keep_alive(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome first = {0};

    call(c, "GET", "/echo", NULL, 0, &first);
    for (int i = 0; i < 5; i++) {
        _cleanup_outcome_ struct outcome o = {0};
        call(c, "GET", "/echo", NULL, 0, &o);
        assert_int_equal(json_int(yyjson_doc_get_root(o.doc), "/connections", 0),
                         json_int(yyjson_doc_get_root(first.doc), "/connections", -1));
    }
}

static void test_parallel(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    struct outcome o[20] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(o); i++)
        api_request(c, "GET", "/echo", NULL, NULL, 0, on_done, &o[i]);
    for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
        wait_for(&o[i].ended, 10000);
        assert_int_equal(o[i].code, 200);
        outcome_done(&o[i]);
    }
}

static void test_client_certificate_and_rotation(void **state)
{
    struct client_config cfg = {.server = server, .ca = ca_pem};
    _cleanup_(api_client_freep) struct api_client *c = client_with(&cfg);
    _cleanup_outcome_ struct outcome before = {0}, after = {0};

    call(c, "GET", "/echo", NULL, 0, &before);
    assert_string_equal(field(&before, "/cn"), "");
    assert_int_equal(client_curl_set_cert(c, cert_pem, key_pem, NULL), 0);
    call(c, "GET", "/echo", NULL, 0, &after);
    assert_string_equal(field(&after, "/cn"), "somebody");
}

static void test_token_and_agent(void **state)
{
    struct client_config cfg = {.server = server, .ca = ca_pem, .token = "t0ken", .user_agent = "agent n1"};
    _cleanup_(api_client_freep) struct api_client *c = client_with(&cfg);
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/echo", NULL, 0, &o);
    assert_string_equal(field(&o, "/authorization"), "Bearer t0ken");
    assert_string_equal(field(&o, "/agent"), "agent n1");
}

static void test_server_name(void **state)
{
    struct client_config cfg = {.server = server, .ca = ca_pem, .server_name = "godwit.test"};
    _cleanup_(api_client_freep) struct api_client *c = client_with(&cfg);
    _cleanup_outcome_ struct outcome o = {0}, wrong = {0};

    call(c, "GET", "/echo", NULL, 0, &o);
    assert_int_equal(o.code, 200);
    cfg.server_name = "other.test";
    struct api_client *d = client_with(&cfg);
    call(d, "GET", "/echo", NULL, 0, &wrong);
    assert_int_equal(wrong.code, 0);
    assert_int_equal(wrong.reason, GW_SERVICE_UNAVAILABLE);
    api_client_free(d);
}

static void test_foreign_authority(void **state)
{
    struct client_config cfg = {.server = server, .ca = other_ca_pem};
    _cleanup_(api_client_freep) struct api_client *c = client_with(&cfg);
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/echo", NULL, 0, &o);
    assert_int_equal(o.reason, GW_SERVICE_UNAVAILABLE);
    assert_int_equal(o.number, -EKEYREJECTED);
    assert_non_null(strstr(o.message, "/echo"));
}

static void test_nobody_listens(void **state)
{
    struct client_config cfg = {.server = "https://127.0.0.1:1", .ca = ca_pem};
    _cleanup_(api_client_freep) struct api_client *c = client_with(&cfg);
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/echo", NULL, 0, &o);
    assert_int_equal(o.reason, GW_SERVICE_UNAVAILABLE);
    assert_int_equal(o.number, -ECONNREFUSED);
}

static void test_timeout(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome o = {0};
    int64_t start = clock_monotonic_ms();

    call(c, "GET", "/slow", NULL, 300, &o);
    assert_int_equal(o.reason, GW_TIMEOUT);
    assert_in_range(clock_monotonic_ms() - start, 250, 1800);
}

static void test_half_an_answer(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/cut", NULL, 0, &o);
    assert_int_equal(o.reason, GW_SERVICE_UNAVAILABLE);
    assert_int_equal(o.code, 0);
    assert_null(o.doc);
}

static void test_status(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    _cleanup_outcome_ struct outcome o = {0};

    call(c, "GET", "/status", NULL, 0, &o);
    assert_int_equal(o.code, 409);
    assert_int_equal(o.reason, GW_CONFLICT);
    assert_string_equal(o.message, "modified");
}

/* --- watches: a resource whose path is the server's --- */

static void on_event(void *userdata, enum api_event_type type, yyjson_val *object, _unused_ yyjson_doc **event)
{
    struct outcome *o = userdata;

    snprintf(o->events + strlen(o->events), sizeof(o->events) - strlen(o->events), "%d%s ", type,
             json_str_or(object, "/n", "?"));
    if (o->code == -1)
        o->ended = true;
}

static void on_end(void *userdata, const struct gw_error *err)
{
    struct outcome *o = userdata;

    o->ended = true;
    o->reason = err ? err->reason : GW_OK;
}

/* The server streams on /api/v1/stream and /api/v1/forever. */
static struct api_call *watch(struct api_client *c, const struct api_resource *r, struct outcome *o)
{
    return api_watch(c, r, NULL, NULL, on_event, on_end, o);
}

static const struct api_resource streaming = {"", "v1", "stream", "Stream", false};
static const struct api_resource forever = {"", "v1", "forever", "Forever", false};
static const struct api_resource refusing = {"", "v1", "status", "Status", false};

static void test_watch(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    struct outcome o = {0}, refused = {0};

    watch(c, &streaming, &o);
    wait_for(&o.ended, 10000);
    assert_string_equal(o.events, "01 12 23 ");
    assert_int_equal(o.reason, GW_OK);
    watch(c, &refusing, &refused);
    wait_for(&refused.ended, 10000);
    assert_int_equal(refused.reason, GW_CONFLICT);
}

static void test_watch_goes_on_beside_requests(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    struct outcome o = {.code = -1};
    _cleanup_outcome_ struct outcome get = {0};
    struct api_call *w = watch(c, &forever, &o);

    wait_for(&o.ended, 10000);
    assert_string_equal(o.events, "01 ");
    o.ended = false;
    call(c, "GET", "/echo", NULL, 0, &get);
    assert_int_equal(get.code, 200);
    assert_false(o.ended);
    api_cancel(w);
    wait_for(&o.ended, 100);
    assert_false(o.ended);
}

/* Everything that a callback may do: cancel, start, cancel another. */
struct tangle {
    struct api_client *c;
    struct api_call *watch, *slow;
    struct outcome next;
    bool ended;
};

static void tangle_event(void *userdata, _unused_ enum api_event_type type, _unused_ yyjson_val *object,
                         _unused_ yyjson_doc **event)
{
    struct tangle *t = userdata;

    t->watch = api_cancel(t->watch);
    t->slow = api_cancel(t->slow);
    api_request(t->c, "GET", "/echo", NULL, NULL, 0, on_done, &t->next);
}

static void tangle_end(void *userdata, _unused_ const struct gw_error *err)
{
    ((struct tangle *)userdata)->ended = true;
}

static void test_callbacks_may_do_anything(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = plain_client();
    struct tangle t = {.c = c};
    struct outcome slow = {0};

    t.slow = api_request(c, "GET", "/slow", NULL, NULL, 0, on_done, &slow);
    t.watch = api_watch(c, &streaming, NULL, NULL, tangle_event, tangle_end, &t);
    wait_for(&t.next.ended, 10000);
    assert_int_equal(t.next.code, 200);
    assert_false(t.ended);
    assert_false(slow.ended);
    outcome_done(&t.next);
}

static void test_refused_configurations(void **state)
{
    const struct client_config bad[] = {
        {.server = "http://127.0.0.1:1", .ca = ca_pem},
        {.ca = ca_pem},
        {.server = server},
        {.server = server, .ca = ca_pem, .cert = cert_pem},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct api_client *c = NULL;
        assert_true(client_curl_new(loop, &bad[i], &c, &err) < 0);
        assert_null(c);
        assert_int_equal(err.reason, GW_BAD_REQUEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_client_certificate_and_rotation),
        cmocka_unit_test(test_token_and_agent),
        cmocka_unit_test(test_server_name),
        cmocka_unit_test(test_foreign_authority),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_half_an_answer),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_goes_on_beside_requests),
        cmocka_unit_test(test_callbacks_may_do_anything),
        cmocka_unit_test(test_refused_configurations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Requests and answers, the server's life, and TLS. */
#include "http-fixture.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pki/pki.h"

static void requests_reach_the_handler_and_answers_the_client(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(&f,
                   "POST /echo/a%2Fb?x=%20 HTTP/1.1\r\nHost: h\r\nX-Test: t\r\nAuthorization: bearer  "
                   "tok\r\nContent-Length: 4\r\n\r\nbody",
                   "|body");
    assert_non_null(strstr(got, "200 OK"));
    assert_non_null(strstr(got, "X-Answer: 42"));
    assert_non_null(strstr(got, "POST /echo/a%2Fb?x=%20 t tok|body"));
    server_stop(&f);
}

static void chunked_bodies_are_joined(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(
        &f, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        "|abcdefg");
    assert_non_null(strstr(got, "|abcdefg"));
    server_stop(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(&f, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n", "/echo/2");
    assert_non_null(strstr(got, "slow"));
    assert_non_null(strstr(got, "/echo/2"));
    assert_true(strstr(got, "slow") < strstr(got, "/echo/2"));
    server_stop(&f);
}

static void a_handler_that_does_nothing_has_answered_500(void **state)
{
    struct fixture f = {0};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(&f, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", "no answer");
    assert_non_null(strstr(got, "500 Internal"));
    server_stop(&f);
}

static void large_answers_are_compressed_for_who_wants_it(void **state)
{
    struct fixture f = {0};
    size_t packed;

    server_start(&f);
    assert_int_equal(fetch(&f, "/many", "X-Test: plain", NULL), 5000000);
    packed = fetch(&f, "/many", "Accept-Encoding: deflate, gzip;q=0.5", NULL);
    assert_in_range(packed, 1000, 500000);
    assert_int_equal(fetch(&f, "/many", "X-Test: unpacked", "gzip"), 5000000);
    assert_int_equal(fetch(&f, "/many", "Accept-Encoding: gzip;q=0, identity", NULL), 5000000);
    assert_in_range(fetch(&f, "/echo", "Accept-Encoding: gzip", NULL), 10, 60); /* small ones go as they are */
    server_stop(&f);
}

static void stopping_at_once_leaves_nothing_behind(void **state)
{
    struct fixture f = {0};
    int fds[12];

    server_start(&f);
    for (int i = 0; i < 12; i++)
        fds[i] = dial(&f);
    open_stream(fds[0]);
    for (int i = 1; i < 12; i++)
        say(fds[i], i % 2 ? "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" : "GET /slow HTTP/1.1\r\nHo");
    usleep(50000);
    server_stop(&f);
    for (int i = 0; i < 12; i++) {
        assert_true(ends(fds[i], 1000));
        close(fds[i]);
    }
}

static void an_address_in_use_is_named(void **state)
{
    struct fixture f = {0};
    struct http_server *second = NULL;
    struct http_config config = {.address = "127.0.0.1", .handler = serve};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    sd_event *loop = NULL;

    server_start(&f);
    config.port = http_server_port(f.s);
    sd_event_new(&loop);
    assert_int_equal(http_server_new(loop, &config, &second, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, "127.0.0.1"));
    config.address = "localhost";
    assert_true(http_server_new(loop, &config, &second, &err) < 0);
    assert_int_equal(err.reason, GW_INVALID);
    sd_event_unref(loop);
    server_stop(&f);
}

/* --- TLS --- */

static CURL *https(const struct fixture *f, const char *path, const char *ca_pem, struct str *got)
{
    CURL *c = curl_easy_init();
    _cleanup_free_ char *url = xasprintf("https://127.0.0.1:%u%s", http_server_port(f->s), path);
    FILE *ca =
        fopen("test-http-server.ca", "w"); /* the GnuTLS build of libcurl 7.88 takes authorities from files only */

    fputs(ca_pem, ca);
    fclose(ca);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_CAINFO, "test-http-server.ca");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, got);
    return c;
}

static void use_client(CURL *c, const char *cert_pem, const char *key_pem)
{
    FILE *cert = fopen("test-http-server.crt", "w"), *key = fopen("test-http-server.key", "w");

    fputs(cert_pem, cert), fputs(key_pem, key);
    fclose(cert), fclose(key);
    curl_easy_setopt(c, CURLOPT_SSLCERT, "test-http-server.crt");
    curl_easy_setopt(c, CURLOPT_SSLKEY, "test-http-server.key");
}

static void tls_identifies_both_sides(void **state)
{
    static const char *const sans[] = {"127.0.0.1", NULL};
    const struct pki_subject server = {"server", NULL, sans}, client = {"alice", NULL, NULL};
    struct pki_ca *ca = NULL, *other = NULL;
    _cleanup_free_ char *cert = NULL, *cert2 = NULL, *client_cert = NULL;
    _cleanup_key_ char *key = NULL, *key2 = NULL, *client_key = NULL;
    _cleanup_str_ struct str got = {0};
    struct fixture f = {0};
    CURL *c;

    assert_int_equal(pki_ca_new("ca", 86400, &ca, NULL), 0);
    assert_int_equal(pki_ca_new("other", 86400, &other, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &server, PKI_SERVER, 3600, &cert, &key, NULL), 0);
    assert_int_equal(pki_issue_with_key(other, &server, PKI_SERVER, 3600, &cert2, &key2, NULL), 0);
    assert_int_equal(pki_issue_with_key(ca, &client, PKI_CLIENT, 3600, &client_cert, &client_key, NULL), 0);
    f.config.cert_pem = cert;
    f.config.key_pem = key;
    server_start(&f);

    c = https(&f, "/peer", pki_ca_cert_pem(ca), &got);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_string_equal(got.data, "nobody");
    curl_easy_cleanup(c);

    str_done(&got);
    c = https(&f, "/peer", pki_ca_cert_pem(ca), &got);
    use_client(c, client_cert, client_key);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_string_equal(got.data, "alice firstalice again");
    curl_easy_cleanup(c);

    c = https(&f, "/peer", pki_ca_cert_pem(other), &got);
    assert_int_not_equal(curl_easy_perform(c), CURLE_OK);
    curl_easy_cleanup(c);

    f.new_cert = cert2;
    f.new_key = key2;
    eventfd_write(f.stop_fd, 2);
    usleep(100000);
    str_done(&got);
    c = https(&f, "/many", pki_ca_cert_pem(other), &got);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    assert_int_equal(got.len, 5000000);
    for (size_t i = 0; i < got.len; i += 50)
        assert_memory_equal(got.data + i, "01234567890123456789", 20);
    curl_easy_cleanup(c);
    server_stop(&f);
    pki_ca_free(ca);
    pki_ca_free(other);
    remove("test-http-server.ca"), remove("test-http-server.crt"), remove("test-http-server.key");
}

#define UPGRADE "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

static void answers_can_be_put_off_on_the_loop(void **state)
{
    struct fixture f = {.config.on_loop = true};
    _cleanup_free_ char *got = NULL;

    server_start(&f);
    got = exchange(&f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n", "/echo/2");
    assert_non_null(strstr(got, "later"));
    assert_true(strstr(got, "later") < strstr(got, "/echo/2"));
    server_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_reach_the_handler_and_answers_the_client),
        cmocka_unit_test(chunked_bodies_are_joined),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_handler_that_does_nothing_has_answered_500),
        cmocka_unit_test(large_answers_are_compressed_for_who_wants_it),
        cmocka_unit_test(stopping_at_once_leaves_nothing_behind),
        cmocka_unit_test(an_address_in_use_is_named),
        cmocka_unit_test(answers_can_be_put_off_on_the_loop),
        cmocka_unit_test(tls_identifies_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

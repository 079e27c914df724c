#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fs.h"
#include "client/kubeconfig.h"

/* --- base64: RFC 4648, section 10 --- */

static void test_base64(void **state)
{
    static const char *const rows[][2] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = base64_encode(rows[i][0], strlen(rows[i][0])), *data = NULL;
        size_t len;
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(base64_decode(text, strlen(text), &data, &len), 0);
        assert_string_equal(data, rows[i][0]);
        assert_int_equal(len, strlen(rows[i][0]));
    }
}

static void test_base64_bytes_and_spaces(void **state)
{
    unsigned char all[256];
    _cleanup_free_ char *data = NULL, *spaced = NULL;
    size_t len;

    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    _cleanup_free_ char *text = base64_encode(all, sizeof(all));
    assert_int_equal(base64_decode(text, strlen(text), &data, &len), 0);
    assert_int_equal(len, 256);
    assert_memory_equal(data, all, 256);
    assert_int_equal(base64_decode(" Zm\n9v\r\n ", 9, &spaced, NULL), 0);
    assert_string_equal(spaced, "foo");
}

static void test_base64_refused(void **state)
{
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Z=g=", "====", "Zm9v=", "Zm9!", "Zm9v\xff\xff\xff\xff"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *data = NULL;
        assert_true(base64_decode(bad[i], strlen(bad[i]), &data, NULL) < 0);
        assert_null(data);
    }
    char *data = NULL;
    assert_true(base64_decode("Zm\0v", 4, &data, NULL) < 0);
}

/* --- kubeconfig --- */

static const char good[] = "apiVersion: v1\n"
                           "kind: Config\n"
                           "current-context: two\n"
                           "clusters:\n"
                           "- name: c1\n"
                           "  cluster: {server: 'https://one:6443/', certificate-authority-data: Q0E=}\n"
                           "- name: c2\n"
                           "  cluster: {server: 'https://two:6443', certificate-authority: ca.pem, tls-server-name: t}\n"
                           "users:\n"
                           "- name: u1\n"
                           "  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n"
                           "- name: u2\n"
                           "  user: {token: abc}\n"
                           "- name: u3\n"
                           "  user: {exec: {command: aws}}\n"
                           "- name: u4\n"
                           "  user: {tokenFile: token}\n"
                           "contexts:\n"
                           "- {name: one, context: {cluster: c1, user: u1, namespace: lab}}\n"
                           "- {name: two, context: {cluster: c1, user: u2}}\n"
                           "- {name: file, context: {cluster: c2, user: u4}}\n"
                           "- {name: exec, context: {cluster: c1, user: u3}}\n"
                           "- {name: nocluster, context: {cluster: cx, user: u1}}\n"
                           "- {name: nouser, context: {cluster: c1, user: ux}}\n"
                           "- {name: anonymous, context: {cluster: c1}}\n";

static int parse(const char *context, struct client_config *cfg, struct gw_error *err)
{
    return kubeconfig_parse(good, strlen(good), NULL, context, cfg, err);
}

static void test_embedded(void **state)
{
    _cleanup_client_config_ struct client_config cfg = {0};

    assert_int_equal(parse("one", &cfg, NULL), 0);
    assert_string_equal(cfg.server, "https://one:6443");
    assert_string_equal(cfg.ca, "CA");
    assert_string_equal(cfg.cert, "CERT");
    assert_string_equal(cfg.key, "KEY");
    assert_string_equal(cfg.namespace_, "lab");
    assert_null(cfg.token);
    assert_false(cfg.insecure);
}

static void test_current_context(void **state)
{
    _cleanup_client_config_ struct client_config cfg = {0};

    assert_int_equal(parse(NULL, &cfg, NULL), 0);
    assert_string_equal(cfg.token, "abc");
    assert_string_equal(cfg.namespace_, "default");
    assert_null(cfg.cert);
}

static void test_without_user(void **state)
{
    _cleanup_client_config_ struct client_config cfg = {0};

    assert_int_equal(parse("anonymous", &cfg, NULL), 0);
    assert_null(cfg.token);
}

static void test_refused(void **state)
{
    static const char *const rows[][2] = {
        {"exec", "exec"}, {"nocluster", "\"cx\""}, {"nouser", "\"ux\""}, {"absent", "\"absent\""}, {"file", "ca.pem"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct client_config cfg = {0};
        assert_true(parse(rows[i][0], &cfg, &err) < 0);
        assert_non_null(strstr(err.message, rows[i][1]));
        assert_null(cfg.server); /* untouched on failure */
    }
}

static void test_foreign_text(void **state)
{
    static const char *const bad[] = {"", "a: [", "[]", "42", "clusters: 1", "current-context: x\ncontexts: {a: b}"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct client_config cfg = {0};
        assert_true(kubeconfig_parse(bad[i], strlen(bad[i]), NULL, NULL, &cfg, &err) < 0);
        assert_non_null(err.message);
    }
}

static void put(const char *dir, const char *name, const char *text)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

    assert_int_equal(fs_write(path, text, strlen(text), 0600, NULL), 0);
}

static void test_files_beside_it(void **state)
{
    char dir[] = "/tmp/test-kubeconfig-XXXXXX";
    _cleanup_client_config_ struct client_config cfg = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *path = xasprintf("%s/config", dir);
    put(dir, "config", good);
    put(dir, "ca.pem", "THE CA");
    assert_true(kubeconfig_load(path, "file", &cfg, &err) < 0);
    assert_non_null(strstr(err.message, "token"));
    put(dir, "token", "secret\n");
    assert_int_equal(kubeconfig_load(path, "file", &cfg, NULL), 0);
    assert_string_equal(cfg.ca, "THE CA");
    assert_string_equal(cfg.token, "secret");
    assert_string_equal(cfg.server_name, "t");
    fs_remove_tree(dir, NULL);
}

static void test_several_files(void **state)
{
    static const char first[] = "current-context: ours\nclusters:\n- {name: c1, cluster: {server: 'https://first:1'}}\n",
                      second[] = "users:\n- {name: u9, user: {tokenFile: nine}}\ncontexts:\n"
                                 "- {name: ours, context: {cluster: c1, user: u9}}\n";
    char dir[] = "/tmp/test-kubeconfig-XXXXXX";
    _cleanup_client_config_ struct client_config cfg = {0}, other = {0};

    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *sub = xasprintf("%s/sub", dir);
    _cleanup_free_ char *list = xasprintf("%s/absent:%s/a:%s/b::%s/config", dir, dir, sub, dir);
    assert_int_equal(fs_mkdirs(sub, 0700, NULL), 0);
    put(dir, "a", first);
    put(sub, "b", second);
    put(sub, "nine", "of nine");
    put(dir, "config", good);
    assert_int_equal(kubeconfig_load_list(list, NULL, &cfg, NULL), 0);
    assert_string_equal(cfg.server, "https://first:1"); /* as the first file has it, and not the last */
    assert_string_equal(cfg.token, "of nine");
    assert_int_equal(kubeconfig_load_list(list, "one", &other, NULL), 0);
    assert_string_equal(other.namespace_, "lab");
    put(dir, "a", "clusters: [");
    assert_true(kubeconfig_load_list(list, NULL, &(struct client_config){0}, NULL) < 0);
    fs_remove_tree(dir, NULL);
}

static void test_write_and_read_back(void **state)
{
    struct client_config cfg = {.server = "https://h:1", .ca = "C\nA\n", .cert = "CERT", .key = "KEY", .server_name = "n"};
    _cleanup_client_config_ struct client_config back = {0};
    _cleanup_free_ char *text = kubeconfig_write(&cfg, "lab", "admin");

    assert_int_equal(kubeconfig_parse(text, strlen(text), NULL, NULL, &back, NULL), 0);
    assert_string_equal(back.server, cfg.server);
    assert_string_equal(back.ca, cfg.ca);
    assert_string_equal(back.cert, cfg.cert);
    assert_string_equal(back.key, cfg.key);
    assert_string_equal(back.server_name, "n");
    assert_string_equal(back.namespace_, "default");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),          cmocka_unit_test(test_base64_bytes_and_spaces),
        cmocka_unit_test(test_base64_refused),  cmocka_unit_test(test_embedded),
        cmocka_unit_test(test_current_context), cmocka_unit_test(test_without_user),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_foreign_text),
        cmocka_unit_test(test_several_files),
        cmocka_unit_test(test_files_beside_it), cmocka_unit_test(test_write_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

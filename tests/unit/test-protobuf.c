/* Bodies as kubectl sends them, put together byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/protobuf.h"
#include "base/alloc.h"
#include "base/str.h"
#include "kinds-fixture.h"

/* A field of bytes: tag, length, bytes. Numbers below 16 and lengths below 128, so one byte each. */
static void add_bytes(struct str *s, unsigned number, const void *data, size_t len)
{
    assert_true(number < 16 && len < 128);
    str_putc(s, (char)(number << 3 | 2));
    str_putc(s, (char)len);
    str_add(s, data, len);
}

static void add_str(struct str *s, unsigned number, const char *text)
{
    add_bytes(s, number, text, strlen(text));
}

static void add_message(struct str *s, unsigned number, struct str *message)
{
    add_bytes(s, number, message->data, message->len);
    str_done(message);
}

static void envelope(struct str *out, const char *version, const char *kind, struct str *raw)
{
    struct str type = {0};

    add_str(&type, 1, version);
    add_str(&type, 2, kind);
    str_add(out, "k8s\0", 4);
    add_message(out, 1, &type);
    add_message(out, 2, raw);
    add_str(out, 3, "");
    add_str(out, 4, "");
}

static char *decode(struct str *body)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = protobuf_decode(kinds, body->data, body->len, &d, &err);
    char *text = r < 0 ? xstrdup(gw_reason_string(err.reason)) : json_text(yyjson_mut_doc_get_root(d));

    str_done(body);
    return text;
}

#define assert_decodes(body, expected) \
    do { \
        _cleanup_free_ char *_text = decode(body); \
        assert_string_equal(_text, expected); \
    } while (0)

/* kubectl create namespace demo: empty fields that are no pointers are there too. */
static void test_namespace(void **state)
{
    struct str meta = {0}, raw = {0}, body = {0}, none = {0};

    add_str(&meta, 1, "demo");
    add_str(&meta, 2, "");
    add_str(&meta, 3, "");
    add_message(&meta, 8, &none);
    add_message(&raw, 1, &meta);
    add_message(&raw, 2, &none);
    envelope(&body, "v1", "Namespace", &raw);
    assert_decodes(&body,
                   "{\"metadata\":{\"name\":\"demo\"},\"spec\":{},\"apiVersion\":\"v1\",\"kind\":\"Namespace\"}");
}

static void test_maps_bytes_and_times(void **state)
{
    struct str label = {0}, time = {0}, meta = {0}, data = {0}, raw = {0}, body = {0};

    add_str(&label, 1, "app");
    add_str(&label, 2, "x");
    add_str(&meta, 1, "s");
    str_add(&time, "\x08\x80\xa3\x05", 4); /* seconds 86400 */
    add_message(&meta, 8, &time);
    add_message(&meta, 11, &label);
    add_message(&raw, 1, &meta);
    add_str(&data, 1, "k");
    add_bytes(&data, 2, "\x00\xff", 2);
    add_message(&raw, 2, &data);
    add_str(&raw, 3, "Opaque");
    envelope(&body, "v1", "Secret", &raw);
    assert_decodes(
        &body,
        "{\"metadata\":{\"name\":\"s\",\"creationTimestamp\":\"1970-01-02T00:00:00Z\",\"labels\":{\"app\":\"x\"}},"
        "\"data\":{\"k\":\"AP8=\"},\"type\":\"Opaque\",\"apiVersion\":\"v1\",\"kind\":\"Secret\"}");
}

/* A launcher pod as client-go writes it back: false where nothing was said, volumes' sources in a message of their own. */
static void test_pod(void **state)
{
    struct str meta = {0}, claim = {0}, source = {0}, volume = {0}, limit = {0}, amount = {0}, resources = {0}, none = {0},
               compute = {0}, spec = {0}, raw = {0}, body = {0};

    add_str(&meta, 1, "p");
    add_message(&raw, 1, &meta);
    add_str(&claim, 1, "data");
    str_add(&claim, "\x10\x00", 2); /* 2: readOnly false */
    add_message(&source, 10, &claim);
    add_str(&volume, 1, "disk");
    add_message(&volume, 2, &source);
    add_message(&spec, 1, &volume);
    add_str(&compute, 1, "compute");
    add_str(&limit, 1, "cpu");
    add_str(&amount, 1, "1");
    add_message(&limit, 2, &amount);
    add_message(&resources, 1, &limit);
    add_message(&compute, 8, &resources);
    add_message(&spec, 2, &compute);
    str_add(&spec, "\x20\x00", 2); /* 4: terminationGracePeriodSeconds 0, which is a pointer */
    str_add(&spec, "\x58\x00", 2); /* 11: hostNetwork false, which is none */
    add_message(&spec, 14, &none);
    add_message(&raw, 2, &spec);
    envelope(&body, "v1", "Pod", &raw);
    assert_decodes(&body, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"volumes\":[{\"name\":\"disk\","
                          "\"persistentVolumeClaim\":{\"claimName\":\"data\"}}],\"containers\":[{\"name\":\"compute\","
                          "\"resources\":{\"limits\":{\"cpu\":\"1\"}}}],\"terminationGracePeriodSeconds\":0,"
                          "\"securityContext\":{}},\"apiVersion\":\"v1\",\"kind\":\"Pod\"}");
}

/* A field without a number would be lost when an object is written back. */
static void check_numbers(const struct schema *s, const char *name)
{
    if (s->items)
        check_numbers(s->items, name);
    if (s->additional)
        check_numbers(s->additional, name);
    for (size_t i = 0; i < s->n_properties; i++) {
        const struct property *p = &s->properties[i];
        bool envelope = streq(p->name, "apiVersion") || streq(p->name, "kind");

        if (!p->protobuf && !envelope && !str_starts(p->description ? p->description : "", "Not used"))
            fail_msg("%s: no x-protobuf in %s", p->name, name);
        check_numbers(p->schema, p->name);
    }
}

static void test_all_fields_have_numbers(void **state)
{
    static const char *const plurals[] = {"pods", "persistentvolumes"};

    for (size_t i = 0; i < ARRAY_SIZE(plurals); i++)
        check_numbers(kinds_find(kinds, "", NULL, plurals[i])->schema, plurals[i]);
}

static void test_unknown_fields_are_skipped(void **state)
{
    struct str meta = {0}, raw = {0}, body = {0};

    add_str(&meta, 1, "demo");
    str_add(&meta, "\x78\x05", 2); /* 15: varint 5 */
    str_add(&meta,
            "\x79"
            "12345678",
            9); /* 15: 64 bits */
    str_add(&meta,
            "\x7d"
            "1234",
            5); /* 15: 32 bits */
    add_message(&raw, 1, &meta);
    add_str(&raw, 14, "whatever");
    envelope(&body, "v1", "Namespace", &raw);
    assert_decodes(&body, "{\"metadata\":{\"name\":\"demo\"},\"apiVersion\":\"v1\",\"kind\":\"Namespace\"}");
}

static void test_malformed_bodies(void **state)
{
    static const struct {
        const char *raw;
        size_t len;
    } rows[] = {
        {"\x0a", 1}, /* no length */
        {"\x0a\x05"
         "ab",
         4}, /* longer than what is there */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
        {"\x0b", 1},                 /* a group */
        {"\x02\x00", 2},             /* field number 0 */
        {"\x08\x01", 2},             /* metadata as a number */
        {"\x0a\x03\x0a\x01\xff", 5}, /* a name that is not UTF-8 */
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct str raw = {0}, body = {0};

        str_add(&raw, rows[i].raw, rows[i].len);
        envelope(&body, "v1", "Namespace", &raw);
        assert_decodes(&body, "BadRequest");
    }
}

/* Typed clients send these with a deletion, in the version of whatever is deleted. */
static void test_delete_options(void **state)
{
    static const char *const versions[] = {"v1", "rbac.authorization.k8s.io/v1", "kubevirt.io/v1"};

    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        struct str raw = {0}, body = {0};
        _cleanup_free_ char *expected = xasprintf("{\"propagationPolicy\":\"Orphan\",\"dryRun\":[\"All\"],"
                                                  "\"apiVersion\":\"%s\",\"kind\":\"DeleteOptions\"}", versions[i]);

        add_str(&raw, 4, "Orphan");
        add_str(&raw, 5, "All");
        envelope(&body, versions[i], "DeleteOptions", &raw);
        assert_decodes(&body, expected);
    }
}

static void test_kinds_without_protobuf(void **state)
{
    struct str a = {0}, b = {0}, raw = {0};

    str_puts(&raw, "");
    str_add(&raw, "\x0a\x00", 2);
    envelope(&a, "kubevirt.io/v1", "VirtualMachine", &raw);
    assert_decodes(&a, "UnsupportedMediaType");
    str_puts(&b, "{}");
    assert_decodes(&b, "BadRequest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_namespace),
        cmocka_unit_test(test_maps_bytes_and_times),
        cmocka_unit_test(test_pod),
        cmocka_unit_test(test_all_fields_have_numbers),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_malformed_bodies),
        cmocka_unit_test(test_delete_options),
        cmocka_unit_test(test_kinds_without_protobuf),
    };

    return cmocka_run_group_tests(tests, load, unload);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/quantity.h"

static struct quantity parse(const char *text)
{
    struct quantity q = {0};

    if (quantity_parse(text, &q, NULL) < 0)
        fail_msg("%s is no quantity", text);
    return q;
}

static void test_canonical_form(void **state)
{
    static const char *const rows[][2] = {
        {"0", "0"},
        {"0Gi", "0"},
        {"-0", "0"},
        {"1", "1"},
        {"1000", "1k"},
        {"1500m", "1500m"},
        {"1.5", "1500m"},
        {"0.5", "500m"},
        {".5", "500m"},
        {"5.", "5"},
        {"1024", "1024"},
        {"1024Ki", "1Mi"},
        {"1.5Gi", "1536Mi"},
        {"0.5Ki", "512"},
        {"1.1Ki", "1126400m"},
        {"64Mi", "64Mi"},
        {"64M", "64M"},
        {"100e3", "100e3"},
        {"1E3", "1e3"},
        {"1E", "1E"},
        {"1e-3", "1e-3"},
        {"+5", "5"},
        {"-1500Mi", "-1500Mi"},
        {"1000000Ki", "1000000Ki"},
        {"12345678901234567890", "9223372036854775807"},
        {"100E", "9223372036854775807"},
        {"16Ei", "9223372036854775807"},
        {"1e99", "9223372036854775807"},
        {"0.1n", "1n"},
        {"1.0000000001", "1000000001n"},
        {"1e-99", "1e-9"},
        {"0.0000000000000000000000000001", "1n"},
        {"8Ei", "9223372036854775807"},
        {"7Ei", "7Ei"},
        {"1023", "1023"},
        {"1000k", "1M"},
        {"2000000m", "2k"},
        {"0.000", "0"},
        {"-1n", "-1n"},
        {"1e3k", NULL},
        {"2.302369010Ei", "2654450743169376711354613760n"},
        {"2654450743169376711354613760n", "2654450743169376711354613760n"},
        {"1.000000000000000000000000000000001Ki", "1024000000001n"},
    };
    char buf[QUANTITY_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!rows[i][1]) {
            assert_false(quantity_valid(rows[i][0]));
            continue;
        }
        struct quantity q = parse(rows[i][0]);
        quantity_format(&q, buf);
        if (strcmp(buf, rows[i][1]) != 0)
            fail_msg("%s became %s, not %s", rows[i][0], buf, rows[i][1]);
        struct quantity again = parse(buf);
        assert_int_equal(quantity_compare(&q, &again), 0);
    }
}

static void test_what_is_no_quantity(void **state)
{
    static const char *const rows[] = {"",    "-",  "+",   ".",    "Mi",    "1Kii", "1 Gi", "1.2.3", "1e", "1e+",
                                       "--1", "1K", "1mi", "0x10", "1e3.5", "1,5",  "NaN",  "1G ",   " 1"};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct quantity q;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (quantity_valid(rows[i]))
            fail_msg("\"%s\" was taken", rows[i]);
    assert_true(quantity_parse("abc", &q, &err) < 0);
    assert_string_equal(gw_error_message(&err),
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static void test_values(void **state)
{
    assert_int_equal(quantity_text_value("64Mi", -1), 64 << 20);
    assert_int_equal(quantity_text_value("1500m", -1), 2);
    assert_int_equal(quantity_text_value("-1500m", -1), -1);
    assert_int_equal(quantity_text_value("16Ei", -1), INT64_MAX);
    assert_int_equal(quantity_text_value(NULL, 7), 7);
    assert_int_equal(quantity_text_value("x", 7), 7);
    assert_int_equal(quantity_text_milli("2", -1), 2000);
    assert_int_equal(quantity_text_milli("250u", -1), 1);
    assert_int_equal(quantity_text_milli("8Ei", -1), INT64_MAX);
}

static void test_arithmetic(void **state)
{
    struct quantity a = parse("1Gi"), b = parse("512Mi"), zero = {0},
                    most = quantity_from(INT64_MAX, QUANTITY_DECIMAL_SI);
    char buf[QUANTITY_TEXT_MAX];

    assert_true(quantity_compare(&a, &b) > 0);
    assert_true(quantity_compare(&b, &a) < 0);
    quantity_add(&a, &b);
    assert_string_equal(quantity_format(&a, buf), "1536Mi");
    quantity_sub(&a, &b);
    assert_string_equal(quantity_format(&a, buf), "1Gi");
    quantity_add(&zero, &b);
    assert_string_equal(quantity_format(&zero, buf), "512Mi");
    quantity_add(&most, &most);
    assert_int_equal(quantity_value(&most), INT64_MAX);
    struct quantity cpu = quantity_from_milli(1500, QUANTITY_DECIMAL_SI);
    assert_string_equal(quantity_format(&cpu, buf), "1500m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_form),
        cmocka_unit_test(test_what_is_no_quantity),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_arithmetic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

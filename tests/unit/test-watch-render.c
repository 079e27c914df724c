#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/watch/render.h"

static const char running[] =
    "{\"percent\":50,\"bytesTotal\":134217728,\"bytesTransferred\":67108864,\"bytesPerSecond\":104857600,"
    "\"dirtyBytesPerSecond\":1048576,\"iteration\":2,\"etaSeconds\":75,\"converging\":true}";

static yyjson_doc *parse(const char *text)
{
    yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

static void assert_line(const char *phase, const char *json, size_t columns, const char *expected)
{
    _cleanup_doc_ yyjson_doc *doc = json ? parse(json) : NULL;
    _cleanup_str_ struct str line = {0};

    watch_line(&line, phase, doc ? yyjson_doc_get_root(doc) : NULL, columns);
    assert_string_equal(str_text(&line), expected);
}

static void phases_before_the_copy_stand_alone(void **state)
{
    assert_line("", NULL, 80, "Waiting         ");
    assert_line("PreparingTarget", NULL, 80, "PreparingTarget ");
}

static void line_has_bar_and_figures(void **state)
{
    assert_line("Running", running, 140,
                "Running         [###############...............]  50 %  64.0 of 128.0 MiB  100.0 MiB/s  dirty 1.0 MiB/s  "
                "round 2  ETA 1 min 15 s");
}

static void narrow_lines_lose_the_bar_first_and_never_wrap(void **state)
{
    _cleanup_doc_ yyjson_doc *doc = parse(running);

    for (size_t columns = 10; columns < 200; columns++) {
        _cleanup_str_ struct str line = {0};
        watch_line(&line, "Running", yyjson_doc_get_root(doc), columns);
        assert_true(line.len <= columns);
    }
    assert_line("Running", running, 96,
                "Running          50 %  64.0 of 128.0 MiB  100.0 MiB/s  dirty 1.0 MiB/s  round 2  ETA 1 min 15 s");
}

static void says_why_it_does_not_converge(void **state)
{
    _cleanup_doc_ yyjson_doc *doc =
        parse("{\"percent\":10,\"etaSeconds\":-1,\"converging\":false,\"reason\":\"the guest writes faster than the link\"}");
    _cleanup_str_ struct str line = {0};

    watch_line(&line, "Running", yyjson_doc_get_root(doc), 200);
    assert_non_null(strstr(str_text(&line), "ETA unknown  not converging: the guest writes faster than the link"));
}

static void bars_stay_in_their_brackets(void **state)
{
    static const char *const odd[] = {"{\"percent\":-5}", "{\"percent\":250}", "{}", "{\"percent\":\"x\"}"};

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        _cleanup_doc_ yyjson_doc *doc = parse(odd[i]);
        _cleanup_str_ struct str line = {0};
        watch_line(&line, "Running", yyjson_doc_get_root(doc), 160);
        const char *open = strchr(str_text(&line), '['), *close = strchr(str_text(&line), ']');
        assert_int_equal(close - open, 31);
    }
}

static void summaries_tell_the_end(void **state)
{
    _cleanup_doc_ yyjson_doc *good = parse("{\"sourceNode\":\"node1\",\"targetNode\":\"node2\",\"progress\":{\"totalTimeMs\":2345,"
                                           "\"downtimeMs\":31,\"bytesTransferred\":104857600,\"iteration\":3}}");
    _cleanup_doc_ yyjson_doc *bad = parse("{\"failureReason\":\"target node is out of memory\"}");
    _cleanup_str_ struct str line = {0}, failed = {0}, early = {0};

    watch_summary(&line, "m", "Succeeded", yyjson_doc_get_root(good), NULL);
    assert_string_equal(str_text(&line), "m: Succeeded, node1 to node2 in 2.35 s, 100.0 MiB in 3 rounds, downtime 31 ms");
    watch_summary(&failed, "m", "Failed", yyjson_doc_get_root(bad), NULL);
    assert_string_equal(str_text(&failed), "m: Failed: target node is out of memory");
    watch_summary(&early, "m", "Failed", NULL, NULL);
    assert_string_equal(str_text(&early), "m: Failed: no reason given");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_before_the_copy_stand_alone),
        cmocka_unit_test(line_has_bar_and_figures),
        cmocka_unit_test(narrow_lines_lose_the_bar_first_and_never_wrap),
        cmocka_unit_test(says_why_it_does_not_converge),
        cmocka_unit_test(bars_stay_in_their_brackets),
        cmocka_unit_test(summaries_tell_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

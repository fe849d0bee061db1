/* YAML to JSON and back, and finding a field's line. kubectl's own parser checks the same
 * conversions on a larger corpus in test/integration/test_values.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/yaml.h"

/* Joins the documents as "LINE JSON" with a newline between them. */
static struct error *collect(void *context, const char *json, size_t length, size_t line)
{
    struct buffer *all = context;

    if (all->length > 0)
        buffer_append_byte(all, '\n');
    buffer_appendf(all, "%zu ", line);
    buffer_append(all, json, length);
    return NULL;
}

static void assert_reads(const char *yaml, const char *expected)
{
    _cleanup_(buffer) struct buffer all = BUFFER_INIT;
    _cleanup_(error) struct error *error = yaml_read(yaml, strlen(yaml), collect, &all);

    if (error)
        fail_msg("%s: %s", yaml, error->message);
    assert_string_equal(buffer_string(&all), expected);
}

static void assert_refused(const char *yaml, size_t length, const char *expected)
{
    _cleanup_(buffer) struct buffer all = BUFFER_INIT;
    _cleanup_(error) struct error *error = yaml_read(yaml, length, collect, &all);

    assert_non_null(error);
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    assert_string_equal(error->reason, "InvalidYAML");
    assert_string_equal(error->message, expected);
}

static void plain_scalars_are_read_as_kubectl_reads_them(void **state)
{
    static const char *const cases[][2] = {
        {"no", "false"},
        {"On", "true"},
        {"y", "true"},
        {"~", "null"},
        {"''", "\"\""},
        {"'no'", "\"no\""},
        {"nO", "\"nO\""},
        {"012", "10"},
        {"0o12", "10"},
        {"08", "8"},
        {"0x1F", "31"},
        {"-0b11", "-3"},
        {"1_000", "1000"},
        {"+12", "12"},
        {"+.5", "0.5"},
        {"5.", "5.0"},
        {"1e3", "1e3"},
        {"1.50", "1.50"},
        {"1e999", "\"1e999\""},
        {"18446744073709551616", "18446744073709551616"},
        {"0.1234567890123456789", "0.1234567890123456789"},
        {"12:30:45", "\"12:30:45\""},
        {"2020-01-01", "\"2020-01-01\""},
        {"=", "\"=\""},
        {"<<", "\"<<\""},
        {"!!str 12", "\"12\""},
        {"!!int \"12\"", "12"},
        {"!!binary aGk=", "\"hi\""},
        {"!mine x", "\"x\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[100], json[100];

        snprintf(yaml, sizeof yaml, "a: %s\n", cases[i][0]);
        snprintf(json, sizeof json, "1 {\"a\":%s}", cases[i][1]);
        assert_reads(yaml, json);
    }
}

static void keys_become_text_as_in_kubectl(void **state)
{
    (void)state;
    assert_reads("yes: a\n012: b\n1.5: c\n1e6: d\n.inf: e\n'': f\n",
                 "1 {\"true\":\"a\",\"10\":\"b\",\"1.5\":\"c\",\"1e+06\":\"d\",\".inf\":\"e\","
                 "\"\":\"f\"}");
}

static void merges_apply_in_the_order_written(void **state)
{
    (void)state;
    assert_reads("a: &a {x: 1, z: 2}\nb: {<<: *a, x: 3}\n",
                 "1 {\"a\":{\"x\":1,\"z\":2},\"b\":{\"z\":2,\"x\":3}}");
    assert_reads("a: &a {x: 1}\nb: {x: 3, <<: *a}\n", "1 {\"a\":{\"x\":1},\"b\":{\"x\":1}}");
    assert_reads("- &a {x: 1}\n- &b {x: 2, z: 3}\n- <<: [*a, *b, *a]\n",
                 "1 [{\"x\":1},{\"x\":2,\"z\":3},{\"z\":3,\"x\":1}]");
}

static void documents_come_with_the_line_they_begin_at(void **state)
{
    (void)state;
    assert_reads("# comment\n---\n\na: 1\n---\n---\n[]\n...\n", "4 {\"a\":1}\n5 null\n7 []");
    assert_reads("", "");
    assert_reads("\xEF\xBB\xBF# only a comment\n", "");
}

static void faults_name_line_and_column(void **state)
{
    static const char *const cases[][2] = {
        {"a: 1\nb: 2\na: 3\n", "line 3 column 1: key 'a' is given twice"},
        {"1: a\n'1': b\n", "line 2 column 1: key '1' is given twice"},
        {"a: *x\n", "line 1 column 4: unknown alias 'x'"},
        {"a: &a\n  b: *a\n", "line 2 column 6: an alias makes this value contain itself"},
        {"? [a]\n: b\n", "line 1 column 3: a key must be a scalar, this is a sequence"},
        {"~: b\n", "line 1 column 1: a key must not be null; quote it if it is text"},
        {"a: .nan\n", "line 1 column 4: '.nan' is a number for which JSON has no form"},
        {"a: !!int x\n", "line 1 column 4: 'x' is not a !!int"},
        {"a: !!binary /w==\n",
         "line 1 column 4: !!binary holds bytes that are not UTF-8, for which JSON has no form"},
        {"a: {<<: 1}\n", "line 1 column 9: '<<' merges a mapping or a sequence of mappings"},
        {"a: [b\n", "line 2 column 1: while parsing a flow sequence did not find expected ',' or "
                    "']'"},
        {"a: b\nc: \xff\n", "line 2 column 4: invalid leading UTF-8 octet (0xff)"},
        {"a: \x01\n", "line 1 column 4: control characters are not allowed (0x01)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i][0], strlen(cases[i][0]), cases[i][1]);
}

static void aliases_cannot_unfold_without_end(void **state)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;

    (void)state;
    buffer_append_string(&yaml, "- &a0 [x]\n");
    for (int i = 1; i <= 20; i++)
        buffer_appendf(&yaml, "- &a%d [*a%d, *a%d, *a%d]\n", i, i - 1, i - 1, i - 1);
    assert_refused(yaml.bytes, yaml.length,
                   "line 3 column 13: aliases unfold to more than 4000000 nodes");
}

static void merges_cannot_nest_without_end(void **state)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;

    (void)state;
    buffer_append_string(&yaml, "- &a0 {x: 1}\n");
    for (int i = 1; i <= 2000; i++)
        buffer_appendf(&yaml, "- &a%d {<<: *a%d}\n", i, i - 1);
    assert_refused(yaml.bytes, yaml.length, "line 2 column 12: nested deeper than 1000 levels");
}

/* Each merge copies the mapping's keys. */
static void merged_keys_cannot_unfold_without_end(void **state)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;

    (void)state;
    buffer_append_string(&yaml, "- &a\n  ? ");
    for (int i = 0; i < 1 << 20; i++)
        buffer_append_byte(&yaml, 'k');
    buffer_append_string(&yaml, "\n  : 1\n- <<: [*a");
    for (int i = 0; i < 100; i++)
        buffer_append_string(&yaml, ", *a");
    buffer_append_string(&yaml, "]\n");
    assert_refused(yaml.bytes, yaml.length,
                   "line 2 column 5: aliases unfold to more than 16784048 bytes");
}

static void an_alias_means_the_last_anchor_of_its_name(void **state)
{
    (void)state;
    assert_reads("- &a 1\n- *a\n- &b 2\n- &a 3\n- [*a, *b]\n", "1 [1,1,2,3,[3,2]]");
}

/* Without an index this does not end in the time of a test. */
static void a_text_of_many_anchors_is_read(void **state)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    _cleanup_(buffer) struct buffer all = BUFFER_INIT;

    (void)state;
    for (int i = 0; i < 500000; i++)
        buffer_appendf(&yaml, "- &a%d x\n", i);
    for (int i = 0; i < 500000; i++)
        buffer_append_string(&yaml, "- *a0\n");
    assert_null(yaml_read(yaml.bytes, yaml.length, collect, &all));
}

/* A directive that is written once would be kept with each node. */
static void tags_cannot_unfold_without_end(void **state)
{
    static const char *const nodes[] = {"!a!b c", "!a!b [c]", "!a!b {c: d}"};
    char yaml[400];

    (void)state;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        snprintf(yaml, sizeof yaml, "%%TAG !a! tag:%0260d\n---\n- x\n- %s\n", 0, nodes[i]);
        assert_refused(yaml, strlen(yaml), "line 4 column 3: a tag is longer than 256 bytes");
        snprintf(yaml, sizeof yaml, "%%TAG !a! tag:%0240d\n---\n- x\n- %s\n", 0, nodes[i]);
        _cleanup_(buffer) struct buffer all = BUFFER_INIT;
        assert_null(yaml_read(yaml, strlen(yaml), collect, &all));
    }
}

static void nesting_is_bounded(void **state)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    _cleanup_(buffer) struct buffer json = BUFFER_INIT;

    (void)state;
    for (int i = 0; i < 1000; i++)
        buffer_append_byte(&yaml, '[');
    for (int i = 0; i < 1000; i++)
        buffer_append_byte(&yaml, ']');
    assert_null(yaml_read(yaml.bytes, yaml.length, collect, &json));
    buffer_consume(&yaml, yaml.length);
    for (int i = 0; i < 1001; i++)
        buffer_append_byte(&yaml, '[');
    for (int i = 0; i < 1001; i++)
        buffer_append_byte(&yaml, ']');
    assert_refused(yaml.bytes, yaml.length, "line 1 column 1001: nested deeper than 1000 levels");
}

static struct error *refuse(void *context, const char *json, size_t length, size_t line)
{
    (void)json, (void)length, (void)line;
    ++*(int *)context;
    return error_new(ERROR_UPSTREAM, "Enough", "no more");
}

static void an_error_of_the_receiver_ends_the_reading(void **state)
{
    int calls = 0;
    _cleanup_(error) struct error *error = yaml_read("a\n---\nb\n", 8, refuse, &calls);

    (void)state;
    assert_non_null(error);
    assert_string_equal(error->reason, "Enough");
    assert_int_equal(calls, 1);
}

static void assert_writes(const char *json, const char *expected)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    _cleanup_(error) struct error *error = yaml_from_json(json, strlen(json), &yaml);

    if (error)
        fail_msg("%s: %s", json, error->message);
    assert_string_equal(buffer_string(&yaml), expected);
}

static void collections_are_written_in_block_style(void **state)
{
    (void)state;
    assert_writes("{}", "{}\n");
    assert_writes("[]", "[]\n");
    assert_writes("null", "null\n");
    assert_writes("{\"b\":{\"c\":[1,-2.50,{\"d\":null,\"e\":{}}],\"f\":[]},\"a\":[[true,[]],[{}]]}",
                  "b:\n  c:\n  - 1\n  - -2.50\n  - d: null\n    e: {}\n  f: []\n"
                  "a:\n- - true\n  - []\n- - {}\n");
}

static void strings_are_quoted_where_plain_would_be_something_else(void **state)
{
    static const char *const quoted[] = {
        "",     "no",   "on", "y",    "~",        "null",       "012", "1e3", "0x1F", "1_000",
        ".5",   "=",    "<<", ".inf", "12:30:45", "2020-01-01", "-",   "- x", "---",  "...",
        "a: b", "a #b", "a:", "#a",   "@a",       "%a",         "*a",  "&a",  "!a",   "|",
        " a",   "a ",   "[a", "{a",   "?",        "190:20",     "'a",  "`a",  ",",    "> a"};
    static const char *const plain[] = {
        "a",      "a b",        "http://x:80/y#z", "-a", "1.2.3", "0o", "a:b", "nO",
        "a-b",    "é",          "nginx:1.25",      "v1", "~/x",   "/",  "_",   "--flag=1",
        "0.1.2.", "sha256:00ff"};
    char json[64], yaml[64];

    (void)state;
    for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++) {
        snprintf(json, sizeof json, "\"%s\"", quoted[i]);
        snprintf(yaml, sizeof yaml, "\"%s\"\n", quoted[i]);
        assert_writes(json, yaml);
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(json, sizeof json, "\"%s\"", plain[i]);
        snprintf(yaml, sizeof yaml, "%s\n", plain[i]);
        assert_writes(json, yaml);
    }
}

static void lines_become_block_literals_where_that_is_exact(void **state)
{
    (void)state;
    assert_writes("{\"a\":\"x\\ny\\n\"}", "a: |\n  x\n  y\n");
    assert_writes("{\"a\":\"x\\n\\ny\"}", "a: |-\n  x\n\n  y\n");
    assert_writes("{\"a\":[\"x\\n\\n\"]}", "a:\n- |+\n  x\n\n");
    assert_writes("{\"a\":\"  x\\ny\"}", "a: |2-\n    x\n  y\n");
    assert_writes("{\"a\":\"\\n\"}", "a: \"\\n\"\n");
    assert_writes("{\"a\":\"x\\r\\ny\"}", "a: \"x\\r\\ny\"\n");
    assert_writes("{\"a\":\"\\u0000\\u007f\\u2028\\ufeff\"}", "a: \"\\x00\\x7F\\u2028\\uFEFF\"\n");
}

static void what_yaml_cannot_hold_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"[1e999]", "number 1e999 is beyond what YAML readers hold; pass it as a string"},
        {"[1", "line 1 column 3: expected ',' or ']', found the end of the text"},
        {"1 2", "line 1 column 3: expected the end of the text, found '2'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
        _cleanup_(error) struct error *error =
            yaml_from_json(cases[i][0], strlen(cases[i][0]), &yaml);

        assert_non_null(error);
        assert_string_equal(error->message, cases[i][1]);
    }
}

static void fields_are_found_by_their_path(void **state)
{
    static const char yaml[] = "kind: A\n"                 /* 1 */
                               "---\n"                     /* 2 */
                               "spec:\n"                   /* 3 */
                               "  interval: 1m\n"          /* 4 */
                               "  hooks:\n"                /* 5 */
                               "    postRequest:\n"        /* 6 */
                               "    - name: a\n"           /* 7 */
                               "    - name: b\n"           /* 8 */
                               "      lua: |\n"            /* 9 */
                               "        return 1\n"        /* 10 */
                               "    - lua: \"return 2\"\n" /* 11 */
                               "  data:\n"                 /* 12 */
                               "    a.b: 1\n"              /* 13 */
                               "    a: &a\n"               /* 14 */
                               "      c: 2\n"              /* 15 */
                               "  more: *a\n";             /* 16 */
    static const struct {
        const char *path;
        size_t line;
        int content;
    } cases[] = {
        {"", 3, 0},
        {"spec.interval", 4, 0},
        {"spec.hooks.postRequest[1]", 8, 0},
        {"spec.hooks.postRequest[1].lua", 9, 0},
        {"spec.hooks.postRequest[1].lua", 10, 1},
        {"spec.hooks.postRequest[2].lua", 11, 1},
        {"spec.hooks.postRequest[9].lua", 6, 0},
        {"spec.nothing.here", 3, 0},
        {"spec.data.a.b", 13, 0},
        {"spec.data.a.c", 15, 0},
        {"spec.more.c", 15, 0},
        {"status", 3, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(yaml_locate(yaml, strlen(yaml), 1, cases[i].path, cases[i].content),
                         cases[i].line);
    assert_int_equal(yaml_locate(yaml, strlen(yaml), 2, "spec", 0), 0);
    assert_int_equal(yaml_locate("a: [", 4, 0, "a", 0), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_are_read_as_kubectl_reads_them),
        cmocka_unit_test(keys_become_text_as_in_kubectl),
        cmocka_unit_test(merges_apply_in_the_order_written),
        cmocka_unit_test(documents_come_with_the_line_they_begin_at),
        cmocka_unit_test(faults_name_line_and_column),
        cmocka_unit_test(aliases_cannot_unfold_without_end),
        cmocka_unit_test(merges_cannot_nest_without_end),
        cmocka_unit_test(merged_keys_cannot_unfold_without_end),
        cmocka_unit_test(an_alias_means_the_last_anchor_of_its_name),
        cmocka_unit_test(a_text_of_many_anchors_is_read),
        cmocka_unit_test(tags_cannot_unfold_without_end),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(an_error_of_the_receiver_ends_the_reading),
        cmocka_unit_test(collections_are_written_in_block_style),
        cmocka_unit_test(strings_are_quoted_where_plain_would_be_something_else),
        cmocka_unit_test(lines_become_block_literals_where_that_is_exact),
        cmocka_unit_test(what_yaml_cannot_hold_is_refused),
        cmocka_unit_test(fields_are_found_by_their_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the directory catalog makes of manifests: which are read, how, and what is told about those
 * that cannot be used. */
#include "catalog_world.h"

static void every_document_of_a_stream_is_read(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", "# nothing yet\n---\n---\n" SOURCE("one") "---\n" SOURCE("two") "...\n---\n");
    put("m/b.yml", SOURCE("three"));
    load(world);
    assert_fault_count(world, 0);
    assert_non_null(get(world, "one"));
    assert_non_null(get(world, "two"));
    assert_non_null(get(world, "three"));
    assert_null(get(world, "four"));
    assert_null(get_in(world, "other", "one"));
}

static void items_of_lists_are_read_one_by_one(void **state)
{
    struct world *world = *state;

    put("m/a.yaml",
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: source.flux.oddkin.co/v1alpha1, kind: ExternalSource,\n"
        "   metadata: {name: one, namespace: team-a}, spec: " SPEC "}\n"
        "- apiVersion: v1\n  kind: List\n  items:\n"
        "  - {apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {k: v}}\n"
        "  - {apiVersion: v1, kind: Pod, metadata: {name: p}}\n"
        "- null\n");
    load(world);
    assert_fault(world, "m/a.yaml:1",
                 "found a document without apiVersion and kind; accepted: Kubernetes manifests");
    assert_non_null(get_in(world, "team-a", "one"));
    assert_string_equal(value_of(world, "Secret", "token", "k"), "dg==");
}

static void json_is_read_like_yaml(void **state)
{
    struct world *world = *state;

    put("m/a.json", "{\n\t\"apiVersion\": \"source.flux.oddkin.co\\/v1alpha1\",\n"
                    "\t\"kind\": \"ExternalSource\", \"metadata\": {\"name\": \"one\"},\n"
                    "\t\"spec\": {\"interval\": \"5m\", \"generator\": {\"type\": \"http\"}}\n}\n");
    load(world);
    assert_fault_count(world, 0);
    assert_null(get(world, "one")->fault);
}

/* As Python's json.dumps writes them; libyaml refuses such escapes. */
static void json_may_escape_what_yaml_cannot(void **state)
{
    struct world *world = *state;
    size_t count;

    put("m/a.json",
        "\r\n {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\":"
        " \"c\", \"labels\": {\"source.flux.oddkin.co/lua\": \"library\"}}, \"data\":"
        " {\"x.lua\": \"\\ud83d\\ude00\"}}\n");
    load(world);
    assert_fault_count(world, 0);
    assert_string_equal(catalog_modules(world->catalog, &count)->text, "\xf0\x9f\x98\x80");
}

static void yaml_in_flow_style_is_not_taken_for_json(void **state)
{
    struct world *world = *state;

    put("m/a.yaml",
        "{apiVersion: source.flux.oddkin.co/v1alpha1, kind: ExternalSource, # like JSON\n"
        "metadata: {name: one}, spec: " SPEC "}\n---\n" SOURCE("two"));
    load(world);
    assert_fault_count(world, 0);
    assert_non_null(get(world, "one"));
    assert_non_null(get(world, "two"));
}

static void json_is_bounded_and_checked_like_yaml(void **state)
{
    struct world *world = *state;
    _cleanup_(buffer) struct buffer deep = BUFFER_INIT;

    put("m/a.json", "{\"a\": 1,\n \"a\": 2}");
    load(world);
    assert_fault(world, "m/a.json", "line 2 column 2: key 'a' is given twice");
    put("m/a.json", "{\"a\": 1,\n \"b\": [}");
    load(world);
    assert_fault(world, "m/a.json",
                 "line 2 column 8: while parsing a flow node did not find expected node content");
    buffer_append_string(&deep, "{\"a\":");
    for (int i = 0; i < 1000; i++)
        buffer_append_byte(&deep, '[');
    for (int i = 0; i < 1000; i++)
        buffer_append_byte(&deep, ']');
    buffer_append_byte(&deep, '}');
    put_bytes("m/a.json", deep.bytes, deep.length);
    load(world);
    assert_fault(world, "m/a.json", "line 1 column 1005: nested deeper than 1000 levels");
}

static void only_manifests_are_read_and_no_hidden_or_data_directory(void **state)
{
    struct world *world = *state;

    put("m/deep/er/a.yaml", SOURCE("deep"));
    put("m/.git/a.yaml", "no: [\n");
    put("m/deep/.hidden/a.yaml", "no: [\n");
    put("m/notes.txt", "no: [\n");
    put("m/yaml", "no: [\n");
    put("data/a.yaml", "no: [\n");
    assert_int_equal(symlink("../data", "m/linked"), 0);
    assert_int_equal(symlink("a.yaml", "m/deep/er/loop"), 0);
    assert_int_equal(symlink("..", "m/deep/up"), 0);
    load(world);
    assert_fault_count(world, 0);
    assert_non_null(get(world, "deep"));
}

static void a_file_is_read_whatever_its_name_if_it_is_asked_for(void **state)
{
    struct world *world = *state;

    put("m/.odd/a.txt", SOURCE("one"));
    put("m/b.yaml", SOURCE("two"));
    assert_null(open_paths(world, (const char *const[]){"m/.odd/a.txt", "m/.odd"}, 2));
    assert_fault_count(world, 0);
    assert_non_null(get(world, "one"));
    assert_null(get(world, "two"));
}

/* Such as the pipe of a shell's <(…). */
static void a_path_that_is_neither_file_nor_directory_is_told(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkfifo("m/pipe.yaml", 0600), 0);
    load(world);
    assert_fault_count(world, 0);
    assert_null(open_paths(world, (const char *const[]){"m/pipe.yaml"}, 1));
    assert_fault(world, "m/pipe.yaml", "is neither a file nor a directory");
}

static void a_path_that_is_not_there_is_an_error(void **state)
{
    struct world *world = *state;
    _cleanup_(error) struct error *error =
        open_paths(world, (const char *const[]){"m", "missing"}, 2);

    assert_non_null(error);
    assert_null(world->catalog);
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    assert_string_equal(error->reason, "FileNotFound");
    assert_string_equal(error->message, "missing: No such file or directory");
}

static void other_kinds_are_counted_in_one_line(void **state)
{
    struct world *world = *state;

    put("m/a.yaml",
        OBJECT("Pod", "p", "") "---\n" OBJECT(
            "Service", "s",
            "") "---\n"
                "apiVersion: example.com/v1\nkind: ExternalSource\nmetadata: {name: theirs}\n---\n"
                "apiVersion: v2\nkind: Secret\nmetadata: {name: theirs}\n");
    load(world);
    assert_fault_count(world, 0);
    assert_int_equal(logged("manifests of other kinds are skipped"), 1);
    assert_int_equal(logged("\"count\":\"4\""), 1);
    assert_null(get(world, "theirs"));
    assert_null(value_of(world, "Secret", "theirs", "k"));
}

static void the_first_of_duplicates_is_kept(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one"));
    put("m/b.yaml", "# second\n---\n" SOURCE_OF("one", "{}"));
    load(world);
    assert_fault(world, "m/b.yaml:3", "ExternalSource default/one is there already, at m/a.yaml:1");
    assert_null(get(world, "one")->fault);

    put("m/b.yaml", OBJECT("Secret", "s", "stringData: {k: a}"));
    put("m/c.yaml", OBJECT("Secret", "s", "stringData: {k: b}"));
    load(world);
    assert_fault(world, "m/c.yaml:1", "Secret default/s: is there already, at m/b.yaml:1");
    assert_string_equal(value_of(world, "Secret", "s", "k"), "YQ==");
}

/* Documents that cannot be used; the source after them always can. */
static void what_cannot_be_used_is_told_and_the_rest_goes_on(void **state)
{
    static const struct {
        const char *text;
        const char *place;
        const char *message;
    } cases[] = {
        {"kind: Secret\n", "m/a.yaml:1",
         "found a document without apiVersion and kind; accepted: Kubernetes manifests"},
        {"just text\n", "m/a.yaml:1",
         "found a document without apiVersion and kind; accepted: Kubernetes manifests"},
        {"a: 1\na: 2\n", "m/a.yaml", "line 2 column 1: key 'a' is given twice"},
        {"a: \"\xff\"\n", "m/a.yaml", "line 1 column 5: invalid leading UTF-8 octet (0xff)"},
        {"a:\n\t b: 1\n", "m/a.yaml",
         "line 2 column 1: while scanning for the next token found character that cannot start any "
         "token"},
        {SOURCE("One"), "m/a.yaml:1",
         "metadata.name: found 'One'; accepted: lower-case letters, digits, '-' and '.'"},
        {SOURCE("a..b"), "m/a.yaml:1",
         "metadata.name: found 'a..b'; accepted: lower-case letters, digits, '-' and '.'"},
        {SOURCE("../x"), "m/a.yaml:1",
         "metadata.name: found '../x'; accepted: lower-case letters, digits, '-' and '.'"},
        {SOURCE("x, namespace: a.b"), "m/a.yaml:1",
         "metadata.namespace: found 'a.b'; accepted: lower-case letters, digits and '-'"},
        {SOURCE("\"a\\0b\""), "m/a.yaml:1",
         "metadata.name: found the string \"a\\x00b\"; accepted: lower-case letters, digits, '-' "
         "and '.'"},
        {SOURCE("123"), "m/a.yaml:1",
         "metadata.name: found the number 123; accepted: lower-case letters, digits, '-' and '.'"},
        {"apiVersion: v1\nkind: Secret\nmetadata: [x]\n", "m/a.yaml:1",
         "metadata.name: missing; accepted: lower-case letters, digits, '-' and '.'"},
        {SOURCE("x, namespace: 123"), "m/a.yaml:1",
         "metadata.namespace: found the number 123; accepted: lower-case letters, digits and '-'"},
        {SOURCE("x, namespace: no"), "m/a.yaml:1",
         "metadata.namespace: found false; accepted: lower-case letters, digits and '-'"},
        {"apiVersion: source.flux.oddkin.co/v1beta1\nkind: ExternalSource\nmetadata: {name: x}\n",
         "m/a.yaml:1",
         "apiVersion: found 'source.flux.oddkin.co/v1beta1'; accepted: "
         "source.flux.oddkin.co/v1alpha1"},
        {SOURCE_OF("x", "{maxRetries: 18446744073709551615}"), "m/a.yaml:1",
         "too big integer near '18446744073709551615'"},
        {SOURCE_OF("x", "{\"a\\0b\": 1}"), "m/a.yaml:1",
         "NUL byte in object key not supported near '\"a\\u0000b\"'"},
        {OBJECT("Secret", "s", "data: {k: '%%'}"), "m/a.yaml:1",
         "Secret default/s: data.k: accepted: base64; plain text belongs in stringData"},
        {OBJECT("Secret", "s", "stringData: {k: 12}"), "m/a.yaml:1",
         "Secret default/s: stringData.k: accepted: a string; quote numbers, true and false"},
        {OBJECT("Secret", "s", "data: [k]"), "m/a.yaml:1",
         "Secret default/s: data: found a list; accepted: an object of strings"},
        {OBJECT("Secret", "s", "data:\nstringData: k"), "m/a.yaml:1",
         "Secret default/s: stringData: found a single value; accepted: an object of strings"},
        {OBJECT("ConfigMap", "c", "binaryData: 1"), "m/a.yaml:1",
         "ConfigMap default/c: binaryData: found a single value; accepted: an object of strings"},
        {OBJECT("ConfigMap", "c", "data: {k: yes}"), "m/a.yaml:1",
         "ConfigMap default/c: data.k: accepted: a string; quote numbers, true and false"},
        {OBJECT("ConfigMap", "c, labels: {source.flux.oddkin.co/lua: script}", "data: {}"),
         "m/a.yaml:1",
         "ConfigMap default/c: metadata.labels['source.flux.oddkin.co/lua']: found 'script'; "
         "accepted: generator, policy, transform or library"},
        {OBJECT("ConfigMap", "c, labels: {source.flux.oddkin.co/lua: library}", "data: {x: text}"),
         "m/a.yaml:1", "ConfigMap default/c: data.x: accepted: keys of the form NAME.lua"},
    };
    struct world *world = *state;

    put("m/z.yaml", SOURCE("good"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("m/a.yaml", cases[i].text);
        load(world);
        assert_fault(world, cases[i].place, cases[i].message);
        assert_null(get(world, "good")->fault);
    }
}

static void an_empty_namespace_is_the_default_one(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one, namespace: ''") "---\n" SOURCE("two, namespace: null"));
    load(world);
    assert_fault_count(world, 0);
    assert_non_null(get(world, "one"));
    assert_non_null(get(world, "two"));
}

static void a_link_to_nothing_is_told(void **state)
{
    struct world *world = *state;

    assert_int_equal(symlink("nowhere", "m/a.yaml"), 0);
    assert_int_equal(symlink("nowhere", "m/README"), 0);
    load(world);
    assert_fault(world, "m/a.yaml", "is a link to nothing");
}

static void documents_before_a_broken_one_are_used(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one") "---\na: [\n");
    load(world);
    assert_fault(world, "m/a.yaml",
                 "line 7 column 1: while parsing a flow node did not find expected node content");
    assert_non_null(get(world, "one"));
}

static void line_ends_marks_and_tabs_do_not_matter(void **state)
{
    static const char *const texts[] = {
        "apiVersion: source.flux.oddkin.co/v1alpha1\r\nkind: ExternalSource\r\n"
        "metadata: {name: one}\r\nspec: " SPEC "\r\n",
        "\xEF\xBB\xBF" SOURCE("one"),
        SOURCE_OF("one", SPEC "\t# a tab"),
        "%YAML 1.2\n---\n" SOURCE("one"),
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put("m/a.yaml", texts[i]);
        load(world);
        assert_fault_count(world, 0);
        assert_null(get(world, "one")->fault);
    }
}

static void the_output_of_kubectl_get_is_a_manifest(void **state)
{
    struct world *world = *state;
    const struct source *source;

    put("m/a.yaml",
        "apiVersion: v1\nitems:\n- apiVersion: source.flux.oddkin.co/v1alpha1\n"
        "  kind: ExternalSource\n  metadata:\n"
        "    annotations: {reconcile.fluxcd.io/requestedAt: now}\n"
        "    creationTimestamp: \"2026-01-01T00:00:00Z\"\n"
        "    deletionTimestamp: \"2026-01-01T00:00:00Z\"\n"
        "    finalizers: [source.flux.oddkin.co/externalsource-finalizer]\n"
        "    generation: 12\n    labels: {team: a, number: 1}\n    name: one\n"
        "    namespace: team-a\n    resourceVersion: \"4711\"\n    uid: from-the-cluster\n"
        "  spec: " SPEC "\n"
        "  status: {observedGeneration: 12, lastHandledETag: theirs}\n"
        "kind: List\nmetadata: {resourceVersion: \"\"}\n");
    load(world);
    assert_fault_count(world, 0);
    source = get_in(world, "team-a", "one");
    assert_non_null(source);
    assert_null(source->fault);
    assert_string_equal(json_get_string(source->labels, "team"), "a");
    assert_string_equal(json_get_string(source->annotations, ANNOTATION_REQUESTED_AT), "now");
    assert_int_equal(source->generation, 1);
    assert_string_not_equal(source->uid, "from-the-cluster");
    assert_false(source->deleting);
    assert_false(source->has_finalizer);
    assert_null(source->status->last_handled_etag);
    assert_int_equal(source->status->observed_generation, -1);
}

static void a_fault_of_the_spec_names_its_line(void **state)
{
    struct world *world = *state;
    const struct source *source;

    put("m/a.yaml",
        SOURCE("one") "---\n"
                      "apiVersion: source.flux.oddkin.co/v1alpha1\nkind: ExternalSource\n"
                      "metadata: {name: two}\nspec:\n  interval: 5m\n  hooks:\n    postRequest:\n"
                      "    - lua: |\n        return 1\n      timeout: soon\n  generator: {type: "
                      "http}\n");
    load(world);
    assert_fault_count(world, 0);
    source = get(world, "two");
    assert_null(source->spec);
    assert_string_equal(source->fault->reason, "InvalidSpec");
    assert_string_equal(source->fault->message,
                        "m/a.yaml:15: spec.hooks.postRequest[0].timeout: found the string "
                        "\"soon\"; accepted: a duration of at least 1ms, such as 90s, 5m or 1h30m");
    _cleanup_(free) char *lua =
        catalog_locate(world->catalog, source, "spec.hooks.postRequest[0].lua", true);
    assert_string_equal(lua, "m/a.yaml:14");
    unlink("m/a.yaml");
    assert_null(catalog_locate(world->catalog, source, "spec", false));
}

static void told_source(void *context, const char *namespace_name, const char *name, bool deleting)
{
    buffer_appendf(&((struct world *)context)->told, "%s/%s%s\n", namespace_name, name,
                   deleting ? " is being deleted" : "");
}

static void told_synced(void *context)
{
    buffer_append_string(&((struct world *)context)->told, "synced\n");
}

static void the_listener_hears_of_every_source_and_then_of_the_end(void **state)
{
    struct world *world = *state;
    const struct catalog_listener listener = {
        .source_changed = told_source, .synced = told_synced, .context = world};

    put("m/b.yaml", SOURCE("two"));
    put("m/a.yaml", SOURCE("one, namespace: team-a") "---\n" OBJECT("Secret", "s", ""));
    load(world);
    assert_null(catalog_start(world->catalog, &listener));
    assert_int_equal(world->told.length, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_string_equal(buffer_string(&world->told), "team-a/one\ndefault/two\nsynced\n");

    /* One that is freed before has nothing to tell any more. */
    load(world);
    assert_null(catalog_start(world->catalog, &listener));
    close_catalog(world);
    assert_string_equal(buffer_string(&world->told), "team-a/one\ndefault/two\nsynced\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(every_document_of_a_stream_is_read),
        WORLD_TEST(items_of_lists_are_read_one_by_one),
        WORLD_TEST(json_is_read_like_yaml),
        WORLD_TEST(json_may_escape_what_yaml_cannot),
        WORLD_TEST(yaml_in_flow_style_is_not_taken_for_json),
        WORLD_TEST(json_is_bounded_and_checked_like_yaml),
        WORLD_TEST(only_manifests_are_read_and_no_hidden_or_data_directory),
        WORLD_TEST(a_file_is_read_whatever_its_name_if_it_is_asked_for),
        WORLD_TEST(a_path_that_is_neither_file_nor_directory_is_told),
        WORLD_TEST(a_path_that_is_not_there_is_an_error),
        WORLD_TEST(other_kinds_are_counted_in_one_line),
        WORLD_TEST(the_first_of_duplicates_is_kept),
        WORLD_TEST(what_cannot_be_used_is_told_and_the_rest_goes_on),
        WORLD_TEST(an_empty_namespace_is_the_default_one),
        WORLD_TEST(a_link_to_nothing_is_told),
        WORLD_TEST(documents_before_a_broken_one_are_used),
        WORLD_TEST(line_ends_marks_and_tabs_do_not_matter),
        WORLD_TEST(the_output_of_kubectl_get_is_a_manifest),
        WORLD_TEST(a_fault_of_the_spec_names_its_line),
        WORLD_TEST(the_listener_hears_of_every_source_and_then_of_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

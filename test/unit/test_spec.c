/* The spec of an ExternalSource: every field's default, and for every fault the message that a
 * person reads: the field's path, what was found, what is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/yaml.h"
#include "source/source.h"

#define HTTP "generator: {type: http}"
#define POST(hook) "interval: 5m, " HTTP ", hooks: {postRequest: [" hook "]}"
#define SPEC_FIELDS \
    "interval, suspend, destinationPath, maxRetries, hooks, generator, timeout, allowEmpty"
#define HOOK_FIELDS "name, command, args, timeout, retryPolicy, env, lua, module, luaFrom"
#define ONE_OF                                                                       \
    "exactly one of 'command' (whitelisted), 'lua' (inline transform), 'module' or " \
    "'luaFrom' (a transform in a ConfigMap)"
#define LUA_FROM(from) POST("{luaFrom: " from "}")
#define DURATION(least) "a duration of at least " least ", such as 90s, 5m or 1h30m"

static struct error *take_document(void *context, const char *json, size_t length, size_t line)
{
    (void)line;
    return json_parse(json, length, context);
}

static json_t *from_yaml(const char *text)
{
    json_t *object = NULL;
    struct error *error = yaml_read(text, strlen(text), take_document, &object);

    if (error)
        fail_msg("%s: %s", text, error->message);
    return object;
}

/* The spec with these members, which must be good (free it). */
static struct source_spec *good(const char *members)
{
    char text[1024];
    struct source_spec *spec;
    char *path;

    snprintf(text, sizeof(text), "{%s}", members);
    _cleanup_(json) json_t *object = from_yaml(text);
    struct error *error = source_spec_parse(object, &spec, &path);
    if (error)
        fail_msg("%s: %s", members, error->message);
    assert_null(path);
    return spec;
}

/* The message shows `shown` bytes of the path. */
static void assert_spec_fault(json_t *object, const char *path, const char *message, size_t shown)
{
    struct source_spec *spec;
    _cleanup_(free) char *found = NULL;
    _cleanup_(error) struct error *error = source_spec_parse(object, &spec, &found);
    char expected[1024];

    if (!error)
        fail_msg("no fault, expected %s: %s", path, message);
    assert_null(spec);
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    assert_string_equal(error->reason, "InvalidSpec");
    snprintf(expected, sizeof(expected), "%.*s%s: %s", (int)shown, path,
             shown < strlen(path) ? "…" : "", message);
    assert_string_equal(error->message, expected);
    assert_string_equal(found, path);
}

static void assert_fault(json_t *object, const char *path, const char *message)
{
    assert_spec_fault(object, path, message, strlen(path));
}

static void what_is_left_out_has_its_default(void **state)
{
    static const char *const texts[] = {
        "interval: 1m, " HTTP,
        "interval: 1m, " HTTP ", suspend: null, destinationPath: null, maxRetries: ~, hooks: null, "
        "timeout: null, allowEmpty: null",
        "interval: 1m, generator: {type: http, http: null}, hooks: {preRequest: [], postRequest: "
        "null}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct source_spec *spec = good(texts[i]);

        assert_int_equal(spec->interval_ms, 60000);
        assert_int_equal(spec->timeout_ms, 0);
        assert_false(spec->suspend);
        assert_false(spec->allow_empty);
        assert_string_equal(spec->destination_path, "data");
        assert_int_equal(spec->max_retries, 3);
        assert_int_equal(spec->pre_request.count, 0);
        assert_int_equal(spec->post_request.count, 0);
        assert_string_equal(spec->generator_type, "http");
        assert_int_equal(json_object_size(spec->generator_config), 0);
        source_spec_free(spec);
    }
}

static void what_is_given_counts(void **state)
{
    struct source_spec *spec =
        good("interval: 1h30m, timeout: 1.5s, suspend: true, allowEmpty: true, destinationPath: "
             "charts/x.yaml, maxRetries: 0, generator: {type: my-type-2, my-type-2: {a: [1]}}");

    (void)state;
    assert_int_equal(spec->interval_ms, 5400000);
    assert_int_equal(spec->timeout_ms, 1500);
    assert_true(spec->suspend);
    assert_true(spec->allow_empty);
    assert_string_equal(spec->destination_path, "charts/x.yaml");
    assert_int_equal(spec->max_retries, 0);
    assert_string_equal(spec->generator_type, "my-type-2");
    assert_int_equal(json_array_size(json_object_get(spec->generator_config, "a")), 1);
    source_spec_free(spec);
}

static void a_hook_has_its_defaults(void **state)
{
    struct source_spec *spec = good("interval: 5m, " HTTP ", hooks: {preRequest: [{command: jq}], "
                                    "postRequest: [{module: m}, {lua: 'return 1', name: null}]}");
    const struct hook_spec *hook = spec->pre_request.hooks;

    (void)state;
    assert_int_equal(spec->pre_request.count, 1);
    assert_string_equal(hook->name, "preRequest[0]");
    assert_string_equal(hook->path, "spec.hooks.preRequest[0]");
    assert_int_equal(hook->kind, HOOK_COMMAND);
    assert_string_equal(hook->command, "jq");
    assert_int_equal(hook->argument_count, 0);
    assert_int_equal(hook->timeout_ms, 30000);
    assert_int_equal(hook->retry, HOOK_RETRY_FAIL);
    assert_int_equal(hook->env_count, 0);
    hook = spec->post_request.hooks;
    assert_int_equal(spec->post_request.count, 2);
    assert_int_equal(hook[0].kind, HOOK_MODULE);
    assert_string_equal(hook[0].module, "m");
    assert_string_equal(hook[1].name, "postRequest[1]");
    assert_int_equal(hook[1].kind, HOOK_LUA);
    assert_string_equal(hook[1].lua, "return 1");
    assert_int_equal(hook[1].lua_length, 8);
    source_spec_free(spec);
}

static void what_is_given_of_a_hook_counts(void **state)
{
    struct source_spec *spec = good(
        POST("{name: first, command: jq, args: ['.', '-r', ''], timeout: 1m, retryPolicy: retry, "
             "env: [{name: A_1, value: v}, {name: _b}]}, {lua: x, retryPolicy: ignore}, "
             "{lua: x, retryPolicy: fail}, {luaFrom: {configMapKeyRef: {name: c, key: k.lua}}}"));
    const struct hook_spec *hook = spec->post_request.hooks;

    (void)state;
    assert_string_equal(hook->name, "first");
    assert_int_equal(hook->argument_count, 3);
    assert_string_equal(hook->arguments[1], "-r");
    assert_string_equal(hook->arguments[2], "");
    assert_int_equal(hook->timeout_ms, 60000);
    assert_int_equal(hook->env_count, 2);
    assert_string_equal(hook->env[0].name, "A_1");
    assert_string_equal(hook->env[0].value, "v");
    assert_string_equal(hook->env[1].value, "");
    assert_int_equal(hook[0].retry, HOOK_RETRY_RETRY);
    assert_int_equal(hook[1].retry, HOOK_RETRY_IGNORE);
    assert_int_equal(hook[2].retry, HOOK_RETRY_FAIL);
    assert_int_equal(hook[3].kind, HOOK_LUA_FROM);
    assert_string_equal(hook[3].config_map, "c");
    assert_string_equal(hook[3].config_map_key, "k.lua");
    source_spec_free(spec);
}

static const char *const faults[][3] = {
    /* of the spec, its path, the message */
    {HTTP, "spec.interval", "missing; accepted: " DURATION("1m0s")},
    {"interval: null, " HTTP, "spec.interval", "missing; accepted: " DURATION("1m0s")},
    {"interval: 59.999s", "spec.interval",
     "found the string \"59.999s\"; accepted: " DURATION("1m0s")},
    {"interval: 300", "spec.interval", "found the number 300; accepted: " DURATION("1m0s")},
    {"interval: 5 m", "spec.interval", "found the string \"5 m\"; accepted: " DURATION("1m0s")},
    {"interval: -5m", "spec.interval", "found the string \"-5m\"; accepted: " DURATION("1m0s")},
    {"interval: 5M", "spec.interval", "found the string \"5M\"; accepted: " DURATION("1m0s")},
    {"interval: ''", "spec.interval", "found the string \"\"; accepted: " DURATION("1m0s")},
    {"interval: 9999999999h", "spec.interval",
     "found the string \"9999999999h\"; accepted: " DURATION("1m0s")},
    {"interval: [5m]", "spec.interval", "found a list; accepted: " DURATION("1m0s")},
    {"interval: {}", "spec.interval", "found an object; accepted: " DURATION("1m0s")},
    {"interval: 5m, timeout: 0s", "spec.timeout",
     "found the string \"0s\"; accepted: " DURATION("1ms")},
    {"interval: 5m, timeout: 30", "spec.timeout",
     "found the number 30; accepted: " DURATION("1ms")},
    {"interval: 5m, suspend: 'yes'", "spec.suspend",
     "found the string \"yes\"; accepted: true or false"},
    {"interval: 5m, suspend: 1", "spec.suspend", "found the number 1; accepted: true or false"},
    {"interval: 5m, allowEmpty: 'false'", "spec.allowEmpty",
     "found the string \"false\"; accepted: true or false"},
    {"interval: 5m, maxRetries: -1", "spec.maxRetries",
     "found the number -1; accepted: a whole number from 0 to 100"},
    {"interval: 5m, maxRetries: 101", "spec.maxRetries",
     "found the number 101; accepted: a whole number from 0 to 100"},
    {"interval: 5m, maxRetries: 1.5", "spec.maxRetries",
     "found the number 1.5; accepted: a whole number from 0 to 100"},
    {"interval: 5m, maxRetries: '3'", "spec.maxRetries",
     "found the string \"3\"; accepted: a whole number from 0 to 100"},
    {"interval: 5m, maxRetries: true", "spec.maxRetries",
     "found true; accepted: a whole number from 0 to 100"},
    {"interval: 5m, destinationPath: 7", "spec.destinationPath",
     "found the number 7; accepted: a string"},
    {"interval: 5m, destinationPath: \"a\\0b\"", "spec.destinationPath",
     "found the string \"a\\x00b\"; accepted: a string without NUL bytes"},
    {"interval: 5m, destinationPath: ''", "spec.destinationPath",
     "found \"\", which is empty; accepted: a relative path within the artifact"},
    {"interval: 5m, destinationPath: /etc", "spec.destinationPath",
     "found \"/etc\", which is absolute; accepted: a relative path within the artifact"},
    {"interval: 5m, destinationPath: a/../b", "spec.destinationPath",
     "found \"a/../b\", which contains '..'; accepted: a relative path within the artifact"},
    {"interval: 5m", "spec.generator",
     "missing; accepted: an object with 'type' and a section of the same name"},
    {"interval: 5m, generator: http", "spec.generator",
     "found the string \"http\"; accepted: an object"},
    {"interval: 5m, generator: {}", "spec.generator.type",
     "missing; accepted: a generator's type, such as http"},
    {"interval: 5m, generator: {http: {}}", "spec.generator.type",
     "missing; accepted: a generator's type, such as http"},
    {"interval: 5m, generator: {type: [http]}", "spec.generator.type",
     "found a list; accepted: a string"},
    {"interval: 5m, generator: {type: HTTP}", "spec.generator.type",
     "found the string \"HTTP\"; accepted: a generator's type, such as http"},
    {"interval: 5m, generator: {type: -x}", "spec.generator.type",
     "found the string \"-x\"; accepted: a generator's type, such as http"},
    {"interval: 5m, generator: {type: http, http: url}", "spec.generator.http",
     "found the string \"url\"; accepted: an object"},
    {"interval: 5m, generator: {type: http, htpt: {}}", "spec.generator.htpt",
     "unknown field; did you mean 'http'? accepted: type, http"},
    {"interval: 5m, generator: {type: http, s3: {}}", "spec.generator.s3",
     "unknown field; accepted: type, http"},
    {"intervall: 5m", "spec.intervall",
     "unknown field; did you mean 'interval'? accepted: " SPEC_FIELDS},
    {"maxretries: 5m", "spec.maxretries",
     "unknown field; did you mean 'maxRetries'? accepted: " SPEC_FIELDS},
    {"destinationpath: x", "spec.destinationpath",
     "unknown field; did you mean 'destinationPath'? accepted: " SPEC_FIELDS},
    {"serviceAccountName: x", "spec.serviceAccountName", "unknown field; accepted: " SPEC_FIELDS},
    {"interval: 5m, " HTTP ", hooks: []", "spec.hooks", "found a list; accepted: an object"},
    {"interval: 5m, " HTTP ", hooks: {postRequests: []}", "spec.hooks.postRequests",
     "unknown field; did you mean 'postRequest'? accepted: preRequest, postRequest"},
    {"interval: 5m, " HTTP ", hooks: {preRequest: {}}", "spec.hooks.preRequest",
     "found an object; accepted: a list"},
    {POST("jq"), "spec.hooks.postRequest[0]", "found the string \"jq\"; accepted: an object"},
    {POST("null"), "spec.hooks.postRequest[0]", "found null; accepted: an object"},
    {POST("{}"), "spec.hooks.postRequest[0]", "found none of them; accepted: " ONE_OF},
    {POST("{lua: a}, {lua: a, module: b}"), "spec.hooks.postRequest[1]",
     "found more than one of them; accepted: " ONE_OF},
    {POST("{luaa: x}"), "spec.hooks.postRequest[0].luaa",
     "unknown field; did you mean 'lua'? accepted: " HOOK_FIELDS},
    {POST("{lua: x, name: 1}"), "spec.hooks.postRequest[0].name",
     "found the number 1; accepted: a string"},
    {POST("{lua: 1}"), "spec.hooks.postRequest[0].lua", "found the number 1; accepted: a string"},
    {POST("{command: ''}"), "spec.hooks.postRequest[0].command",
     "found the string \"\"; accepted: a command's name"},
    {POST("{module: ''}"), "spec.hooks.postRequest[0].module",
     "found the string \"\"; accepted: a module's name"},
    {POST("{command: jq, timeout: 0s}"), "spec.hooks.postRequest[0].timeout",
     "found the string \"0s\"; accepted: " DURATION("1ms")},
    {POST("{command: jq, retryPolicy: Ignore}"), "spec.hooks.postRequest[0].retryPolicy",
     "found the string \"Ignore\"; accepted: ignore, retry or fail"},
    {POST("{command: jq, args: -r}"), "spec.hooks.postRequest[0].args",
     "found the string \"-r\"; accepted: a list"},
    {POST("{command: jq, args: [a, 1]}"), "spec.hooks.postRequest[0].args",
     "found the number 1; accepted: a list of strings"},
    {POST("{command: jq, args: [\"a\\0b\"]}"), "spec.hooks.postRequest[0].args",
     "found the string \"a\\x00b\"; accepted: a list of strings"},
    {POST("{lua: x, args: [a]}"), "spec.hooks.postRequest[0].args",
     "found a list; accepted: 'args' with 'command' only; use 'env'"},
    {POST("{lua: x, env: {A: b}}"), "spec.hooks.postRequest[0].env",
     "found an object; accepted: a list"},
    {POST("{lua: x, env: [A]}"), "spec.hooks.postRequest[0].env[0]",
     "found the string \"A\"; accepted: an object with 'name' and 'value'"},
    {POST("{lua: x, env: [{name: A}, {}]}"), "spec.hooks.postRequest[0].env[1].name",
     "missing; accepted: a variable's name: letters, digits and '_', not beginning with a digit"},
    {POST("{lua: x, env: [{name: 1A}]}"), "spec.hooks.postRequest[0].env[0].name",
     "found the string \"1A\"; accepted: a variable's name: letters, digits and '_', not beginning "
     "with a digit"},
    {POST("{lua: x, env: [{name: A, value: 1}]}"), "spec.hooks.postRequest[0].env[0].value",
     "found the number 1; accepted: a string"},
    {POST("{lua: x, env: [{name: A, val: b}]}"), "spec.hooks.postRequest[0].env[0].val",
     "unknown field; did you mean 'value'? accepted: name, value, valueFrom"},
    {POST("{lua: x, env: [{name: A, valueFrom: {secretKeyRef: {}}}]}"),
     "spec.hooks.postRequest[0].env[0].valueFrom",
     "hooks never see secrets; authenticate in the generator instead, and give hooks plain values "
     "with 'value'"},
    {LUA_FROM("{}"), "spec.hooks.postRequest[0].luaFrom.configMapKeyRef",
     "missing; accepted: an object with 'name' and 'key'"},
    {LUA_FROM("x"), "spec.hooks.postRequest[0].luaFrom",
     "found the string \"x\"; accepted: an object"},
    {LUA_FROM("{secretKeyRef: {}}"), "spec.hooks.postRequest[0].luaFrom.secretKeyRef",
     "unknown field; accepted: configMapKeyRef"},
    {LUA_FROM("{configMapKeyRef: {name: a}}"),
     "spec.hooks.postRequest[0].luaFrom.configMapKeyRef.key",
     "missing; accepted: a key of that ConfigMap"},
    {LUA_FROM("{configMapKeyRef: {name: '', key: b}}"),
     "spec.hooks.postRequest[0].luaFrom.configMapKeyRef.name",
     "found the string \"\"; accepted: a ConfigMap's name"},
    {LUA_FROM("{configMapKeyRef: {name: a, keys: b}}"),
     "spec.hooks.postRequest[0].luaFrom.configMapKeyRef.keys",
     "unknown field; did you mean 'key'? accepted: name, key"},
    {POST("{lua: x, luaFrom: {configMapKeyRef: {name: a, key: b}}}"), "spec.hooks.postRequest[0]",
     "found more than one of them; accepted: " ONE_OF},
};

static void a_fault_names_the_field_what_was_found_and_what_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        char text[1024];

        snprintf(text, sizeof(text), "{%s}", faults[i][0]);
        _cleanup_(json) json_t *object = from_yaml(text);
        assert_fault(object, faults[i][1], faults[i][2]);
    }
}

static void a_spec_is_an_object(void **state)
{
    _cleanup_(json) json_t *list = json_array();
    _cleanup_(json) json_t *text = json_string("x");

    (void)state;
    assert_fault(NULL, "spec", "missing; accepted: an object");
    assert_fault(json_null(), "spec", "missing; accepted: an object");
    assert_fault(list, "spec", "found a list; accepted: an object");
    assert_fault(text, "spec", "found the string \"x\"; accepted: an object");
}

static void the_first_of_several_faults_is_told(void **state)
{
    _cleanup_(json) json_t *object =
        from_yaml("{interval: 1s, suspend: maybe, generator: {type: 7}, hooks: 1}");

    (void)state;
    assert_fault(object, "spec.interval", "found the string \"1s\"; accepted: " DURATION("1m0s"));
}

/* A message stays readable whatever it is about; a field's path is told whole beside it. */
static void long_texts_are_shortened_in_messages(void **state)
{
    char key[1001], path[1010], message[1024];

    (void)state;
    for (size_t i = 0; i < 1000; i += 2)
        memcpy(key + i, "é", 3);
    _cleanup_(json) json_t *unknown = json_pack("{s:i}", key, 1);
    snprintf(path, sizeof(path), "spec.%s", key);
    assert_spec_fault(unknown, path, "unknown field; accepted: " SPEC_FIELDS, 199);

    _cleanup_(json) json_t *bad = json_pack("{s:s, s:s}", "interval", "5m", "destinationPath", "");
    memset(key, 'a', 1000);
    key[0] = '/';
    json_object_set_new(bad, "destinationPath", json_string(key));
    snprintf(message, sizeof(message),
             "found \"%.100s…\", which is absolute; accepted: a relative path within the artifact",
             key);
    assert_fault(bad, "spec.destinationPath", message);
}

/* Each unknown field used to be compared with all known ones. */
static void a_million_unknown_fields_are_one_fault(void **state)
{
    _cleanup_(json) json_t *object = json_object();
    char name[32];

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        snprintf(name, sizeof(name), "field%d", i);
        json_object_set_new_nocheck(object, name, json_null());
    }
    assert_fault(object, "spec.field0", "unknown field; accepted: " SPEC_FIELDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(what_is_given_counts),
        cmocka_unit_test(a_hook_has_its_defaults),
        cmocka_unit_test(what_is_given_of_a_hook_counts),
        cmocka_unit_test(a_fault_names_the_field_what_was_found_and_what_is_accepted),
        cmocka_unit_test(a_spec_is_an_object),
        cmocka_unit_test(the_first_of_several_faults_is_told),
        cmocka_unit_test(long_texts_are_shortened_in_messages),
        cmocka_unit_test(a_million_unknown_fields_are_one_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Hosts that break the protocol. The test program is its own host, and where it finds a file that
 * is named after its parent, it is one that somebody has taken over: it serves honestly until a
 * call says `guilty`, and then does what the file says.
 */
#include "lua_world.h"

#include "lua/channel.h"
#include "lua/frame.h"
#include "lua/generator_host.h"
#include "lua/sandbox.h"

enum { JSON, RAW, SILENT_EXIT };

/* What a host sends instead of an answer; %llu is the call's id. */
static const struct forgery {
    const char *frame;
    int form;
} forgeries[] = {
    {"{\"op\": \"return\", \"call\": 999999, \"value\": {\"not_modified\": true}}", JSON},
    {"{\"op\": \"return\", \"call\": -1, \"value\": {\"not_modified\": true}}", JSON},
    {"{\"op\": \"return\", \"call\": \"%llu\", \"value\": {\"not_modified\": true}}", JSON},
    {"{\"op\": \"dance\", \"call\": %llu}", JSON},
    {"{\"call\": %llu}", JSON},
    {"{\"op\": 5, \"call\": %llu}", JSON},
    {"{\"op\": \"verdict\", \"call\": %llu, \"value\": {\"allowed\": true}}", JSON},
    {"{\"op\": \"loaded\", \"types\": [\"g\"]}", JSON},
    {"{\"op\": \"log\", \"call\": %llu}", JSON},
    {"{\"op\": \"return\", \"call\": %llu}", JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": 5}", JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"at\": 0, \"length\": 100}}}",
     JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"at\": 3, \"length\": 2}}}",
     JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"at\": -1, \"length\": 1}}}",
     JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"at\": 9223372036854775807, "
     "\"length\": 9223372036854775807}}}",
     JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"blob\": 1}}}", JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"files\": [{\"at\": 0, "
     "\"length\": 1}]}}}",
     JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"files\": [5]}}}", JSON},
    {"{\"op\": \"return\", \"call\": %llu, \"value\": {\"data\": {\"at\": 0, \"length\": 1}, "
     "\"metadata\": {\"a\": 5}}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu}", JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"file.read\", \"arguments\": {}}", JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"time.now\"}", JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"time.now\", \"arguments\": []}", JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"blob.read\", \"arguments\": {\"blob\": "
     "7, "
     "\"offset\": 0, \"length\": 1}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"secrets.get\", \"arguments\": {}}", JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"secrets.text\", \"arguments\": {}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"secrets.text\", \"arguments\": "
     "{\"secret\": [{\"id\": 7}]}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"http.request\", \"arguments\": {}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"http.request\", \"arguments\": "
     "{\"method\": \"GET\", \"url\": \"http://127.0.0.1:1/\", \"headers\": [[\"a\", {\"secret\": "
     "[{\"id\": 7}]}]]}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"http.request\", \"arguments\": "
     "{\"method\": \"GET\", \"url\": \"http://127.0.0.1:1/\", \"headers\": [5]}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"http.request\", \"arguments\": "
     "{\"method\": \"GET\", \"url\": \"http://127.0.0.1:1/\", \"ca\": 5}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"http.request\", \"arguments\": "
     "{\"method\": \"POST\", \"url\": \"http://127.0.0.1:1/\", \"blob\": 7}}",
     JSON},
    {"{\"op\": \"primitive\", \"call\": %llu, \"name\": \"time.sleep\", \"arguments\": "
     "{\"seconds\": 1}}\n{\"op\": \"primitive\", \"call\": %llu, \"name\": \"time.now\", "
     "\"arguments\": {}}",
     JSON},
    {"{\"op\": \"log\", \"call\": %llu, \"level\": \"info\", \"descriptors\": 1}", JSON},
    {"[]", JSON},
    {"{", JSON},
    {"\xff\xff\xff\x7f\xff\xff\xff\x7f", RAW}, /* far too large */
    {"", SILENT_EXIT},
};

static const size_t forgery_count = sizeof(forgeries) / sizeof(forgeries[0]);

/* The host's side. */

static void forge_path(char path[64], pid_t parent)
{
    snprintf(path, 64, "/tmp/sluice-forged-%d", (int)parent);
}

static void send_frames(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        channel_write(3, text, length, "byt", 3, NULL, 0);
        text += length + (text[length] == '\n');
    }
}

static void forge(const struct forgery *forgery, unsigned long long id)
{
    struct buffer text = BUFFER_INIT;
    const char *rest = forgery->frame;

    if (forgery->form == SILENT_EXIT)
        _exit(9);
    if (forgery->form == RAW) {
        if (write(3, rest, 8) != 8)
            _exit(1);
        return;
    }
    for (const char *at = strstr(rest, "%llu"); at; at = strstr(rest, "%llu")) {
        buffer_append(&text, rest, (size_t)(at - rest));
        buffer_appendf(&text, "%llu", id);
        rest = at + 4;
    }
    buffer_append_string(&text, rest);
    send_frames(buffer_string(&text));
    buffer_free(&text);
}

static void take_message(const struct channel_message *message, struct host_page *page,
                         size_t number, bool marks)
{
    _cleanup_(json) json_t *json = json_loadb(message->json, message->json_length, 0, NULL);
    const char *op = json_get_string(json, "op");
    const json_t *config = json_object_get(json_object_get(json, "request"), "config");
    unsigned long long id = (unsigned long long)json_get_integer(json, "call", 0);

    if (strcmp(op, "start") == 0)
        send_frames("{\"op\":\"loaded\",\"types\":[\"g\"]}");
    if (strcmp(op, "call") != 0)
        return;
    if (json_get_boolean(config, "guilty", false)) {
        page->call = marks ? id : 0;
        forge(&forgeries[number], id);
    } else if (json_get_boolean(config, "waits", false)) {
        return;
    } else {
        _cleanup_(free) char *text = format_string(
            "{\"op\":\"return\",\"call\":%llu,\"value\":{\"data\":{\"at\":0,\"length\":3}}}", id);

        send_frames(text);
    }
}

static int forging_host(void)
{
    char path[64];
    unsigned number = 0, marks = 0;
    struct channel_message message;
    struct channel_input *input = channel_input_new(HOST_CHANNEL_DESCRIPTOR);
    struct host_page *page =
        mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, HOST_SHARED_DESCRIPTOR, 0);

    signal(SIGPIPE, SIG_IGN);
    forge_path(path, getppid());
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%u %u", &number, &marks) != 2)
        _exit(1);
    fclose(file);
    while (channel_input_next(input, true, &message) == 1)
        take_message(&message, page, number, marks != 0);
    _exit(0);
}

static int host_main(int argc, char **argv)
{
    char path[64];

    forge_path(path, getppid());
    if (strcmp(argv[1], "generator") == 0 && access(path, F_OK) == 0)
        return forging_host();
    return lua_host_main(argc, argv);
}

/* The core's side. */

static struct lua_world *forging_world(size_t number, bool marks)
{
    char path[64];

    forge_path(path, getpid());
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%zu %d", number, marks);
    fclose(file);
    return lua_world_new(modules_shipped());
}

static void forging_world_free(struct lua_world *world)
{
    char path[64];

    forge_path(path, getpid());
    unlink(path);
    lua_world_free(world);
}

/* A guilty call fails as crashed, whether or not the host names it; others are served. */
static void assert_forgery_fails(size_t number, bool marks)
{
    struct lua_world *world = forging_world(number, marks);
    struct generated guilty = {0};

    pid_t before = host_pid("generator");
    generate_start(world, "{\"guilty\": true}", &guilty);
    generate_wait(&guilty);
    if (!guilty.error || strcmp(guilty.error->reason, "Crashed") != 0)
        fail_msg("%s: %s", forgeries[number].frame,
                 guilty.error ? guilty.error->message : "no error");
    assert_int_equal(guilty.error->kind, ERROR_TRANSIENT);
    assert_call(world, "{}", "byt");
    assert_int_not_equal(host_pid("generator"), before);
    generated_free(&guilty);
    forging_world_free(world);
}

static void a_host_that_breaks_the_protocol_is_killed_and_its_call_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < forgery_count; i++)
        assert_forgery_fails(i, true);
}

static void a_host_cannot_hide_which_call_it_breaks_the_protocol_with(void **state)
{
    (void)state;
    for (size_t i = 0; i < forgery_count; i++)
        assert_forgery_fails(i, false);
}

static void the_frame_convicts_its_call_and_not_another(void **state)
{
    size_t number = 3; /* an unknown op */
    struct lua_world *world = forging_world(number, false);
    struct generated guilty = {0}, waiting = {0};

    (void)state;
    generate_start(world, "{\"waits\": true}", &waiting);
    generate_start(world, "{\"guilty\": true}", &guilty);
    generate_wait(&guilty);
    assert_string_equal(guilty.error->reason, "Crashed");
    assert_call(world, "{}", "byt");
    assert_int_equal(waiting.done, 0);
    operation_cancel(&waiting.operation);
    generated_free(&guilty);
    forging_world_free(world);
}

static void a_word_about_a_call_that_has_ended_is_let_pass(void **state)
{
    struct lua_world *world = forging_world(0, false);
    struct generated waiting = {0};

    (void)state;
    generate_start(world, "{\"waits\": true}", &waiting);
    pid_t before = host_pid("generator");
    operation_cancel(&waiting.operation);
    for (int i = 0; i < 20; i++)
        assert_call(world, "{}", "byt");
    assert_int_equal(host_pid("generator"), before);
    forging_world_free(world);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "lua-host") == 0)
        return host_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_breaks_the_protocol_is_killed_and_its_call_fails),
        cmocka_unit_test(a_host_cannot_hide_which_call_it_breaks_the_protocol_with),
        cmocka_unit_test(the_frame_convicts_its_call_and_not_another),
        cmocka_unit_test(a_word_about_a_call_that_has_ended_is_let_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Follows a collection of a real Kubernetes API and prints what it is told, a JSON object a line:
 * test/e2e/test_reflector.py.
 *
 *     reflect KUBECONFIG API PLURAL [namespace=NS] [selector=TEXT] [metadata] [silence=MS] [brief]
 *
 * A line on standard input is answered with {"event":"state",…}; its end ends the program. What
 * counts as a change is labels, data and spec.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json.h"
#include "kube/reflector.h"

struct program {
    uv_loop_t loop;
    uv_pipe_t input;
    struct kube_client *client;
    struct reflector *reflector;
    bool brief; /* without the objects */
};

static uint64_t random_bits(void *context)
{
    uint64_t bits = 0;

    (void)context;
    return getrandom(&bits, sizeof(bits), 0) == sizeof(bits) ? bits : 0;
}

static uint64_t fingerprint(void *context, const json_t *object)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    const json_t *parts[] = {json_object_get(json_object_get(object, "metadata"), "labels"),
                             json_object_get(object, "data"), json_object_get(object, "spec")};
    uint64_t value = 0xcbf29ce484222325U;

    (void)context;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        buffer_append_byte(&text, '/');
        if (parts[i])
            json_write(&text, parts[i]);
    }
    for (size_t i = 0; i < text.length; i++)
        value = (value ^ (unsigned char)text.bytes[i]) * 0x100000001b3U;
    return value;
}

static void changed(void *context, const struct reflector_object *before,
                    const struct reflector_object *now)
{
    const struct reflector_object *object = now ? now : before;
    const struct program *program = context;

    printf("{\"event\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\",\"version\":\"%s\",\"object\":%s}\n",
           !before ? "new"
           : now   ? "changed"
                   : "gone",
           object->name, object->uid, object->resource_version,
           program->brief ? "null" : object->text);
}

static void synced(void *context)
{
    const struct program *program = context;

    printf("{\"event\":\"synced\",\"count\":%zu}\n", reflector_count(program->reflector));
}

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *piece)
{
    static char space[256];

    (void)handle;
    (void)size;
    *piece = uv_buf_init(space, sizeof(space));
}

static void input_came(uv_stream_t *stream, ssize_t count, const uv_buf_t *piece)
{
    struct program *program = stream->data;

    (void)piece;
    if (count > 0) {
        printf("{\"event\":\"state\",\"count\":%zu,\"synced\":%s}\n",
               reflector_count(program->reflector),
               reflector_synced(program->reflector) ? "true" : "false");
    } else if (count < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        reflector_free(program->reflector);
        kube_client_free(program->client);
    }
}

static void read_options(struct program *program, int count, char **words,
                         struct reflector_options *options)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], "namespace=", 10) == 0)
            options->namespace_name = words[i] + 10;
        else if (strncmp(words[i], "selector=", 9) == 0)
            options->label_selector = words[i] + 9;
        else if (strncmp(words[i], "silence=", 8) == 0)
            options->silence_ms = strtol(words[i] + 8, NULL, 10);
        else if (strcmp(words[i], "metadata") == 0)
            options->metadata_only = true;
        else if (strcmp(words[i], "brief") == 0)
            program->brief = true;
    }
}

static void check(struct error *error)
{
    if (!error)
        return;
    fprintf(stderr, "reflect: %s\n", error->message);
    exit(1);
}

static void follow(struct program *program, struct reflector_options *options)
{
    const struct reflector_listener listener = {fingerprint, changed, synced, program};

    options->client = program->client;
    program->reflector = reflector_new(options, &listener);
    check(program->reflector ? NULL : error_out_of_memory());
    check(reflector_start(program->reflector));
    uv_pipe_init(&program->loop, &program->input, 0);
    program->input.data = program;
    uv_pipe_open(&program->input, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&program->input, allocate, input_came);
    uv_run(&program->loop, UV_RUN_DEFAULT);
}

int main(int count, char **words)
{
    struct program program = {0};
    _cleanup_(kube_config) struct kube_config *config = NULL;
    _cleanup_(log) struct log *log =
        log_new(STDERR_FILENO, LOG_LEVEL_DEBUG, LOG_JSON, &clock_system);
    struct blob_store *blobs = blob_store_new("/tmp", 64 << 20);

    if (count < 4) {
        fprintf(stderr, "usage: reflect KUBECONFIG API PLURAL [OPTION...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uv_loop_init(&program.loop);
    check(kube_config_load(words[1], &config));
    const struct kube_client_options client = {
        .loop = &program.loop,
        .blobs = blobs,
        .clock = &clock_system,
        .log = log,
        .config = config,
        .random = random_bits,
    };
    check(kube_client_new(&client, &program.client));
    struct reflector_options options = {
        .loop = &program.loop,
        .clock = &clock_system,
        .log = log,
        .resource = {words[2], words[3]},
        .random = random_bits,
    };
    read_options(&program, count - 4, words + 4, &options);
    follow(&program, &options);
    blob_store_free(blobs);
    return uv_loop_close(&program.loop) ? 1 : 0;
}

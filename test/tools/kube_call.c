/*
 * kube_call KUBECONFIG: the Kubernetes client on a loop, for tests. Each line of standard input is
 * a JSON command, each line of standard output an outcome:
 *
 *     {"id", "method", "path", "type", "body", "timeout", "patience", "unfenced"}   a request
 *     {"id", "watch": PATH, "lines": N}        a watch, cancelled after N lines (0: never)
 *     {"cancel": ID}                           a request or watch
 *     {"lead": BOOL}                           what the fence answers from now on
 *     {"id", "code", "reason", "message", "retryAfter", "error", "object"}
 *     {"id", "failed": {"kind", "reason", "message"}}
 *     {"id", "line": TEXT}, {"id", "cancelled": true}
 *
 * It ends when its input does: what is in flight is cancelled. Exit 1 for a bad kubeconfig.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "kube/client.h"

struct job {
    struct program *program;
    struct job *next;
    char *id;
    struct operation *operation;
    json_int_t lines;
};

struct program {
    uv_loop_t loop;
    uv_pipe_t input;
    struct buffer text;
    struct kube_client *client;
    struct job *jobs;
    bool lead;
};

static void print(json_t *outcome)
{
    json_dumpf(outcome, stdout, JSON_COMPACT | JSON_SORT_KEYS);
    putchar('\n');
    fflush(stdout);
    json_decref(outcome);
}

static json_t *error_json(const struct error *error)
{
    return json_pack("{s:s, s:s, s:s, s:I}", "kind", error_kind_name(error->kind), "reason",
                     error->reason, "message", error->message, "retryAfter",
                     (json_int_t)error->retry_after_ms);
}

static const char *reason_name(enum kube_reason reason)
{
    static const char *const names[] = {
        [KUBE_OK] = "OK",
        [KUBE_NOT_FOUND] = "NOT_FOUND",
        [KUBE_CONFLICT] = "CONFLICT",
        [KUBE_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [KUBE_MANAGER_CONFLICT] = "MANAGER_CONFLICT",
        [KUBE_EXPIRED] = "EXPIRED",
        [KUBE_VERSION_TOO_LARGE] = "VERSION_TOO_LARGE",
        [KUBE_INVALID] = "INVALID",
        [KUBE_BAD_REQUEST] = "BAD_REQUEST",
        [KUBE_UNAUTHORIZED] = "UNAUTHORIZED",
        [KUBE_FORBIDDEN] = "FORBIDDEN",
        [KUBE_TERMINATING] = "TERMINATING",
        [KUBE_THROTTLED] = "THROTTLED",
        [KUBE_UNAVAILABLE] = "UNAVAILABLE",
        [KUBE_OTHER] = "OTHER",
    };

    return names[reason];
}

static void on_done(void *context, struct error *error, const struct kube_response *response)
{
    struct job *job = context;

    job->operation = NULL;
    if (error) {
        print(json_pack("{s:s, s:o}", "id", job->id, "failed", error_json(error)));
        error_free(error);
        return;
    }
    _cleanup_(error) struct error *typed =
        response->reason == KUBE_OK ? NULL : kube_response_error(response, job->id);
    print(json_pack("{s:s, s:i, s:s, s:s, s:I, s:O?, s:o?}", "id", job->id, "code",
                    (int)response->code, "reason", reason_name(response->reason), "message",
                    response->message, "retryAfter", (json_int_t)response->retry_after_ms, "object",
                    response->object, "error", typed ? error_json(typed) : NULL));
}

static void on_line(void *context, const char *text, size_t length)
{
    struct job *job = context;

    print(json_pack("{s:s, s:s%}", "id", job->id, "line", text, length));
    if (job->lines > 0 && --job->lines == 0) {
        operation_cancel(&job->operation);
        print(json_pack("{s:s, s:b}", "id", job->id, "cancelled", 1));
    }
}

static void cancel_job(struct program *program, const char *id)
{
    for (struct job *job = program->jobs; job; job = job->next) {
        if (strcmp(job->id, id) != 0 || !job->operation)
            continue;
        operation_cancel(&job->operation);
        print(json_pack("{s:s, s:b}", "id", job->id, "cancelled", 1));
    }
}

static void start_job(struct program *program, const json_t *command, const char *id)
{
    struct job *job = calloc(1, sizeof(*job));
    const char *watch = json_get_string(command, "watch");
    struct error *error;

    job->program = program;
    job->next = program->jobs;
    program->jobs = job;
    job->id = strdup(id);
    job->lines = json_get_integer(command, "lines", 0);
    if (watch) {
        error =
            kube_client_watch(program->client, watch, NULL, on_line, on_done, job, &job->operation);
    } else {
        const struct kube_request request = {
            .method = json_get_string(command, "method"),
            .path = json_get_string(command, "path"),
            .content_type = json_get_string(command, "type"),
            .accept = json_get_string(command, "accept"),
            .body = json_object_get(command, "body"),
            .timeout_ms = json_get_integer(command, "timeout", 0),
            .patience_ms = json_get_integer(command, "patience", 0),
            .unfenced = json_get_boolean(command, "unfenced", false),
        };
        error = kube_client_send(program->client, &request, on_done, job, &job->operation);
    }
    if (error)
        on_done(job, error, NULL);
}

static void obey(struct program *program, const char *text, size_t length)
{
    _cleanup_(json) json_t *command = NULL;
    _cleanup_(error) struct error *error = json_parse(text, length, &command);
    const char *id = json_get_string(command, "id");
    const char *cancelled = json_get_string(command, "cancel");

    if (error)
        print(error_json(error));
    else if (cancelled)
        cancel_job(program, cancelled);
    else if (id)
        start_job(program, command, id);
    else
        program->lead = json_get_boolean(command, "lead", true);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct program *program = handle->data;

    *room = uv_buf_init(buffer_reserve(&program->text, suggested), (unsigned)suggested);
}

static void on_input(uv_stream_t *stream, ssize_t count, const uv_buf_t *room)
{
    struct program *program = stream->data;
    char *newline;

    (void)room;
    if (count < 0) {
        for (struct job *job = program->jobs; job; job = job->next)
            operation_cancel(&job->operation);
        uv_close((uv_handle_t *)stream, NULL);
        kube_client_free(program->client);
        return;
    }
    buffer_commit(&program->text, (size_t)count);
    while (program->text.length > 0 &&
           (newline = memchr(program->text.bytes, '\n', program->text.length))) {
        size_t length = (size_t)(newline - program->text.bytes);

        obey(program, program->text.bytes, length);
        buffer_consume(&program->text, length + 1);
    }
}

static bool may_write(void *context)
{
    return ((struct program *)context)->lead;
}

static uint64_t middle(void *context)
{
    (void)context;
    return 0;
}

static struct error *run(struct program *program, const char *kubeconfig, struct blob_store *blobs,
                         struct log *log)
{
    _cleanup_(kube_config) struct kube_config *config = NULL;
    struct error *error = kube_config_load(kubeconfig, &config);
    const struct kube_client_options options = {
        .loop = &program->loop,
        .blobs = blobs,
        .clock = &clock_system,
        .log = log,
        .config = config,
        .may_write = may_write,
        .fence_context = program,
        .random = middle,
    };

    if (!error)
        error = kube_client_new(&options, &program->client);
    if (error)
        return error;
    uv_pipe_init(&program->loop, &program->input, 0);
    program->input.data = program;
    uv_pipe_open(&program->input, 0);
    uv_read_start((uv_stream_t *)&program->input, give_room, on_input);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    return NULL;
}

int main(int argc, char **argv)
{
    struct program program = {.text = BUFFER_INIT, .lead = true};
    struct blob_store *blobs = blob_store_new("/tmp", 64 << 20);
    struct log *log = log_new(2, LOG_LEVEL_DEBUG, LOG_JSON, &clock_system);
    _cleanup_(error) struct error *error = NULL;

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&program.loop);
    error = run(&program, argc > 1 ? argv[1] : NULL, blobs, log);
    if (error)
        fprintf(stderr, "%s\n", error->message);
    while (program.jobs) {
        struct job *job = program.jobs;

        program.jobs = job->next;
        free(job->id);
        free(job);
    }
    buffer_free(&program.text);
    log_free(log);
    blob_store_free(blobs);
    if (uv_loop_close(&program.loop) != 0)
        return 2;
    return error ? 1 : 0;
}

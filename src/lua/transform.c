/*
 * The core's side of transforms: a queue of runs, each walking the same road.
 *
 *     waiting ─► opening (thread pool) ─► sent (the zygote's child runs) ─► reading (thread pool)
 * ─► done
 *
 * A run holds one of the transformer's places from opening to done. A cancelled one keeps its
 * place, silently, until the pool or the zygote has let go of it; an id that the zygote names and
 * nobody waits for is a broken zygote, which is killed.
 */
#include "lua/transform.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/json.h"
#include "lua/process.h"
#include "lua/run_error.h"
#include "lua/run_output.h"
#include "lua/run_request.h"
#include "lua/sandbox.h"
#include "lua/transform_modules.h"

enum run_state { RUN_WAITING, RUN_OPENING, RUN_SENT, RUN_READING, RUN_DONE };

struct run {
    struct operation operation;
    struct run *next;
    struct transformer *transformer;
    enum run_state state;
    bool cancelled;
    uint64_t id;
    char *label, *chunk_name, *module, *place;
    struct transform_limits limits;
    bool allow_empty;
    struct run_request request;
    int output_descriptor;
    struct run_output output;
    struct error *error;
    uv_work_t work;
    transform_done done;
    void *context;
};

struct transformer {
    struct transformer_options options;
    struct lua_module_set *modules;
    struct host_process *zygote; /* NULL from its end to the next run */
    struct run *waiting;
    struct run *active;
    unsigned active_count;
    uint64_t next_id;
    unsigned holds; /* functions on the stack that still need the struct */
    bool freed;
};

static struct run_subject subject_of(const struct run *run)
{
    return (struct run_subject){run->label, run->chunk_name, run->module, run->place};
}

static void run_free(struct run *run)
{
    run_request_release(&run->request);
    run_output_release(&run->output);
    error_free(run->error);
    cleanup_fd_(&run->output_descriptor);
    free(run->label);
    free(run->chunk_name);
    free(run->module);
    free(run->place);
    free(run);
}

static void list_append(struct run **list, struct run *run)
{
    while (*list)
        list = &(*list)->next;
    run->next = NULL;
    *list = run;
}

static void list_remove(struct run **list, const struct run *run)
{
    while (*list != run)
        list = &(*list)->next;
    *list = run->next;
}

static void release(struct transformer *transformer)
{
    if (!transformer->freed || transformer->active || transformer->holds > 0)
        return;
    lua_modules_free(transformer->modules);
    free(transformer);
}

static void start_waiting(struct transformer *transformer);

/* Tells the owner, gives the place to the next run. The run is gone afterwards. */
static void finish(struct run *run)
{
    struct transformer *transformer = run->transformer;
    struct transform_result result = {run->output.payload, run->output.metadata};

    run->state = RUN_DONE;
    if (!run->cancelled) {
        struct error *error = TAKE(run->error);

        run->done(run->context, error, run->output.explicit_error, error ? NULL : &result,
                  (const char *const *)run->output.logs, run->output.log_count);
        run->output.payload = result.output; /* NULL where the owner took it */
    }
    list_remove(&transformer->active, run);
    transformer->active_count--;
    run_free(run);
    if (transformer->freed)
        release(transformer);
    else
        start_waiting(transformer);
}

static void fail(struct run *run, struct error *error)
{
    run->error = error;
    finish(run);
}

static void read_output(uv_work_t *work)
{
    struct run *run = work->data;
    struct run_subject subject = subject_of(run);

    run->error =
        run_output_read(run->output_descriptor, TAKE(run->error), run->limits.output_bytes,
                        run->allow_empty, run->transformer->options.blobs, &subject, &run->output);
}

static void after_read(uv_work_t *work, int status)
{
    (void)status;
    finish(work->data);
}

static struct error *timeout_error(const struct run *run, const struct run_subject *subject)
{
    char limit[TIME_TEXT_SIZE];

    duration_format(run->limits.wall_ms, limit);
    return run_errorf(subject, "Timeout", "ran longer than its limit of %s", limit);
}

static struct error *memory_error(const struct run *run, const struct run_subject *subject)
{
    char limit[SIZE_TEXT_SIZE];

    size_format(run->limits.heap_bytes, limit);
    return run_errorf(subject, "MemoryLimit", "used more memory than its limit of %s", limit);
}

static struct error *signal_error(const struct run *run, const struct run_subject *subject,
                                  int signal)
{
    const char *name = sigabbrev_np(signal);

    if (signal == SIGXCPU)
        return timeout_error(run, subject);
    if (signal == SIGXFSZ)
        return run_error_output_limit(subject, run->limits.output_bytes);
    return run_errorf(subject, "Crashed", "its process was killed by SIG%s", name ? name : "?");
}

/* How the child ended, as an error; NULL if it left a result. */
static struct error *judge(const struct run *run, const char *how, int status)
{
    struct run_subject subject = subject_of(run);

    if (strcmp(how, "timeout") == 0)
        return timeout_error(run, &subject);
    if (strcmp(how, "signal") == 0)
        return signal_error(run, &subject, status);
    if (strcmp(how, "failed") == 0)
        return run_errorf(&subject, "Crashed", "its process could not be started: %s",
                          strerrordesc_np(status) ? strerrordesc_np(status) : "unknown error");
    if (strcmp(how, "exited") == 0 && status == 0)
        return NULL;
    if (strcmp(how, "exited") == 0 && status == RUN_OUT_OF_MEMORY)
        return memory_error(run, &subject);
    if (sandbox_step_name(status))
        return run_errorf(&subject, "Crashed", "its process could not enter its sandbox (%s)",
                          sandbox_step_name(status));
    return run_errorf(&subject, "Crashed", "its process exited with status %d", status);
}

static struct run *find_sent(struct transformer *transformer, int64_t id)
{
    for (struct run *run = transformer->active; run; run = run->next) {
        if (run->state == RUN_SENT && run->id == (uint64_t)id)
            return run;
    }
    return NULL;
}

static void on_received(void *context, struct channel_frame *frame)
{
    struct transformer *transformer = context;
    struct run *run = find_sent(transformer, json_get_integer(frame->json, "id", 0));
    const char *how = json_get_string(frame->json, "how");

    if (!run || !how) {
        host_process_kill(transformer->zygote);
        return;
    }
    if (!run->cancelled)
        run->error = judge(run, how, (int)json_get_integer(frame->json, "status", -1));
    if (run->cancelled || frame->descriptor_count != 1) {
        if (!run->error && !run->cancelled)
            host_process_kill(transformer->zygote); /* a result without an output: it forgets */
        else
            finish(run);
        return;
    }
    run->output_descriptor = frame->descriptors[0];
    frame->descriptors[0] = -1;
    run->state = RUN_READING;
    if (uv_queue_work(transformer->options.loop, &run->work, read_output, after_read) != 0)
        finish(run);
}

/* The zygote is gone, and with it every child. */
static void on_ended(void *context, struct error *error)
{
    struct transformer *transformer = context;
    _cleanup_(error) struct error *why = error;

    log_error(transformer->options.log, NULL, why, "the process that runs transforms ended", NULL);
    host_process_free(TAKE(transformer->zygote));
    transformer->holds++;
    for (struct run *run = transformer->active; run;) {
        struct run_subject subject = subject_of(run);

        if (run->state != RUN_SENT) {
            run = run->next;
            continue;
        }
        fail(run, run_errorf(&subject, "Crashed", "the process that runs transforms ended: %s",
                             why->message));
        run = transformer->active; /* the owner may have changed the list */
    }
    transformer->holds--;
    release(transformer);
}

static struct error *start_zygote(struct transformer *transformer)
{
    struct host_process_options options = {
        .loop = transformer->options.loop,
        .kind = "zygote",
        .shared_descriptor = -1,
        .accepts_descriptors = true,
        .received = on_received,
        .ended = on_ended,
        .context = transformer,
    };
    struct error *error = host_process_start(&options, &transformer->zygote);

    if (!error)
        error =
            transform_modules_send(transformer->modules, host_process_channel(transformer->zygote));
    if (error)
        host_process_free(TAKE(transformer->zygote));
    return error;
}

static struct error *send_run(struct run *run)
{
    struct transformer *transformer = run->transformer;
    struct error *error = transformer->zygote ? NULL : start_zygote(transformer);
    int descriptors[2];

    if (error)
        return error;
    _cleanup_(json) json_t *json = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:i}", "type", "run", "id", (json_int_t)run->id, "wall_ms",
        (json_int_t)run->limits.wall_ms, "heap_bytes", (json_int_t)run->limits.heap_bytes,
        "output_bytes", (json_int_t)run->limits.output_bytes, "descriptors", 2);
    if (!json)
        return error_out_of_memory();
    descriptors[0] = run->request.request;
    descriptors[1] = run->request.input;
    run->request.request = run->request.input = -1;
    return channel_send(host_process_channel(transformer->zygote), json, NULL, 0, descriptors, 2);
}

static void open_request(uv_work_t *work)
{
    struct run *run = work->data;

    run->error = run_request_open(&run->request);
}

static void after_open(uv_work_t *work, int status)
{
    struct run *run = work->data;

    (void)status;
    if (run->cancelled || run->error) {
        finish(run);
        return;
    }
    run->error = send_run(run);
    run_request_release(&run->request);
    if (run->error)
        finish(run);
    else
        run->state = RUN_SENT;
}

/* Gives free places to waiting runs. A loop that cannot queue work is about to close: they wait on.
 */
static void start_waiting(struct transformer *transformer)
{
    while (transformer->waiting && transformer->active_count < transformer->options.concurrency) {
        struct run *run = transformer->waiting;

        if (uv_queue_work(transformer->options.loop, &run->work, open_request, after_open) != 0)
            return;
        transformer->waiting = run->next;
        run->state = RUN_OPENING;
        list_append(&transformer->active, run);
        transformer->active_count++;
    }
}

static void cancel(struct operation *operation)
{
    struct run *run = (struct run *)operation;
    struct transformer *transformer = run->transformer;

    if (run->state == RUN_WAITING) {
        list_remove(&transformer->waiting, run);
        run_free(run);
        return;
    }
    run->cancelled = true;
    if (run->state != RUN_SENT || !transformer->zygote)
        return;
    _cleanup_(json) json_t *json =
        json_pack("{s:s, s:I}", "type", "cancel", "id", (json_int_t)run->id);
    /* What cannot be told is ended by the run's own deadline. */
    if (json)
        error_free(channel_send(host_process_channel(transformer->zygote), json, NULL, 0, NULL, 0));
}

static struct error *copy_text(const char *text, char **copy)
{
    *copy = text ? strdup(text) : NULL;
    return text && !*copy ? error_out_of_memory() : NULL;
}

static struct error *copy_call(struct run *run, const struct transform_call *call)
{
    struct error *error = copy_text(call->label, &run->label);

    if (!error)
        error = copy_text(call->chunk_name, &run->chunk_name);
    if (!error)
        error = copy_text(call->text ? NULL : call->module, &run->module);
    if (!error)
        error = copy_text(call->place, &run->place);
    if (!error)
        error = run_request_init(&run->request, call);
    run->limits = call->limits;
    run->allow_empty = call->allow_empty;
    return error;
}

struct error *transform_run(struct transformer *transformer, const struct transform_call *call,
                            transform_done done, void *context, struct operation **operation)
{
    struct run *run = calloc(1, sizeof(*run));
    struct error *error;

    *operation = NULL;
    if (!run)
        return error_out_of_memory();
    run->operation.cancel = cancel;
    run->transformer = transformer;
    run->id = ++transformer->next_id;
    run->output_descriptor = -1;
    run->request.request = run->request.input = -1;
    run->work.data = run;
    run->done = done;
    run->context = context;
    error = copy_call(run, call);
    if (!error && run->module &&
        !lua_modules_find(transformer->modules, LUA_TRANSFORM, run->module))
        error = transform_modules_missing(transformer->modules, run->label, run->module);
    if (error) {
        run_free(run);
        return error;
    }
    list_append(&transformer->waiting, run);
    start_waiting(transformer);
    *operation = &run->operation;
    return NULL;
}

struct error *transformer_new(const struct transformer_options *options,
                              const struct lua_module_set *modules,
                              struct transformer **transformer)
{
    struct transformer *made = calloc(1, sizeof(*made));
    struct error *error;

    *transformer = NULL;
    if (!made)
        return error_out_of_memory();
    made->options = *options;
    if (made->options.concurrency == 0)
        made->options.concurrency = 1;
    error = transform_modules_copy(modules, &made->modules);
    if (!error)
        error = start_zygote(made);
    if (error) {
        transformer_free(made);
        return error;
    }
    *transformer = made;
    return NULL;
}

void transformer_free(struct transformer *transformer)
{
    if (!transformer)
        return;
    transformer->freed = true;
    host_process_free(TAKE(transformer->zygote));
    /* Cancelled runs that the zygote had end with it; those on the thread pool hold the struct. */
    transformer->holds++;
    for (struct run *run = transformer->active; run;) {
        struct run *next = run->next;

        if (run->state == RUN_SENT)
            finish(run);
        run = next;
    }
    transformer->holds--;
    release(transformer);
}

bool transformer_busy(const struct transformer *transformer)
{
    return transformer->waiting || transformer->active;
}

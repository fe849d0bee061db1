/*
 * The core's side of a generator or policy host: its process, the requests that it has, and the
 * watchdog. Whatever comes from the process is hostile: an unknown id, type or op kills it. See
 * generation.h.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "lua/generation.h"
#include "lua/text.h"

#define FAILED_STARTS_MAX 3
#define SUSPICIONS_MAX 3

static const struct lua_runtime_options *options_of(const struct lua_host *host)
{
    return &host->generation->runtime->options;
}

struct error *lua_host_init(struct lua_host *host, struct generation *generation, const char *kind)
{
    host->generation = generation;
    host->kind = kind;
    host->page_descriptor = memfd_create("sluice-page", MFD_CLOEXEC);
    if (host->page_descriptor < 0 ||
        ftruncate(host->page_descriptor, sizeof(struct host_page)) != 0)
        return error_from_errno(ERROR_INTERNAL, "ProcessFailed", errno, "cannot make a page");
    void *page = mmap(NULL, sizeof(struct host_page), PROT_READ | PROT_WRITE, MAP_SHARED,
                      host->page_descriptor, 0);
    if (page == MAP_FAILED)
        return error_from_errno(ERROR_INTERNAL, "ProcessFailed", errno, "cannot map a page");
    host->page = page;
    return NULL;
}

void lua_host_clear(struct lua_host *host)
{
    host_process_free(TAKE(host->process));
    if (host->page)
        munmap(host->page, sizeof(struct host_page));
    if (host->generation && host->page_descriptor >= 0)
        close(host->page_descriptor);
    error_free(host->verdict);
    json_decref(host->types);
    free(host->loading_origin);
}

struct error *lua_host_send(struct lua_host *host, const json_t *json, const void *bytes,
                            size_t length)
{
    if (!host->process)
        return error_new(ERROR_TRANSIENT, "Crashed", "the Lua host is being started again");
    return channel_send(host_process_channel(host->process), json, bytes, length, NULL, 0);
}

void lua_host_end(struct host_request *request)
{
    struct lua_host *host = request->host;

    if (!host)
        return;
    if (request->previous)
        request->previous->next = request->next;
    else
        host->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    request->host = NULL;
    request->next = NULL;
    request->previous = NULL;
}

void lua_host_cancel(struct host_request *request)
{
    if (!request->host || !request->sent)
        return;
    _cleanup_(json) json_t *json =
        json_pack("{s:s, s:I}", "op", "cancel", "call", (json_int_t)request->id);

    /* A host that cannot be told is at its end anyway. */
    if (json)
        error_free(lua_host_send(request->host, json, NULL, 0));
}

static void fail_request(struct host_request *request, struct error *error)
{
    lua_host_end(request);
    request->failed(request, error);
}

static void fail_all(struct lua_host *host, const struct error *error)
{
    while (host->requests)
        fail_request(host->requests, error_copy(error));
}

static struct host_request *find_request(const struct lua_host *host, uint64_t id)
{
    struct host_request *request = host->requests;

    while (request && request->id != id)
        request = request->next;
    return request;
}

/* Sends what waits; a request that cannot be sent fails alone. Whoever is told so may begin and
 * cancel others, so the walk begins anew. */
static void send_waiting(struct lua_host *host)
{
    struct host_request *request = host->requests;

    while (request) {
        struct error *error = request->sent ? NULL : request->send(request);

        request->sent = true;
        if (error)
            fail_request(request, error);
        request = error ? host->requests : request->next;
    }
}

/* A module that does not load, in the words of whoever must mend it. */
static struct error *load_error(const json_t *error)
{
    const char *origin = json_get_string(error, "origin");
    const char *message = json_get_string(error, "message");
    struct buffer clean = BUFFER_INIT;

    if (!origin || !message)
        return error_new(ERROR_CONFIGURATION, "InvalidModule", "a module does not load");
    text_clean(&clean, message, strlen(message), TEXT_MESSAGE_MAX);
    /* Most messages of Lua begin with the origin already. */
    bool named = strncmp(buffer_string(&clean), origin, strlen(origin)) == 0;
    struct error *result = error_new(ERROR_CONFIGURATION, "InvalidModule", "%s%s%s",
                                     named ? "" : origin, named ? "" : ": ", buffer_string(&clean));
    buffer_free(&clean);
    return result;
}

static struct error *take_loaded(struct lua_host *host, const json_t *json)
{
    const json_t *types = json_object_get(json, "types");

    if (host->state != HOST_LOADING || !json_is_array(types))
        return error_new(ERROR_INTERNAL, "Protocol", "loaded at a wrong time");
    host->state = HOST_READY;
    host->failed_starts = 0;
    json_decref(host->types);
    host->types = json_deep_copy(types);
    send_waiting(host);
    runtime_generation_loaded(host->generation, NULL, NULL);
    return NULL;
}

static struct error *take_loading(struct lua_host *host, const json_t *json)
{
    const char *origin = json_get_string(json, "origin");

    if (host->state != HOST_LOADING || !origin)
        return error_new(ERROR_INTERNAL, "Protocol", "loading at a wrong time");
    free(host->loading_origin);
    host->loading_origin = strdup(origin);
    return NULL;
}

static struct error *take_frame(struct lua_host *host, struct channel_frame *frame)
{
    const char *op = json_get_string(frame->json, "op");
    const char *key = strcmp(host->kind, "policy") == 0 ? "ask" : "call";

    if (!op)
        return error_new(ERROR_INTERNAL, "Protocol", "a frame without an op");
    if (strcmp(op, "loaded") == 0)
        return take_loaded(host, frame->json);
    if (strcmp(op, "load_failed") == 0) {
        const json_t *fault = json_object_get(frame->json, "error");

        runtime_generation_loaded(host->generation, load_error(fault),
                                  json_get_string(fault, "origin"));
        return NULL;
    }
    if (strcmp(op, "loading") == 0)
        return take_loading(host, frame->json);
    int64_t id = json_get_integer(frame->json, key, 0);
    if (strcmp(op, "log") == 0 && id == 0)
        return NULL; /* said while loading, of no source */
    struct host_request *request = find_request(host, (uint64_t)id);
    if (request && request->sent) {
        struct error *error = request->received(request, op, frame);

        if (error && !host->guilty)
            host->guilty = (uint64_t)id;
        return error;
    }
    /* The end of a request and the host's next words about it may have crossed. */
    return id > 0 && (uint64_t)id <= host->generation->runtime->last_id
               ? NULL
               : error_new(ERROR_INTERNAL, "Protocol", "an unknown id");
}

static void received(void *context, struct channel_frame *frame)
{
    struct lua_host *host = context;
    struct host_process *process = host->process;
    struct error *error = take_frame(host, frame);

    if (!error)
        return;
    log_error(options_of(host)->log, NULL, error, "a Lua host broke the protocol and is killed",
              "host", host->kind, NULL);
    error_free(error);
    host_process_kill(process);
}

/* What the request that had control of the process when it died is told. */
static struct error *blame(struct lua_host *host, struct error *ended)
{
    struct error *error =
        host->verdict ? TAKE(host->verdict)
                      : error_new(ERROR_TRANSIENT, "Crashed",
                                  "the Lua host was %s while it ran this call", ended->message);

    if (strstr(ended->message, "status 71")) {
        error_free(error);
        error = error_new(ERROR_TRANSIENT, "MemoryLimit", "it used more memory than a host may");
    }
    return error;
}

static void fail_suspects(struct lua_host *host, struct error *ended)
{
    struct host_request *request = host->requests;

    while (request) {
        bool suspect = request->suspicions >= SUSPICIONS_MAX;

        if (suspect)
            fail_request(request, blame(host, ended));
        request = suspect ? host->requests : request->next;
    }
}

/* The module that was being loaded never came back: starting again would end alike. */
static void give_up_loading(struct lua_host *host, struct error *verdict)
{
    host->failed_starts = 0;
    fail_all(host, verdict);
    runtime_generation_loaded(host->generation, verdict, host->loading_origin);
}

/* Start after start died: with the module that it was loading, if it came that far. */
static struct error *crashed_loading(const struct lua_host *host, struct error *ended)
{
    struct error *error;

    if (!host->loading_origin)
        return ended;
    error = error_new(ERROR_CONFIGURATION, "InvalidModule",
                      "%s: the Lua host was %s while it was loaded", host->loading_origin,
                      ended->message);
    error_free(ended);
    return error;
}

static void ended(void *context, struct error *error)
{
    struct lua_host *host = context;
    uint64_t culprit = host->guilty ? host->guilty : atomic_load(&host->page->call);
    struct host_request *request = find_request(host, culprit);
    bool was_loading = host->state == HOST_LOADING;

    log_error(options_of(host)->log, NULL, error, "a Lua host ended; it is started again", "host",
              host->kind, NULL);
    host_process_free(TAKE(host->process));
    host->state = HOST_DOWN;
    host->failed_starts += was_loading;
    for (struct host_request *other = host->requests; other; other = other->next) {
        other->suspicions += other->sent && !request;
        other->sent = false;
    }
    if (request)
        fail_request(request, blame(host, error));
    fail_suspects(host, error);
    host->guilty = 0;
    atomic_store(&host->page->call, 0);
    if (was_loading && host->verdict) {
        error_free(error);
        give_up_loading(host, TAKE(host->verdict));
        return;
    }
    error_free(TAKE(host->verdict));
    if (host->failed_starts >= FAILED_STARTS_MAX) {
        host->failed_starts = 0;
        fail_all(host, error);
        runtime_generation_loaded(host->generation, crashed_loading(host, error),
                                  host->loading_origin);
        return;
    }
    error_free(error);
    /* Whoever was told of a failure may have begun a call, which has started it. */
    error =
        host->state == HOST_DOWN && (host->requests || was_loading) ? lua_host_start(host) : NULL;
    if (error) {
        fail_all(host, error);
        runtime_generation_loaded(host->generation, error, NULL);
    }
}

static struct error *send_module(struct lua_host *host, const struct lua_module *module)
{
    _cleanup_(json) json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "op", "module", "kind",
                                             lua_module_kind_name(module->kind), "name",
                                             module->name, "origin", module->origin);

    return json ? lua_host_send(host, json, module->text, module->length) : error_out_of_memory();
}

/* A policy host gets policies, a generator host generators and, to check them, transforms; both get
 * libraries. */
static bool wants(const struct lua_host *host, const struct lua_module *module)
{
    bool policy = strcmp(host->kind, "policy") == 0;

    if (policy)
        return module->kind == LUA_LIBRARY || module->kind == LUA_POLICY;
    return module->kind == LUA_LIBRARY || module->kind == LUA_GENERATOR ||
           module->kind == LUA_TRANSFORM;
}

static struct error *send_modules(struct lua_host *host)
{
    const struct lua_module_set *modules = host->generation->modules;
    _cleanup_(json) json_t *start = json_pack("{s:s}", "op", "start");
    struct error *error = start ? NULL : error_out_of_memory();

    for (size_t i = 0; !error && i < modules->count; i++) {
        if (wants(host, &modules->modules[i]))
            error = send_module(host, &modules->modules[i]);
    }
    return error ? error : lua_host_send(host, start, NULL, 0);
}

struct error *lua_host_start(struct lua_host *host)
{
    struct host_process_options options = {
        .loop = options_of(host)->loop,
        .kind = host->kind,
        .shared_descriptor = host->page_descriptor,
        .received = received,
        .ended = ended,
        .context = host,
    };
    struct error *error = host_process_start(&options, &host->process);

    if (error)
        return error;
    host->state = HOST_LOADING;
    free(TAKE(host->loading_origin));
    host->seen_resumes = atomic_load(&host->page->resumes);
    host->seen_since_ms = clock_monotonic_ms(options_of(host)->clock);
    host->seen_cpu_ms = 0;
    return send_modules(host);
}

struct error *lua_host_begin(struct lua_host *host, struct host_request *request)
{
    struct error *error = NULL;

    request->id = ++host->generation->runtime->last_id;
    request->host = host;
    request->next = host->requests;
    request->previous = NULL;
    if (request->next)
        request->next->previous = request;
    host->requests = request;
    if (host->state == HOST_DOWN)
        error = lua_host_start(host);
    if (!error && host->state == HOST_READY) {
        error = request->send(request);
        request->sent = true;
    }
    if (error)
        lua_host_end(request);
    else
        runtime_watch(host->generation->runtime);
    return error;
}

static void fail_overdue(struct lua_host *host, int64_t now_ms)
{
    struct host_request *request = host->requests;

    while (request) {
        bool overdue = now_ms >= request->deadline_ms;

        if (overdue) {
            lua_host_cancel(request);
            fail_request(request, error_new(ERROR_TRANSIENT, "Timeout",
                                            "no answer within the time for this call"));
        }
        /* Whoever is told may begin and cancel others, so the walk begins anew. */
        request = overdue ? host->requests : request->next;
    }
}

/* A process that runs one call for too long without coming back is killed; its end is told as
 * Timeout. */
static void check_control(struct lua_host *host, int64_t now_ms)
{
    const struct lua_runtime_options *options = options_of(host);
    uint64_t call = atomic_load(&host->page->call);
    uint64_t resumes = atomic_load(&host->page->resumes);
    int64_t cpu_ms = host_process_cpu_ms(host->process);

    if (call == 0 || resumes != host->seen_resumes) {
        host->seen_resumes = resumes;
        host->seen_since_ms = now_ms;
        host->seen_cpu_ms = cpu_ms;
        return;
    }
    if (cpu_ms - host->seen_cpu_ms < options->call_cpu_ms &&
        now_ms - host->seen_since_ms < options->call_wall_ms)
        return;
    if (!host->verdict)
        host->verdict = error_new(ERROR_TRANSIENT, "Timeout",
                                  "it ran for too long without coming back and was stopped");
    host_process_kill(host->process);
}

static void check_loading(struct lua_host *host, int64_t now_ms)
{
    const struct lua_runtime_options *options = options_of(host);

    if (host_process_cpu_ms(host->process) < options->call_cpu_ms &&
        now_ms - host->seen_since_ms < options->call_wall_ms)
        return;
    if (!host->verdict)
        host->verdict = error_new(ERROR_CONFIGURATION, "InvalidModule",
                                  "%s: it ran for too long while it was loaded",
                                  host->loading_origin ? host->loading_origin : "a module");
    host_process_kill(host->process);
}

bool lua_host_running(const struct lua_host *host)
{
    return host->process && atomic_load(&host->page->call) != 0;
}

void lua_host_watch(struct lua_host *host, int64_t now_ms)
{
    fail_overdue(host, now_ms);
    if (host->process && host->state == HOST_LOADING)
        check_loading(host, now_ms);
    if (host->process && host->state == HOST_READY)
        check_control(host, now_ms);
}

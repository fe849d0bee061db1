/*
 * The zygote's loop: frames from the core, children that end, and deadlines.
 *
 * Only this process signals children, and only between fork and reaping, while nobody else can have
 * their pid. A child's end is known by its pidfd; the output leaves for the core after the child is
 * reaped, so that nobody can write to it any more.
 */
#include "lua/zygote.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "lua/channel.h"
#include "lua/child.h"
#include "lua/frame.h"
#include "lua/modules.h"
#include "lua/run.h"
#include "lua/sandbox.h"

#define EXIT_PROTOCOL 64

struct running {
    uint64_t id;
    pid_t pid;
    int pidfd;
    int output;
    int64_t deadline_ms;
    const char *killed; /* "timeout" or "cancelled", once this process has killed it */
};

struct zygote {
    struct child_setup setup;
    struct lua_module_set *modules;
    struct channel_input *input;
    struct running *running;
    struct pollfd *polls; /* the channel, then one a child */
    size_t count, capacity;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(&clock_system);
}

/* Tells the core how run `id` ended. False if the core is gone. */
static bool report(uint64_t id, const char *how, int status, const struct rusage *usage, int output)
{
    char json[256];
    int length = snprintf(json, sizeof(json),
                          "{\"type\":\"ended\",\"id\":%" PRIu64
                          ",\"how\":\"%s\",\"status\":%d,\"cpu_ms\":%" PRId64
                          ",\"memory_bytes\":%" PRId64 ",\"descriptors\":%d}",
                          id, how, status,
                          ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
                              (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000,
                          (int64_t)usage->ru_maxrss * 1024, output >= 0 ? 1 : 0);

    return channel_write(HOST_CHANNEL_DESCRIPTOR, json, (size_t)length, NULL, 0, &output,
                         output >= 0 ? 1 : 0) == 0;
}

static void kill_running(struct running *running, const char *why)
{
    if (!running->killed && kill(running->pid, SIGKILL) == 0)
        running->killed = why;
}

/* Room for one more child. */
static bool grow(struct zygote *zygote)
{
    if (zygote->count < zygote->capacity)
        return true;
    size_t capacity = zygote->capacity ? zygote->capacity * 2 : 16;
    struct running *running = realloc(zygote->running, capacity * sizeof(*running));

    if (running)
        zygote->running = running;
    struct pollfd *polls = realloc(zygote->polls, (capacity + 1) * sizeof(*polls));

    if (polls)
        zygote->polls = polls;
    if (!running || !polls)
        return false;
    zygote->capacity = capacity;
    return true;
}

/* Forks; the child never returns. 0, or an errno value. */
static int start_child(struct zygote *zygote, struct child_task *task, uint64_t id)
{
    struct running running = {.id = id, .deadline_ms = now_ms() + task->wall_ms};

    if (!grow(zygote))
        return ENOMEM;
    task->parent = getpid();
    task->output = memfd_create("output", MFD_CLOEXEC);
    if (task->output < 0)
        return errno;
    running.output = task->output;
    running.pid = ftruncate(task->output, sizeof(struct run_logs)) == 0 ? fork() : -1;
    if (running.pid == 0)
        child_main(&zygote->setup, task);
    running.pidfd = running.pid > 0 ? pidfd_open(running.pid, 0) : -1;
    if (running.pidfd < 0) {
        int number = errno;

        if (running.pid > 0 && kill(running.pid, SIGKILL) == 0)
            waitpid(running.pid, NULL, 0);
        close(running.output);
        return number;
    }
    zygote->running[zygote->count++] = running;
    return 0;
}

static bool handle_run(struct zygote *zygote, const json_t *json, struct channel_message *message)
{
    struct child_task task = {
        .wall_ms = json_get_integer(json, "wall_ms", 0),
        .heap_bytes = (uint64_t)json_get_integer(json, "heap_bytes", 0),
        .output_bytes = (uint64_t)json_get_integer(json, "output_bytes", 0),
    };
    uint64_t id = (uint64_t)json_get_integer(json, "id", 0);
    struct rusage none = {0};
    int number;

    if (message->descriptor_count != 2)
        return false;
    task.request = message->descriptors[0];
    task.input = message->descriptors[1];
    number = start_child(zygote, &task, id);
    return number == 0 || report(id, "failed", number, &none, -1);
}

static bool handle_cancel(struct zygote *zygote, const json_t *json)
{
    uint64_t id = (uint64_t)json_get_integer(json, "id", 0);

    for (size_t i = 0; i < zygote->count; i++) {
        if (zygote->running[i].id == id)
            kill_running(&zygote->running[i], "cancelled");
    }
    return true;
}

static bool handle_module(struct zygote *zygote, const json_t *json,
                          const struct channel_message *message)
{
    const char *kind_name = json_get_string(json, "kind");
    const char *name = json_get_string(json, "name");
    const char *origin = json_get_string(json, "origin");
    enum lua_module_kind kind;

    if (!kind_name || !name || !origin || !lua_module_kind_parse(kind_name, &kind))
        return false;
    _cleanup_(error) struct error *error =
        lua_modules_add(zygote->modules, kind, name, origin, message->bytes, message->length);
    return !error;
}

static bool handle(struct zygote *zygote, struct channel_message *message)
{
    _cleanup_(json) json_t *json =
        json_loadb(message->json, message->json_length, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json ? json_get_string(json, "type") : NULL;
    bool understood = false;

    if (type && strcmp(type, "run") == 0)
        understood = handle_run(zygote, json, message);
    else if (type && strcmp(type, "cancel") == 0)
        understood = handle_cancel(zygote, json);
    else if (type && strcmp(type, "module") == 0)
        understood = handle_module(zygote, json, message);
    frame_close_all(message->descriptors, message->descriptor_count);
    return understood;
}

/* Handles what has come; waits for more only while there is no child. False at the end, with
 * *status. */
static bool handle_messages(struct zygote *zygote, int *status)
{
    struct channel_message message;
    int next;

    while ((next = channel_input_next(zygote->input, zygote->count == 0, &message)) == 1) {
        if (!handle(zygote, &message)) {
            *status = EXIT_PROTOCOL;
            return false;
        }
    }
    *status = next == 0 ? 0 : EXIT_PROTOCOL;
    return next == 2;
}

/* Kills who is overdue. Returns the milliseconds until the next deadline, -1 without one. */
static int enforce_deadlines(struct zygote *zygote)
{
    int64_t now = now_ms();
    int64_t nearest = -1;

    for (size_t i = 0; i < zygote->count; i++) {
        struct running *running = &zygote->running[i];
        int64_t left = running->deadline_ms - now;

        if (running->killed)
            continue;
        if (left <= 0)
            kill_running(running, "timeout");
        else if (nearest < 0 || left < nearest)
            nearest = left;
    }
    return nearest > 60000 ? 60000 : (int)nearest;
}

/* Reaps child number `index`, reports it and forgets it. False if the core is gone. */
static bool reap(struct zygote *zygote, size_t index)
{
    struct running ended = zygote->running[index];
    struct rusage usage = {0};
    int status = 0;
    bool told;

    while (wait4(ended.pid, &status, 0, &usage) < 0 && errno == EINTR)
        continue;
    zygote->running[index] = zygote->running[--zygote->count];
    close(ended.pidfd);
    if (WIFSIGNALED(status) && ended.killed)
        told = report(ended.id, ended.killed, SIGKILL, &usage, ended.output);
    else if (WIFSIGNALED(status))
        told = report(ended.id, "signal", WTERMSIG(status), &usage, ended.output);
    else
        told = report(ended.id, "exited", WEXITSTATUS(status), &usage, ended.output);
    close(ended.output);
    return told;
}

/* Waits for a frame, the end of a child or a deadline, and reaps. */
static bool wait_and_reap(struct zygote *zygote, int timeout_ms)
{
    size_t count = zygote->count;

    zygote->polls[0] = (struct pollfd){.fd = HOST_CHANNEL_DESCRIPTOR, .events = POLLIN};
    for (size_t i = 0; i < count; i++)
        zygote->polls[i + 1] = (struct pollfd){.fd = zygote->running[i].pidfd, .events = POLLIN};
    if (poll(zygote->polls, count + 1, timeout_ms) < 0)
        return errno == EINTR;
    for (size_t i = count; i-- > 0;) { /* from the back: reap moves the last into a gap */
        if (zygote->polls[i + 1].revents && !reap(zygote, i))
            return false;
    }
    return true;
}

/* Everything that may need files or time, before the sandbox: libraries, filter, measures. */
static int prepare(struct zygote *zygote)
{
    zygote->modules = calloc(1, sizeof(*zygote->modules));
    zygote->input = channel_input_new(HOST_CHANNEL_DESCRIPTOR);
    if (!zygote->modules || !zygote->input || !grow(zygote) ||
        !child_setup_init(&zygote->setup, zygote->modules))
        return EXIT_FAILURE;
    return (int)sandbox_enter_zygote();
}

int zygote_main(void)
{
    struct zygote zygote = {0};
    int status = prepare(&zygote);

    if (status != SANDBOX_ENTERED)
        return status;
    while (handle_messages(&zygote, &status)) {
        if (!wait_and_reap(&zygote, enforce_deadlines(&zygote)))
            return EXIT_PROTOCOL;
    }
    return status; /* the children die with this process */
}

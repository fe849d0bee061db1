/*
 * Starting and ending a Lua process.
 *
 * Two things end: the process (libuv reaps it) and its channel (end of file, or a broken frame).
 * Frames that were written before the end are still delivered, so `ended` comes when both have
 * happened; either brings about the other.
 */
#include "lua/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lua/sandbox.h"

struct host_process {
    uv_process_t process;
    struct channel *channel;
    bool channel_over; /* nothing more comes from it */
    channel_received received;
    void (*ended)(void *context, struct error *error);
    void *context;
    int64_t exit_status;
    int exit_signal;
    bool exited;
    bool freed;           /* the owner is gone: no callback */
    struct error *broken; /* why the channel ended, if the process broke the protocol */
};

static struct error *how_it_ended(struct host_process *process)
{
    const char *step = sandbox_step_name((int)process->exit_status);

    if (process->broken)
        return TAKE(process->broken);
    if (process->exit_signal > 0)
        return error_new(ERROR_INTERNAL, "Crashed", "killed by SIG%s",
                         sigabbrev_np(process->exit_signal) ? sigabbrev_np(process->exit_signal)
                                                            : "?");
    if (step)
        return error_new(ERROR_INTERNAL, "Crashed", "it could not enter its sandbox (%s)", step);
    return error_new(ERROR_INTERNAL, "Crashed", "exited with status %d", (int)process->exit_status);
}

static void on_closed(uv_handle_t *handle)
{
    struct host_process *process = handle->data;

    error_free(process->broken);
    free(process);
}

/* Tells the owner when both the process and its channel have ended. */
static void tell(struct host_process *process)
{
    if (process->exited && process->channel_over && !process->freed)
        process->ended(process->context, how_it_ended(process));
}

static void on_exit_(uv_process_t *handle, int64_t status, int signal)
{
    struct host_process *process = handle->data;

    process->exited = true;
    process->exit_status = status;
    process->exit_signal = signal;
    if (process->freed)
        uv_close((uv_handle_t *)handle, on_closed);
    else
        tell(process);
}

static void on_received(void *context, struct channel_frame *frame)
{
    struct host_process *process = context;

    process->received(process->context, frame);
}

static void on_channel_ended(void *context, struct error *error)
{
    struct host_process *process = context;

    process->broken = error;
    process->channel_over = true;
    host_process_kill(process);
    tell(process);
}

/* Runs this very program, whatever its file is called by now. */
static int spawn(struct host_process *process, const struct host_process_options *options,
                 int host_end)
{
    char program[] = "sluice", command[] = "lua-host";
    char *arguments[] = {program, command, (char *)options->kind, NULL};
    char *environment[] = {NULL};
    uv_stdio_container_t stdio[5] = {
        [2] = {.flags = SANDBOX_SANITIZED ? UV_INHERIT_FD : UV_IGNORE, .data.fd = STDERR_FILENO},
        [3] = {.flags = UV_INHERIT_FD, .data.fd = host_end},
        [4] = {.flags = UV_INHERIT_FD, .data.fd = options->shared_descriptor},
    };
    uv_process_options_t spawning = {
        .exit_cb = on_exit_,
        .file = "/proc/self/exe",
        .args = arguments,
        .env = environment,
        .stdio_count = options->shared_descriptor >= 0 ? 5 : 4,
        .stdio = stdio,
    };

    process->process.data = process;
    return uv_spawn(options->loop, &process->process, &spawning);
}

/* A channel over `core_end`, which it takes. */
static struct error *open_channel(struct host_process *process,
                                  const struct host_process_options *options, int core_end)
{
    if (fcntl(core_end, F_SETFL, O_NONBLOCK) < 0) {
        int number = errno;

        close(core_end);
        return error_from_errno(ERROR_INTERNAL, "ProcessFailed", number, "fcntl");
    }
    return channel_new(options->loop, core_end, options->accepts_descriptors, on_received,
                       on_channel_ended, process, &process->channel);
}

struct error *host_process_start(const struct host_process_options *options,
                                 struct host_process **process)
{
    struct host_process *made = calloc(1, sizeof(*made));
    struct error *error = NULL;
    int ends[2];
    int status;

    *process = NULL;
    if (!made)
        return error_out_of_memory();
    made->received = options->received;
    made->ended = options->ended;
    made->context = options->context;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        error = error_from_errno(ERROR_TRANSIENT, "ProcessFailed", errno, "socketpair");
        free(made);
        return error;
    }
    status = spawn(made, options, ends[1]);
    close(ends[1]);
    if (status < 0) {
        close(ends[0]);
        uv_close((uv_handle_t *)&made->process, on_closed);
        return error_from_errno(ERROR_TRANSIENT, "ProcessFailed", -status,
                                "cannot start the Lua process '%s'", options->kind);
    }
    error = open_channel(made, options, ends[0]);
    if (error) {
        host_process_free(made);
        return error;
    }
    *process = made;
    return NULL;
}

struct channel *host_process_channel(struct host_process *process)
{
    return process->channel;
}

int64_t host_process_cpu_ms(const struct host_process *process)
{
    clockid_t clock;
    struct timespec used;

    if (process->exited || clock_getcpuclockid(process->process.pid, &clock) != 0 ||
        clock_gettime(clock, &used) != 0)
        return -1;
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

void host_process_kill(struct host_process *process)
{
    if (!process->exited)
        uv_process_kill(&process->process, SIGKILL);
}

void host_process_free(struct host_process *process)
{
    if (!process)
        return;
    process->freed = true;
    channel_free(TAKE(process->channel));
    host_process_kill(process);
    if (process->exited)
        uv_close((uv_handle_t *)&process->process, on_closed);
}

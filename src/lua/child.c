/*
 * From fork to exit. The order is the point: descriptors to their places, the input mapped,
 * everything else given up, and only then is a byte of the request looked at.
 */
#include "lua/child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "lua/run.h"

/* Beside the Lua heap and as much again for buffers of native libraries, which end up in it: the
 * JIT's code, the C stack. */
#define ROOM_BYTES ((uint64_t)64 << 20)

/* Bytes of a descriptor, mapped; NULL and 0 for an empty one. */
struct mapped {
    const char *bytes;
    size_t length;
};

bool child_setup_init(struct child_setup *setup, const struct lua_module_set *modules)
{
    setup->modules = modules;
    setup->state = script_state_new();
    if (!setup->state || seccomp_filter_compile(SECCOMP_CHILD, &setup->filter) != 0)
        return false;
    setup->address_bytes = sandbox_address_space();
    return setup->address_bytes > 0;
}

/* Moves the three descriptors to 3, 4 and 5, where others of this process may lie now. */
static bool place_descriptors(const struct child_task *task)
{
    const int from[] = {task->request, task->input, task->output};
    int aside[3];

    for (int i = 0; i < 3; i++) {
        aside[i] = fcntl(from[i], F_DUPFD_CLOEXEC, RUN_OUTPUT + 1);
        if (aside[i] < 0)
            return false;
    }
    for (int i = 0; i < 3; i++) {
        if (dup3(aside[i], RUN_REQUEST + i, O_CLOEXEC) < 0)
            return false;
    }
    return true;
}

/* Where log lines go: shared with the file, so that they are there when this process is killed. */
static struct run_logs *map_logs(void)
{
    void *logs =
        mmap(NULL, sizeof(struct run_logs), PROT_READ | PROT_WRITE, MAP_SHARED, RUN_OUTPUT, 0);

    return logs == MAP_FAILED ? NULL : logs;
}

static bool map(int descriptor, struct mapped *mapped)
{
    struct stat status;
    void *bytes;

    if (fstat(descriptor, &status) != 0 || status.st_size < 0)
        return false;
    if (status.st_size == 0)
        return true;
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
        return false;
    mapped->bytes = bytes;
    mapped->length = (size_t)status.st_size;
    return true;
}

/* The request's JSON, and in `run` its script. NULL if it is not what the core writes. */
static json_t *read_request(const struct mapped *request, struct script_run *run)
{
    uint32_t length;
    json_t *json;

    if (request->length < sizeof(length))
        return NULL;
    memcpy(&length, request->bytes, sizeof(length));
    if (length > request->length - sizeof(length))
        return NULL;
    json = json_loadb(request->bytes + sizeof(length), length, JSON_REJECT_DUPLICATES, NULL);
    run->text = request->bytes + sizeof(length) + length;
    run->text_length = request->length - sizeof(length) - length;
    return json;
}

/* A module's text instead of an inline script. False if the zygote was not given it. */
static bool choose_module(const struct child_setup *setup, struct script_run *run)
{
    const char *name = json_get_string(run->request, "module");
    const struct lua_module *module;

    if (!name)
        return true;
    module = lua_modules_find(setup->modules, LUA_TRANSFORM, name);
    if (!module)
        return false;
    run->text = module->text;
    run->text_length = module->length;
    return true;
}

static int run(const struct child_setup *setup, const struct child_task *task,
               const struct mapped *request, const struct mapped *input, struct run_logs *logs)
{
    struct script_run script = {
        .logs = logs,
        .modules = setup->modules,
        .input = input->bytes,
        .input_length = input->length,
        .output = RUN_OUTPUT,
        .heap_bytes = task->heap_bytes,
        .output_bytes = task->output_bytes,
    };
    _cleanup_(json) json_t *json = read_request(request, &script);

    script.request = json;
    if (!json || !choose_module(setup, &script))
        return RUN_BAD_REQUEST;
    return script_run(setup->state, &script);
}

_Noreturn void child_main(const struct child_setup *setup, const struct child_task *task)
{
    struct mapped request = {0}, input = {0};
    struct sandbox_child_limits limits = {
        .cpu_ms = task->wall_ms,
        .address_bytes = setup->address_bytes + 2 * task->heap_bytes + ROOM_BYTES,
        .file_bytes = task->output_bytes + RUN_HEAD_MAX,
    };
    struct run_logs *logs;
    enum sandbox_step step;

    if (!place_descriptors(task))
        _exit(SANDBOX_DESCRIPTORS);
    logs = map_logs();
    if (!logs || !map(RUN_REQUEST, &request) || !map(RUN_INPUT, &input))
        _exit(RUN_OUT_OF_MEMORY);
    limits.address_bytes += request.length + input.length;
    step = sandbox_enter_child(task->parent, RUN_OUTPUT, &limits, &setup->filter);
    if (step != SANDBOX_ENTERED)
        _exit((int)step);
    _exit(run(setup, task, &request, &input, logs));
}

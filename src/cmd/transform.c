/*
 * `sluice transform`: what a hook with this script would do, tried on a file. It uses the same
 * zygote, child and limits as the controller, so what passes here passes there.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "cmd/cmd.h"
#include "cmd/output_directory.h"
#include "cmd/settings.h"
#include "lua/transform.h"

#define INPUT_MAX ((uint64_t)1 << 30)
#define SPOOL_MEMORY ((size_t)64 << 20)
#define HEAP_MIN ((uint64_t)4 << 20)

static const char help[] =
    "Usage: sluice transform SCRIPT.lua [FILE] [options]\n"
    "\n"
    "Runs one Lua transform on FILE (or standard input) in the sandbox in which hooks run, and "
    "writes its\n"
    "result to standard output; a table of files each after a line \"# path\". The script's last "
    "log lines\n"
    "go to standard error. Exits 1 when the transform fails, 2 for bad usage.\n"
    "\n"
    "  --env KEY=VALUE       ctx.env.KEY; may be given more than once\n"
    "  --timeout DURATION    wall time and CPU time, such as 5s or 500ms (default 30s)\n"
    "  --memory-limit SIZE   of the Lua heap, such as 64Mi, 64M or 67108864 (default 256Mi)\n"
    "  --output DIR          write the files into DIR; a single result as DIR/data\n"
    "  --help                print this\n";

struct options {
    const char *script;
    const char *file;   /* NULL: standard input */
    const char *output; /* NULL: standard output */
    json_t *env;
    struct transform_limits limits;
};

/* One command's run from start to end. */
struct session {
    const struct options *options;
    uv_loop_t loop;
    struct blob_store *blobs;
    struct transformer *transformer;
    struct operation *operation;
    int status;
};

static int usage_error(const char *format, const char *argument)
{
    fputs("sluice transform: ", stderr);
    /* `format` is one of this file's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(stderr, format, argument);
#pragma GCC diagnostic pop
    fputs("; see sluice transform --help\n", stderr);
    return 2;
}

/* "KEY=VALUE" into the object; a later one wins. False for anything else. */
static bool add_pair(const char *text, json_t *object)
{
    const char *equals = strchr(text, '=');
    _cleanup_(free) char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;

    return key && *key && json_object_set_new(object, key, json_string(equals + 1)) == 0;
}

/* Takes one option, `argument` on the command line. -1 to go on, else the exit status. */
static int take_option(int option, const char *argument, struct options *options)
{
    switch (option) {
    case 'e':
        return add_pair(optarg, options->env)
                   ? -1
                   : usage_error("--env takes KEY=VALUE, not '%s'", optarg);
    case 't':
        return duration_parse(optarg, &options->limits.wall_ms) && options->limits.wall_ms > 0
                   ? -1
                   : usage_error("--timeout takes a duration such as 5s, not '%s'", optarg);
    case 'm':
        return size_parse(optarg, &options->limits.heap_bytes) &&
                       options->limits.heap_bytes >= HEAP_MIN
                   ? -1
                   : usage_error(
                         "--memory-limit takes a size of 4Mi or more, such as 64Mi, not '%s'",
                         optarg);
    case 'o':
        options->output = optarg;
        return -1;
    case 'h':
        fputs(help, stdout);
        return 0;
    case ':':
        return usage_error("%s needs a value", argument);
    default:
        return usage_error("unknown option '%s'", argument);
    }
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"env", required_argument, NULL, 'e'},
        {"timeout", required_argument, NULL, 't'},
        {"memory-limit", required_argument, NULL, 'm'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        int status = take_option(option, argv[optind - 1], options);

        if (status >= 0)
            return status;
    }
    if (optind >= argc)
        return usage_error("the script is missing%s", "");
    options->script = argv[optind++];
    if (optind < argc)
        options->file = argv[optind++];
    if (optind < argc)
        return usage_error("unexpected argument '%s'", argv[optind]);
    return -1;
}

static struct error *read_all(int descriptor, const char *name, struct blob_writer *writer)
{
    char bytes[(size_t)64 << 10];

    for (;;) {
        ssize_t count = read(descriptor, bytes, sizeof(bytes));

        if (count == 0)
            return NULL;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_from_errno(ERROR_CONFIGURATION, "FileReadFailed", errno, "cannot read %s",
                                    name);
        struct error *error = blob_writer_write(writer, bytes, (size_t)count);

        if (error)
            return error_wrap(error, "%s", name);
    }
}

/* The input as a payload of one run of bytes. */
static struct error *read_input(struct session *session, struct payload **input)
{
    const char *name = session->options->file ? session->options->file : "standard input";
    _cleanup_(fd) int descriptor = session->options->file
                                       ? open(session->options->file, O_RDONLY | O_CLOEXEC)
                                       : dup(STDIN_FILENO);
    struct blob_writer *writer;
    struct blob *blob = NULL;
    struct error *error;

    if (descriptor < 0)
        return error_from_errno(ERROR_CONFIGURATION, "FileReadFailed", errno, "cannot read %s",
                                name);
    writer = blob_writer_new(session->blobs, INPUT_MAX);
    if (!writer)
        return error_out_of_memory();
    error = read_all(descriptor, name, writer);
    if (error) {
        blob_writer_free(writer);
        return error;
    }
    error = blob_writer_seal(writer, &blob);
    if (error)
        return error;
    *input = payload_new_single(blob);
    return *input ? NULL : error_out_of_memory();
}

/* The last line of a failure is the one that says why. */
static void complain(struct session *session, const struct error *error)
{
    fprintf(stderr, "%s (%s)\n", error->message, error->reason);
    session->status = 1;
}

static void on_done(void *context, struct error *error, bool explicit_error,
                    struct transform_result *result, const char *const *logs, size_t log_count)
{
    struct session *session = context;
    _cleanup_(error) struct error *failure = error;

    (void)explicit_error;
    session->operation = NULL;
    for (size_t i = 0; i < log_count; i++)
        fprintf(stderr, "%s\n", logs[i]);
    if (!failure)
        failure = session->options->output
                      ? payload_write_directory(result->output, session->options->output)
                      : payload_print(result->output, STDOUT_FILENO);
    if (failure)
        complain(session, failure);
    transformer_free(TAKE(session->transformer));
}

static struct error *start(struct session *session)
{
    const struct options *options = session->options;
    struct transformer_options transformer = {
        .loop = &session->loop,
        .blobs = session->blobs,
        .clock = &clock_system,
        .concurrency = 1,
    };
    _cleanup_(buffer) struct buffer script = BUFFER_INIT;
    _cleanup_(payload) struct payload *input = NULL;
    _cleanup_(lua_modules) struct lua_module_set *modules = NULL;
    _cleanup_(json) json_t *source = json_pack("{s:s, s:s, s:{}, s:i}", "namespace", "default",
                                               "name", "example", "labels", "generation", 1);
    struct error *error = file_read(options->script, LUA_MODULE_MAX, &script);

    if (!error)
        error = read_input(session, &input);
    if (!error)
        error = lua_modules_shipped(&modules);
    if (!error)
        error = transformer_new(&transformer, modules, &session->transformer);
    if (error)
        return error;
    struct transform_call call = {
        .chunk_name = options->script,
        .text = buffer_string(&script),
        .text_length = script.length,
        .input = input,
        .env = options->env,
        .source = source,
        .limits = options->limits,
    };

    return transform_run(session->transformer, &call, on_done, session, &session->operation);
}

static int run(const struct options *options)
{
    const char *spool = getenv("TMPDIR");
    struct session session = {.options = options};
    _cleanup_(error) struct error *error = NULL;

    signal(SIGPIPE, SIG_IGN);
    session.blobs = blob_store_new(spool && *spool ? spool : "/tmp", SPOOL_MEMORY);
    if (!session.blobs || uv_loop_init(&session.loop) != 0) {
        fputs("sluice transform: out of memory\n", stderr);
        return 1;
    }
    error = start(&session);
    if (error) {
        complain(&session, error);
        transformer_free(TAKE(session.transformer));
    }
    uv_run(&session.loop, UV_RUN_DEFAULT);
    uv_loop_close(&session.loop);
    blob_store_free(session.blobs);
    return session.status;
}

int cmd_transform(int argc, char **argv)
{
    struct options options = {
        .env = json_object(),
        .limits = {TRANSFORM_WALL_MS, TRANSFORM_HEAP_BYTES, TRANSFORM_OUTPUT_BYTES},
    };
    int status = options.env ? parse(argc, argv, &options) : 1;

    if (status < 0)
        status = run(&options);
    json_decref(options.env);
    return status;
}

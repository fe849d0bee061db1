/*
 * The forms of one transform run: what the core tells its child, and what the child gives back.
 *
 * The zygote passes both on without reading them, so that no run's data is ever in the memory that
 * the next child is forked from. All integers are little-endian as the machine is: both ends are
 * one program.
 *
 * Request (a memfd): u32 JSON length, JSON, script. The JSON:
 *     module      name of a transform module, instead of a script
 *     env, source, metadata   what ctx holds
 *     single      whether the input is one run of bytes
 *     files       else [[path, length], ...] in the input's order
 * Input: the bytes of all files, one after the other.
 * Output (a memfd, hostile): struct run_logs, mapped by the child so that lines outlive its being
 * killed; then u32 JSON length, JSON, and for each file a struct run_entry, its path and its
 * content. The JSON of a result: single, count (of entries), metadata (object of strings) and of a
 * failure, with nothing after it that matters: reason, message, line (0: unknown), explicit
 */
#ifndef SLUICE_LUA_RUN_H
#define SLUICE_LUA_RUN_H

#include <stddef.h>
#include <stdint.h>

/* The child's descriptors; it has no others. */
enum { RUN_REQUEST = 3, RUN_INPUT = 4, RUN_OUTPUT = 5 };

struct run_entry {
    uint32_t path_length; /* 0 for a single run of bytes */
    uint32_t reserved;    /* 0 */
    uint64_t content_length;
};

#define RUN_LOGS_MAX 20
#define RUN_LOG_LENGTH ((size_t)1020)

/* The last lines that the script logged, "level: text": a ring. */
struct run_logs {
    uint32_t count; /* of all lines ever; the next goes to lines[count % RUN_LOGS_MAX] */
    struct run_log_line {
        uint32_t length;
        char text[RUN_LOG_LENGTH];
    } lines[RUN_LOGS_MAX];
};

#define RUN_HEAD_MAX ((uint64_t)512 << 10)  /* of everything in the output but files: logs, JSON */
#define RUN_METADATA_MAX ((size_t)64 << 10) /* keys and values together */
#define RUN_FILES_MAX 16384

/* The child's exit status where it is not 0 (a result or a failure was written) and no
 * sandbox_step. */
enum run_status {
    RUN_OUT_OF_MEMORY = 80, /* outside of the Lua heap, or where no error could be made of it */
    RUN_BAD_REQUEST,        /* our own fault */
    RUN_WRITE_FAILED,
};

#endif

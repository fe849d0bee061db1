/*
 * What a Lua process gives up before it runs a line of Lua, by role.
 *
 * Every role: capabilities, new privileges, core dumps, being traced, all descriptors but its own,
 * every path and socket (Landlock, where the kernel has it) and every system call that its work
 * does not need (seccomp; the others fail with EPERM). It dies with its parent. What is given up
 * cannot be had again. A step that fails must end the process, with the step as its exit status:
 * never run without.
 */
#ifndef SLUICE_LUA_SANDBOX_H
#define SLUICE_LUA_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Sanitizers reserve terabytes of address space and report on stderr. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

#define HOST_CHANNEL_DESCRIPTOR 3
#define HOST_SHARED_DESCRIPTOR 4

/* Where entering failed; also the exit status that says so. */
enum sandbox_step {
    SANDBOX_ENTERED = 0,
    SANDBOX_PRIVILEGES = 65,
    SANDBOX_DESCRIPTORS,
    SANDBOX_LIMITS,
    SANDBOX_LANDLOCK,
    SANDBOX_SECCOMP,
};

/* "seccomp", ... for messages; NULL if `exit_status` is no step. */
const char *sandbox_step_name(int exit_status);

enum seccomp_role {
    SECCOMP_HOST,   /* Lua without JIT: compute, and messages on the channel */
    SECCOMP_ZYGOTE, /* no user's code: messages, and making, limiting and ending children */
    SECCOMP_CHILD,  /* Lua with JIT: compute, read and write open descriptors */
};

/* A compiled filter. The process that compiled it or a fork of it can load it. */
struct seccomp_filter {
    struct sock_filter *instructions;
    unsigned short count;
};

/* 0 or a negative errno value. */
int seccomp_filter_compile(enum seccomp_role role, struct seccomp_filter *filter);
int seccomp_filter_load(const struct seccomp_filter *filter);
void seccomp_filter_free(struct seccomp_filter *filter);

/* Denies every path, TCP port, abstract socket and signal to the outside that this kernel's
 * Landlock can deny. True also where there is no Landlock. Needs no_new_privs. */
bool landlock_deny_all(void);

/* A generator or policy host: keeps descriptors 0 to 4. */
enum sandbox_step sandbox_enter_host(void);

/* The zygote: keeps descriptors 0 to 3 and the right to fork. */
enum sandbox_step sandbox_enter_zygote(void);

struct sandbox_child_limits {
    int64_t cpu_ms;         /* rounded up to whole seconds: the kernel counts in these */
    uint64_t address_bytes; /* of address space; nothing where sanitizers are compiled in */
    uint64_t file_bytes;    /* size of the output */
};

/* A transform's child, just forked by the zygote `parent`: keeps descriptors 3 to
 * `last_descriptor`. */
enum sandbox_step sandbox_enter_child(pid_t parent, int last_descriptor,
                                      const struct sandbox_child_limits *limits,
                                      const struct seccomp_filter *filter);

/* This process' address space in bytes now; 0 if it cannot be told. Reads /proc: before entering.
 */
uint64_t sandbox_address_space(void);

#endif

/* What a Lua process can no longer do, by role: each attempt is made from inside the sandbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lua/sandbox.h"

#define HOST (1 << SECCOMP_HOST)
#define ZYGOTE (1 << SECCOMP_ZYGOTE)
#define CHILD (1 << SECCOMP_CHILD)
#define ALL (HOST | ZYGOTE | CHILD)

/* Attempts: each returns the result of a call, negative where it was denied. */

static long open_a_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long open_its_own_memory(void)
{
    return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
}

static long make_a_file(void)
{
    return open("/tmp/sluice-test-sandbox", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}

static long make_a_directory(void)
{
    return mkdir("/tmp/sluice-test-sandbox.d", 0700);
}

static long look_at_a_path(void)
{
    struct stat status;

    return syscall(SYS_statx, AT_FDCWD, "/etc/passwd", 0, 0, &status);
}

static long open_an_internet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long open_a_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long execute_a_program(void)
{
    static char program[] = "/bin/true";
    char *arguments[] = {program, NULL};

    return execve(program, arguments, NULL);
}

static long fork_a_process(void)
{
    long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0)
        _exit(0);
    return child;
}

static long make_a_user_namespace(void)
{
    return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long clone_into_a_user_namespace(void)
{
    long child = syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL);

    if (child == 0)
        _exit(0);
    return child;
}

static long be_traced(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long read_its_parents_memory(void)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {&byte, 1};

    return process_vm_readv(getppid() > 0 ? getppid() : 1, &local, 1, &remote, 1, 0);
}

static long signal_its_parent(void)
{
    return syscall(SYS_kill, getppid() > 0 ? getppid() : 1, SIGTERM);
}

static long signal_a_thread_of_init(void)
{
    return syscall(SYS_tgkill, 1, 1, SIGTERM);
}

static long raise_its_limits(void)
{
    struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};

    return setrlimit(RLIMIT_CORE, &more);
}

static long take_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[_LINUX_CAPABILITY_U32S_3] = {
        {~0U, ~0U, ~0U},
        {~0U, ~0U, ~0U},
    };

    return syscall(SYS_capset, &header, all);
}

static long load_a_bpf_program(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long set_up_io_uring(void)
{
    char parameters[256] = {0};

    return syscall(SYS_io_uring_setup, 1, parameters);
}

static long mount_something(void)
{
    return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}

static long make_memory_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long make_anonymous_files(void)
{
    return memfd_create("x", 0);
}

static long use_another_descriptor(void)
{
    char byte;

    return read(100, &byte, 1);
}

static long write_past_its_limit(void)
{
    char bytes[8192] = {0};

    signal(SIGXFSZ, SIG_IGN);
    return write(5, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) ? 0 : -1;
}

static const struct {
    const char *name;
    long (*attempt)(void);
    int denied_to;
} attempts[] = {
    {"open a file", open_a_file, ALL},
    {"open its own memory", open_its_own_memory, ALL},
    {"make a file", make_a_file, ALL},
    {"make a directory", make_a_directory, ALL},
    {"look at a path", look_at_a_path, ALL},
    {"open an internet socket", open_an_internet_socket, ALL},
    {"open a unix socket", open_a_unix_socket, ALL},
    {"execute a program", execute_a_program, ALL},
    {"fork", fork_a_process, HOST | CHILD},
    {"make a user namespace", make_a_user_namespace, ALL},
    {"clone into a user namespace", clone_into_a_user_namespace, ALL},
    {"be traced", be_traced, ALL},
    {"read its parent's memory", read_its_parents_memory, ALL},
    {"signal its parent", signal_its_parent, HOST | CHILD},
    {"signal a thread of init", signal_a_thread_of_init, ALL},
    {"raise its limits", raise_its_limits, ALL},
    {"take capabilities", take_capabilities, ALL},
    {"load a bpf program", load_a_bpf_program, ALL},
    {"set up io_uring", set_up_io_uring, ALL},
    {"mount something", mount_something, ALL},
    {"make memory code", make_memory_code, HOST},
    {"make anonymous files", make_anonymous_files, HOST | CHILD},
    {"use another descriptor", use_another_descriptor, ALL},
    {"write past its limit", write_past_its_limit, CHILD},
};

/* Enters the role as its process would: the zygote's child below a zygote. */
static enum sandbox_step enter(enum seccomp_role role, pid_t parent,
                               const struct seccomp_filter *filter)
{
    static const struct sandbox_child_limits limits = {
        .cpu_ms = 2000,
        .address_bytes = (uint64_t)1 << 30,
        .file_bytes = 4096,
    };

    if (role == SECCOMP_HOST)
        return sandbox_enter_host();
    if (role == SECCOMP_ZYGOTE)
        return sandbox_enter_zygote();
    return sandbox_enter_child(parent, 5, &limits, filter);
}

/* Tries everything in a process of `role`; exits with the number from 1 of the first attempt that
 * succeeds. */
static _Noreturn void try_all(enum seccomp_role role, pid_t parent,
                              const struct seccomp_filter *filter)
{
    enum sandbox_step step = enter(role, parent, filter);

    if (step != SANDBOX_ENTERED)
        _exit(200 + (int)step - SANDBOX_PRIVILEGES);
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        if ((attempts[i].denied_to & (1 << role)) && attempts[i].attempt() >= 0)
            _exit((int)i + 1);
    }
    _exit(0);
}

static int exit_status(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        fail_msg("killed by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void assert_all_denied(int status)
{
    if (status >= 200)
        fail_msg("could not enter: %s", sandbox_step_name(status - 200 + SANDBOX_PRIVILEGES));
    if (status > 0)
        fail_msg("it could %s", attempts[status - 1].name);
}

/* Descriptors that a role may keep, and one that it must not. */
static void open_descriptors(void)
{
    int null = open("/dev/null", O_RDWR);
    int file = memfd_create("output", 0);

    for (int descriptor = 3; descriptor <= 5; descriptor++)
        dup2(descriptor == 5 ? file : null, descriptor);
    dup2(null, 100);
}

static void a_host_can_only_compute_and_use_its_channel(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        open_descriptors();
        try_all(SECCOMP_HOST, 0, NULL);
    }
    assert_all_denied(exit_status(child));
}

static void a_zygote_can_only_make_children(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        open_descriptors();
        try_all(SECCOMP_ZYGOTE, 0, NULL);
    }
    assert_all_denied(exit_status(child));
}

/* A zygote whose one child runs `body`; exits as the child did. */
static pid_t fork_below_a_zygote(void (*body)(pid_t zygote, const struct seccomp_filter *filter))
{
    pid_t zygote = fork();

    if (zygote != 0)
        return zygote;
    struct seccomp_filter filter;
    pid_t self = getpid();
    pid_t child;
    int status = 0;

    open_descriptors();
    dup2(3, 4);
    if (seccomp_filter_compile(SECCOMP_CHILD, &filter) != 0)
        _exit(199);
    if (sandbox_enter_zygote() != SANDBOX_ENTERED)
        _exit(198);
    memfd_create("input", 0); /* takes the lowest free numbers, 4 and 5 */
    memfd_create("output", 0);
    child = fork();
    if (child == 0)
        body(self, &filter);
    waitpid(child, &status, 0);
    _exit(WIFSIGNALED(status) ? 197 : WEXITSTATUS(status));
}

static void try_all_as_child(pid_t zygote, const struct seccomp_filter *filter)
{
    try_all(SECCOMP_CHILD, zygote, filter);
}

static void a_child_can_only_compute_and_write_its_output(void **state)
{
    (void)state;
    assert_all_denied(exit_status(fork_below_a_zygote(try_all_as_child)));
}

static void keep_working(pid_t zygote, const struct seccomp_filter *filter)
{
    char byte = 'x';
    void *code;

    if (enter(SECCOMP_CHILD, zygote, filter) != SANDBOX_ENTERED)
        _exit(1);
    free(malloc(10 << 20));
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0) /* as the JIT does */
        _exit(2);
    if (write(5, &byte, 1) != 1 || pread(5, &byte, 1, 0) != 1)
        _exit(3);
    _exit(0);
}

static void a_child_keeps_what_its_work_needs(void **state)
{
    (void)state;
    assert_int_equal(exit_status(fork_below_a_zygote(keep_working)), 0);
}

static void enter_with_a_strangers_zygote(pid_t zygote, const struct seccomp_filter *filter)
{
    (void)zygote;
    _exit((int)enter(SECCOMP_CHILD, 1, filter));
}

static void a_child_that_lost_its_zygote_does_not_run(void **state)
{
    (void)state;
    assert_int_equal(exit_status(fork_below_a_zygote(enter_with_a_strangers_zygote)),
                     SANDBOX_PRIVILEGES);
}

static void allocate_too_much(pid_t zygote, const struct seccomp_filter *filter)
{
    if (enter(SECCOMP_CHILD, zygote, filter) != SANDBOX_ENTERED)
        _exit(1);
    _exit(malloc((size_t)2 << 30) ? 2 : 0);
}

static void a_child_cannot_take_more_memory_than_its_limit(void **state)
{
    (void)state;
    if (SANDBOX_SANITIZED)
        skip();
    assert_int_equal(exit_status(fork_below_a_zygote(allocate_too_much)), 0);
}

/* The field of /proc/PID/status, as text; "" once the process is gone. */
static void read_status_field(pid_t pid, const char *field, char value[64])
{
    char path[64], line[256];

    value[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");

    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, field, strlen(field)) == 0)
            sscanf(line + strlen(field), ":%63s", value);
    }
    if (file)
        fclose(file);
}

static void the_kernel_confirms_what_was_given_up(void **state)
{
    static const char *const expected[][2] = {
        {"Seccomp", "2"},
        {"NoNewPrivs", "1"},
        {"CapEff", "0000000000000000"},
        {"CapPrm", "0000000000000000"},
    };
    int ends[2];
    pid_t child;
    char byte;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    child = fork();
    if (child == 0) {
        struct iovec piece = {&byte, 1};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

        dup2(ends[1], 3);
        byte = sandbox_enter_host() == SANDBOX_ENTERED ? 'y' : 'n';
        sendmsg(3, &message, 0);
        recvmsg(3, &message, 0); /* until the test ends it */
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        char value[64];

        read_status_field(child, expected[i][0], value);
        assert_string_equal(value, expected[i][1]);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_can_only_compute_and_use_its_channel),
        cmocka_unit_test(a_zygote_can_only_make_children),
        cmocka_unit_test(a_child_can_only_compute_and_write_its_output),
        cmocka_unit_test(a_child_keeps_what_its_work_needs),
        cmocka_unit_test(a_child_that_lost_its_zygote_does_not_run),
        cmocka_unit_test(a_child_cannot_take_more_memory_than_its_limit),
        cmocka_unit_test(the_kernel_confirms_what_was_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

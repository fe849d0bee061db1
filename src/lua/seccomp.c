/*
 * The system calls that each role needs; all others fail with EPERM.
 *
 * Failing, not killing: a C library newer than this list tries a call and falls back. The lists are
 * allow lists, so what a kernel adds later is denied. A child's filter is compiled in the zygote
 * and only loaded in the child: compiling takes longer than a short run.
 */
#include "lua/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NAMESPACE_FLAGS \
    0x7e020080UL /* CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, USER, PID, NET */

/* Memory, time, signals of its own, and descriptors that are open already. */
static const int common_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
};

static const int channel_calls[] = {
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
};

/* To make, limit, watch and end children; a new child's own steps up to its filter are among them.
 */
static const int zygote_calls[] = {
    SCMP_SYS(fork),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(wait4),
    SCMP_SYS(waitid),
    SCMP_SYS(kill),
    SCMP_SYS(memfd_create),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(setsid),
    SCMP_SYS(getppid),
    SCMP_SYS(prctl),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(setrlimit),
    SCMP_SYS(close_range),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(seccomp),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(ftruncate),
};

static int allow_all(scmp_filter_ctx context, const int *calls, size_t count)
{
    int status = 0;

    for (size_t i = 0; i < count && status == 0; i++)
        status = seccomp_rule_add(context, SCMP_ACT_ALLOW, calls[i], 0);
    return status;
}

#define ALLOW_ALL(context, calls) allow_all(context, calls, sizeof(calls) / sizeof((calls)[0]))

/* Memory may become code only where the JIT runs. */
static int allow_memory(scmp_filter_ctx context, enum seccomp_role role)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    int status = 0;

    if (role != SECCOMP_HOST)
        return ALLOW_ALL(context, calls);
    for (size_t i = 0; i < 2 && status == 0; i++)
        status = seccomp_rule_add(context, SCMP_ACT_ALLOW, calls[i], 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return status;
}

/* abort() signals its own process; a filter that forks will load cannot know that one's id. */
static int allow_abort(scmp_filter_ctx context)
{
    return seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
}

static int allow_fork(scmp_filter_ctx context)
{
    int status = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0));

    /* Its flags lie in memory, out of a filter's sight; glibc falls back to clone. */
    if (status == 0)
        status = seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return status;
}

static int add_rules(scmp_filter_ctx context, enum seccomp_role role)
{
    int status = ALLOW_ALL(context, common_calls);

    if (status == 0)
        status = allow_memory(context, role);
    if (status == 0 && role != SECCOMP_CHILD)
        status = ALLOW_ALL(context, channel_calls);
    if (status == 0 && role != SECCOMP_CHILD)
        status = allow_abort(context);
    if (status == 0 && role == SECCOMP_ZYGOTE)
        status = ALLOW_ALL(context, zygote_calls);
    if (status == 0 && role == SECCOMP_ZYGOTE)
        status = allow_fork(context);
    return status;
}

/* libseccomp writes a filter only to a descriptor. */
static int export(scmp_filter_ctx context, struct seccomp_filter *filter)
{
    _cleanup_(fd) int file = memfd_create("seccomp", MFD_CLOEXEC);
    _cleanup_(free) struct sock_filter *instructions = NULL;
    off_t length;

    if (file < 0)
        return -errno;
    if (seccomp_export_bpf(context, file) != 0)
        return -EFAULT;
    length = lseek(file, 0, SEEK_END);
    if (length <= 0 || (size_t)length / sizeof(*instructions) > UINT16_MAX)
        return -EFBIG;
    instructions = malloc((size_t)length);
    if (!instructions)
        return -ENOMEM;
    if (pread(file, instructions, (size_t)length, 0) != length)
        return -EIO;
    filter->count = (unsigned short)((size_t)length / sizeof(*instructions));
    filter->instructions = TAKE(instructions);
    return 0;
}

int seccomp_filter_compile(enum seccomp_role role, struct seccomp_filter *filter)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int status;

    *filter = (struct seccomp_filter){0};
    if (!context)
        return -ENOMEM;
    /* A binary tree of numbers instead of a list: a call is judged in seven steps. */
    seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    status = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (status == 0)
        status = add_rules(context, role);
    if (status == 0)
        status = export(context, filter);
    seccomp_release(context);
    return status;
}

int seccomp_filter_load(const struct seccomp_filter *filter)
{
    struct sock_fprog program = {.len = filter->count, .filter = filter->instructions};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : -errno;
}

void seccomp_filter_free(struct seccomp_filter *filter)
{
    free(filter->instructions);
    *filter = (struct seccomp_filter){0};
}

/* Entering a role's sandbox: the order matters, because each step takes away the means of an
 * earlier one. */
#include "lua/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ZYGOTE_DESCRIPTORS 8192 /* four for each child that runs */
#define HOST_DESCRIPTORS 16
#define HOST_ADDRESS_BYTES ((uint64_t)8 << 30) /* behind the heap limit of the allocator */

const char *sandbox_step_name(int exit_status)
{
    switch (exit_status) {
    case SANDBOX_PRIVILEGES:
        return "privileges";
    case SANDBOX_DESCRIPTORS:
        return "descriptors";
    case SANDBOX_LIMITS:
        return "resource limits";
    case SANDBOX_LANDLOCK:
        return "landlock";
    case SANDBOX_SECCOMP:
        return "seccomp";
    default:
        return NULL;
    }
}

/* Root without capabilities is an ordinary user who owns the system's files; Landlock denies these.
 */
static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0;
}

static bool drop_privileges(void)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
           drop_capabilities();
}

/* Lowers a limit for good; a limit that is lower already stays. */
static bool limit_apart(int resource, uint64_t soft, uint64_t hard)
{
    struct rlimit now;

    if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
        return false;
    if (now.rlim_max == RLIM_INFINITY || now.rlim_max > hard)
        now.rlim_max = hard;
    now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &now) == 0;
}

static bool limit(int resource, uint64_t value)
{
    return limit_apart(resource, value, value);
}

static bool limit_host(void)
{
    return limit(RLIMIT_CORE, 0) && limit(RLIMIT_NPROC, 0) &&
           limit(RLIMIT_NOFILE, HOST_DESCRIPTORS) && limit(RLIMIT_MEMLOCK, 0) &&
           (SANDBOX_SANITIZED || (limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_AS, HOST_ADDRESS_BYTES)));
}

static enum sandbox_step give_up(int last_descriptor, bool (*set_limits)(void),
                                 const struct seccomp_filter *filter)
{
    if (!drop_privileges())
        return SANDBOX_PRIVILEGES;
    if (close_range((unsigned)last_descriptor + 1, ~0U, 0) != 0)
        return SANDBOX_DESCRIPTORS;
    if (!set_limits())
        return SANDBOX_LIMITS;
    if (!landlock_deny_all())
        return SANDBOX_LANDLOCK;
    return seccomp_filter_load(filter) == 0 ? SANDBOX_ENTERED : SANDBOX_SECCOMP;
}

/* The filter is compiled first, because that takes a file. */
static enum sandbox_step enter(int last_descriptor, bool (*set_limits)(void),
                               enum seccomp_role role)
{
    struct seccomp_filter filter;
    enum sandbox_step step;

    if (seccomp_filter_compile(role, &filter) != 0)
        return SANDBOX_SECCOMP;
    step = give_up(last_descriptor, set_limits, &filter);
    seccomp_filter_free(&filter);
    return step;
}

enum sandbox_step sandbox_enter_host(void)
{
    return enter(HOST_SHARED_DESCRIPTOR, limit_host, SECCOMP_HOST);
}

static bool limit_zygote(void)
{
    return limit(RLIMIT_CORE, 0) && limit(RLIMIT_MEMLOCK, 0) &&
           limit(RLIMIT_NOFILE, ZYGOTE_DESCRIPTORS);
}

enum sandbox_step sandbox_enter_zygote(void)
{
    return enter(HOST_CHANNEL_DESCRIPTOR, limit_zygote, SECCOMP_ZYGOTE);
}

static bool limit_child(const struct sandbox_child_limits *limits)
{
    uint64_t cpu_seconds = ((uint64_t)limits->cpu_ms + 999) / 1000;

    /* SIGXCPU at the soft limit tells what happened; SIGKILL at the hard one would not. */
    return limit(RLIMIT_CORE, 0) && limit(RLIMIT_NPROC, 0) && limit(RLIMIT_NOFILE, 8) &&
           limit_apart(RLIMIT_CPU, cpu_seconds, cpu_seconds + 1) &&
           limit(RLIMIT_FSIZE, limits->file_bytes) &&
           (SANDBOX_SANITIZED || limit(RLIMIT_AS, limits->address_bytes));
}

enum sandbox_step sandbox_enter_child(pid_t parent, int last_descriptor,
                                      const struct sandbox_child_limits *limits,
                                      const struct seccomp_filter *filter)
{
    /* Setting PDEATHSIG again, because a fork clears it; whoever lost the parent before ends here.
     */
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)
        return SANDBOX_PRIVILEGES;
    if (close_range((unsigned)last_descriptor + 1, ~0U, 0) != 0 ||
        close_range(0, SANDBOX_SANITIZED ? 1 : 2, 0) != 0)
        return SANDBOX_DESCRIPTORS;
    if (!limit_child(limits))
        return SANDBOX_LIMITS;
    return seccomp_filter_load(filter) == 0 ? SANDBOX_ENTERED : SANDBOX_SECCOMP;
}

uint64_t sandbox_address_space(void)
{
    _cleanup_(file) FILE *file = fopen("/proc/self/statm", "re");
    char text[64];

    if (!file || !fgets(text, sizeof(text), file))
        return 0;
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

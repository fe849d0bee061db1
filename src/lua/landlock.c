/*
 * Landlock: a ruleset that handles every right which the running kernel knows and allows none.
 *
 * Debian 12's header ends at ABI 3, so the rights of later ones are given here by their bits; they
 * are part of the kernel's stable interface.
 */
#include "lua/sandbox.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ruleset {
    uint64_t paths;
    uint64_t ports;  /* from ABI 4 */
    uint64_t scoped; /* from ABI 6 */
};

/* The number of rights on paths by ABI: bits 0 to N-1. */
static unsigned path_rights(long abi)
{
    static const unsigned counts[] = {0, 13, 14, 15, 15, 16};
    size_t last = sizeof(counts) / sizeof(counts[0]) - 1;

    return counts[(size_t)abi < last ? (size_t)abi : last];
}

static size_t ruleset_size(long abi)
{
    if (abi < 4)
        return offsetof(struct ruleset, ports);
    return abi < 6 ? offsetof(struct ruleset, scoped) : sizeof(struct ruleset);
}

bool landlock_deny_all(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset all = {.ports = 3, .scoped = 3};
    bool denied;
    int ruleset;

    /* EPERM: a container's own filter that does not know the call. */
    if (abi < 1)
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM;
    all.paths = ((uint64_t)1 << path_rights(abi)) - 1;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, ruleset_size(abi), 0);
    if (ruleset < 0)
        return false;
    denied = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return denied;
}

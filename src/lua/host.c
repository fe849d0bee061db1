/* From the command line to the process' own main; generator and policy hosts enter their sandbox
 * here. */
#include "lua/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lua/generator_host.h"
#include "lua/sandbox.h"
#include "lua/zygote.h"

static int run_host(bool policy)
{
    enum sandbox_step step = sandbox_enter_host();

    return step == SANDBOX_ENTERED ? generator_host_main(policy) : (int)step;
}

static int usage(void)
{
    fputs("sluice lua-host: started by sluice itself, not by people\n", stderr);
    return 2;
}

int lua_host_main(int argc, char **argv)
{
    int status;

    if (argc != 2 || fcntl(HOST_CHANNEL_DESCRIPTOR, F_GETFD) < 0)
        return usage();
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[1], "generator") == 0)
        status = run_host(false);
    else if (strcmp(argv[1], "policy") == 0)
        status = run_host(true);
    else if (strcmp(argv[1], "zygote") == 0)
        status = zygote_main();
    else
        return usage();
    /* Nothing is left to flush, and a leak checker could not look into this process. */
    _exit(status);
}

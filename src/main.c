/* The program's commands by name, and nothing else. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lua/host.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: internal */
};

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct command commands[] = {
    {"run", cmd_run, "reconcile a directory of manifests without a cluster"},
    {"controller", cmd_controller, "reconcile the ExternalSources of a Kubernetes cluster"},
    {"transform", cmd_transform, "run one Lua transform on a file or standard input"},
    {"version", cmd_version, "print the version"},
    {"help", cmd_help, "print this help, or that of a command"},
    {"lua-host", lua_host_main, NULL},
};

static const size_t command_count = sizeof(commands) / sizeof(commands[0]);

static int cmd_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        printf("Usage: sluice version\n\nPrints the program's version.\n");
        return 0;
    }
    if (argc > 1) {
        fprintf(stderr, "sluice version: unexpected argument '%s'; see --help\n", argv[1]);
        return 2;
    }
    printf("sluice %s\n", SLUICE_VERSION);
    return 0;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void print_commands(FILE *stream)
{
    fprintf(stream,
            "Usage: sluice COMMAND [FLAG...] [ARGUMENT...]\n\n"
            "Brings data from outside into Flux GitOps as ExternalArtifacts.\n\nCommands:\n");
    for (size_t i = 0; i < command_count; i++) {
        if (commands[i].help)
            fprintf(stream, "  %-10s  %s\n", commands[i].name, commands[i].help);
    }
    fprintf(stream, "\n`sluice COMMAND --help` tells more about each.\n");
}

static int cmd_help(int argc, char **argv)
{
    char help[] = "--help";
    char *of_command[] = {argc > 1 ? argv[1] : NULL, help, NULL};
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

    if (argc > 2 || (argc > 1 && !command)) {
        fprintf(stderr, "sluice help: found '%s'; accepted: one command, see sluice --help\n",
                argv[argc - 1]);
        return 2;
    }
    if (command && command->run != cmd_help)
        return command->run(2, of_command);
    print_commands(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cmd_help(1, argv);
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv);
    const struct command *command = find_command(argv[1]);
    if (command)
        return command->run(argc - 1, argv + 1);
    fprintf(stderr, "sluice: unknown command '%s'; see sluice --help\n", argv[1]);
    return 2;
}

/*
 * The commands, one file each. `argv[0]` is the command's own name. Each returns the exit status:
 * 0, 1 when what it was asked for failed, 2 for bad usage.
 */
#ifndef SLUICE_CMD_CMD_H
#define SLUICE_CMD_CMD_H

/* `sluice run`: the whole pipeline over directories of manifests (run.c). */
int cmd_run(int argc, char **argv);

/* `sluice controller`: the operator over a cluster (controller.c). */
int cmd_controller(int argc, char **argv);

/* `sluice transform SCRIPT.lua [FILE]`: one transform on a file or stdin, to stdout or a directory.
 */
int cmd_transform(int argc, char **argv);

#endif

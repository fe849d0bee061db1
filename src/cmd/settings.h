/*
 * Settings: one table says what each is called as a flag, as an environment variable and in help.
 * Flags win over the environment, the environment over the file given with --config (YAML, keys
 * named like the flags). compatibility: "Storage and serving".
 */
#ifndef SLUICE_CMD_SETTINGS_H
#define SLUICE_CMD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

enum settings_command { COMMAND_RUN, COMMAND_CONTROLLER };

struct settings {
    enum settings_command command;
    bool once;
    const char *storage_backend;
    const char *storage_path;
    const char *storage_addr;
    const char *storage_adv_addr; /* NULL: derived from storage_addr */
    const char *metrics_addr;
    const char *health_addr;
    const char *spool_path; /* NULL: below storage_path */
    const char **lua_paths;
    size_t lua_path_count;
    const char **secrets; /* "NS/NAME.KEY=env:VAR" */
    size_t secret_count;
    enum log_level log_level;
    enum log_encoding log_encoding;
    unsigned concurrent;
    int64_t http_timeout_ms;
    unsigned http_max_conns_per_host;
    const char *http_user_agent;
    uint64_t max_body_size;
    unsigned retry_max_attempts;
    int64_t retry_base_delay_ms;
    int64_t retry_max_delay_ms;
    bool storage_shared; /* every replica serves the same artifacts */
    /* Of the controller: */
    const char *kubeconfig;
    const char
        *service_name; /* of the Service before the artifact server; NULL: not in a cluster */
    const char *pod_name;
    const char *pod_namespace;
    bool watch_all_namespaces;
    const char *watch_label_selector;
    const char *watch_configs_label_selector;
    const char *events_addr;
    bool leader_election;
    int64_t lease_duration_ms;
    int64_t lease_renew_deadline_ms;
    int64_t lease_retry_ms;
    bool no_cross_namespace_refs; /* accepted for Flux's sake: there are none */
    const char **paths;           /* what is not a flag */
    size_t path_count;
    bool help;
    void *owned; /* texts that came from the file */
};

/* Reads the settings that `command` has: fills in defaults, then the file, then the environment,
 * then the command line. Errors are ERROR_CONFIGURATION, Usage: they name the flag, variable or
 * key, what was found and what is accepted. */
struct error *settings_read(int argc, char **argv, enum settings_command command,
                            struct settings *settings) __attribute__((warn_unused_result));

/* Prints a line for each flag of the command. */
void settings_help(enum settings_command command);

void settings_free(struct settings *settings);

/* "128Mi", "64M", "4096": bytes. False for anything else. */
bool size_parse(const char *text, uint64_t *bytes);

#endif

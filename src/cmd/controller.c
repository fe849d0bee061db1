/*
 * `sluice controller`: the operator. The engine over the Kubernetes catalog, and around it what a
 * cluster adds: the lease that decides which replica reconciles, events, notifications.
 *
 * A lost lease ends the process: whatever was under way is dropped at once, and the next start
 * begins with nothing but what the cluster says. Writes are fenced by the lease as well, so that a
 * process that was stopped for a while cannot write before it has noticed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "catalog/kube.h"
#include "cmd/cmd.h"
#include "cmd/engine.h"
#include "cmd/settings.h"
#include "kube/lease.h"

#define NAME "externalsource-controller"
#define LEASE_NAME NAME "-leader-election"
#define SELECTOR_DIGITS 8 /* of its sha256, in the lease's name, as Flux's controllers do */
#define FLUSH_MS 3000

struct controller {
    const struct settings *settings;
    struct engine engine;
    struct kube_config *config;
    struct kube_client *client;
    struct events *events;
    struct notifier *notifier;
    struct lease *lease; /* NULL where nobody competes */
    char *instance;      /* of this process: the pod's or host's name */
    bool lost;
};

static void print_help(void)
{
    printf("Usage: sluice controller [FLAG...]\n\n"
           "Reconciles the ExternalSources of a Kubernetes cluster and publishes them as Flux\n"
           "ExternalArtifacts.\n\n"
           "Flags:\n");
    settings_help(COMMAND_CONTROLLER);
}

static const char *own_namespace(const struct controller *controller)
{
    return controller->settings->pod_namespace ? controller->settings->pod_namespace
                                               : controller->config->namespace_name;
}

static bool may_write(void *context)
{
    const struct controller *controller = context;

    return !controller->lease || lease_held(controller->lease);
}

static void acquired(void *context)
{
    struct controller *controller = context;

    log_info(controller->engine.log, NULL, "this replica leads", NULL);
    engine_lead(&controller->engine);
}

static void lost(void *context)
{
    struct controller *controller = context;

    log_error(controller->engine.log, NULL, NULL,
              "the lease is lost; stopping at once, another replica leads", NULL);
    controller->lost = true;
    engine_stop(&controller->engine, 0);
}

/* The end, step by step: what happened is told while we may still write, then the lease is given
 * back, so that another replica need not wait for it to run out. */
static void finish(void *context)
{
    struct controller *controller = context;

    engine_finish(&controller->engine);
}

static void release_lease(void *context)
{
    struct controller *controller = context;

    if (controller->lease && !controller->lost)
        lease_release(controller->lease, finish, controller);
    else
        finish(controller);
}

static void flush_notifications(void *context)
{
    struct controller *controller = context;

    if (controller->notifier)
        notifier_flush(controller->notifier, FLUSH_MS, release_lease, controller);
    else
        release_lease(controller);
}

static void stopped(void *context)
{
    struct controller *controller = context;

    events_flush(controller->events, FLUSH_MS, flush_notifications, controller);
}

/* Called when nothing of the engine uses them any more. */
static void free_parts(void *context)
{
    struct controller *controller = context;

    lease_free(TAKE(controller->lease));
    notifier_free(TAKE(controller->notifier));
    events_free(TAKE(controller->events));
    kube_client_free(TAKE(controller->client));
}

static struct error *make_client(struct controller *controller)
{
    struct engine *engine = &controller->engine;
    struct error *error = kube_config_load(controller->settings->kubeconfig, &controller->config);

    if (error)
        return error;
    struct kube_client_options options = {
        .loop = &engine->loop,
        .blobs = engine->blobs,
        .clock = &clock_system,
        .log = engine->log,
        .config = controller->config,
        .may_write = may_write,
        .fence_context = controller,
        .random = engine_random,
    };
    log_info(engine->log, NULL, "the Kubernetes API", "server", controller->config->server,
             "namespace", own_namespace(controller), NULL);
    return kube_client_new(&options, &controller->client);
}

static struct error *name_instance(struct controller *controller)
{
    char host[256] = "";
    const char *name = controller->settings->pod_name;

    if (!name)
        name = gethostname(host, sizeof(host) - 1) == 0 ? host : "unknown";
    controller->instance = strdup(name);
    return controller->instance ? NULL : error_out_of_memory();
}

static struct error *make_tellers(struct controller *controller)
{
    struct engine *engine = &controller->engine;
    const char *address = controller->settings->events_addr;
    struct events_options events = {
        .loop = &engine->loop,
        .clock = &clock_system,
        .log = engine->log,
        .client = controller->client,
        .controller = "source.flux.oddkin.co/" NAME,
        .instance = controller->instance,
    };
    struct notifier_options notifications = {
        .loop = &engine->loop,
        .blobs = engine->blobs,
        .clock = &clock_system,
        .log = engine->log,
        .address = address,
        .controller = NAME,
        .instance = controller->instance,
    };

    controller->events = events_new(&events);
    if (!controller->events)
        return error_out_of_memory();
    return address && *address ? notifier_new(&notifications, &controller->notifier) : NULL;
}

static struct error *not_shorter(const char *flag, int64_t value_ms, const char *than,
                                 int64_t than_ms)
{
    char value[TIME_TEXT_SIZE];
    char limit[TIME_TEXT_SIZE];

    duration_format(value_ms, value);
    duration_format(than_ms, limit);
    return error_new(ERROR_CONFIGURATION, "Usage",
                     "--leader-election-%s: %s is not shorter than --leader-election-%s, %s", flag,
                     value, than, limit);
}

/* A leader must have given up before others take over, and have tried again before it does. */
static struct error *check_lease(const struct settings *settings)
{
    if (!settings->leader_election)
        return NULL;
    if (settings->lease_renew_deadline_ms >= settings->lease_duration_ms)
        return not_shorter("renew-deadline", settings->lease_renew_deadline_ms, "lease-duration",
                           settings->lease_duration_ms);
    if (settings->lease_retry_ms >= settings->lease_renew_deadline_ms)
        return not_shorter("retry-period", settings->lease_retry_ms, "renew-deadline",
                           settings->lease_renew_deadline_ms);
    return NULL;
}

/* Shards have a lease each. */
static char *lease_name(const struct settings *settings)
{
    char hex[SHA256_HEX_SIZE];

    if (!settings->watch_label_selector)
        return strdup(LEASE_NAME);
    sha256_hex(settings->watch_label_selector, strlen(settings->watch_label_selector), hex);
    return format_string(LEASE_NAME "-%.*s", SELECTOR_DIGITS, hex);
}

/* A restarted container of the same pod is another holder. */
static char *lease_identity(const struct controller *controller)
{
    return format_string("%s_%016llx", controller->instance,
                         (unsigned long long)engine_random(NULL));
}

static struct error *make_lease(struct controller *controller)
{
    const struct settings *settings = controller->settings;
    _cleanup_(free) char *name = lease_name(settings);
    _cleanup_(free) char *identity = lease_identity(controller);

    if (!settings->leader_election) {
        controller->engine.leading = true;
        return NULL;
    }
    if (!name || !identity)
        return error_out_of_memory();
    struct lease_options options = {
        .loop = &controller->engine.loop,
        .clock = &clock_system,
        .log = controller->engine.log,
        .client = controller->client,
        .namespace_name = own_namespace(controller),
        .name = name,
        .identity = identity,
        .duration_ms = settings->lease_duration_ms,
        .renew_deadline_ms = settings->lease_renew_deadline_ms,
        .retry_ms = settings->lease_retry_ms,
        .random = engine_random,
        .acquired = acquired,
        .lost = lost,
        .context = controller,
    };
    controller->lease = lease_new(&options);
    return controller->lease ? NULL : error_out_of_memory();
}

static struct error *open_catalog(struct controller *controller, struct catalog **catalog)
{
    const struct settings *settings = controller->settings;
    struct kube_catalog_options options = {
        .loop = &controller->engine.loop,
        .log = controller->engine.log,
        .clock = &clock_system,
        .client = controller->client,
        .events = controller->events,
        .notifier = controller->notifier,
        .namespace_name = own_namespace(controller),
        .all_namespaces = settings->watch_all_namespaces,
        .label_selector = settings->watch_label_selector,
        .configs_label_selector = settings->watch_configs_label_selector,
        .random = engine_random,
    };

    *catalog = kube_catalog_new(&options);
    return *catalog ? NULL : error_out_of_memory();
}

static struct error *run(struct controller *controller)
{
    struct engine *engine = &controller->engine;
    struct catalog *catalog = NULL;
    struct error *error = engine_init(engine, controller->settings);

    engine->stopped = stopped;
    engine->free_parts = free_parts;
    engine->may_write = may_write;
    engine->context = controller;
    if (!error)
        error = name_instance(controller);
    if (!error)
        error = make_client(controller);
    if (!error)
        error = make_tellers(controller);
    if (!error)
        error = make_lease(controller);
    if (!error)
        error = open_catalog(controller, &catalog);
    if (!error)
        error = engine_start(engine, catalog);
    if (!error && controller->lease)
        error = lease_start(controller->lease);
    if (!error)
        engine_run(engine);
    return error;
}

int cmd_controller(int argc, char **argv)
{
    struct settings settings;
    struct controller controller = {.settings = &settings};
    int exit_code = 0;
    struct error *error = settings_read(argc, argv, COMMAND_CONTROLLER, &settings);

    if (!error && settings.help) {
        print_help();
        settings_free(&settings);
        return 0;
    }
    if (!error && settings.path_count > 0)
        error = error_new(ERROR_CONFIGURATION, "Usage", "unexpected argument '%s'; see --help",
                          settings.paths[0]);
    if (!error)
        error = check_lease(&settings);
    if (!error) {
        error = run(&controller);
        exit_code = controller.lost || controller.engine.failed ? 1 : 0;
        engine_free(&controller.engine);
        kube_config_free(controller.config);
        free(controller.instance);
    }
    if (error) {
        exit_code = error->kind == ERROR_CONFIGURATION ? 2 : 1;
        fprintf(stderr, "sluice controller: %s\n", error->message);
        error_free(error);
    }
    settings_free(&settings);
    return exit_code;
}

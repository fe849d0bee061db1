/* What the engine serves (artifacts, metrics, health), and what the artifacts' URLs begin with. */
#include <string.h>

#include "base/buffer.h"
#include "cmd/engine.h"
#include "storage/serve.h"

static void answer_health(void *context, const char *path, struct http_answer *answer)
{
    (void)context;
    if (strcmp(path, "/healthz") != 0)
        return;
    answer->status = 200;
    buffer_append_string(&answer->text, "ok\n");
}

static void answer_ready(void *context, const char *path, struct http_answer *answer)
{
    struct engine *engine = context;
    bool ready = atomic_load(&engine->ready);

    if (strcmp(path, "/readyz") != 0)
        return;
    answer->status = ready ? 200 : 503;
    buffer_append_string(&answer->text, ready ? "ok\n" : "starting\n");
}

static void answer_metrics(void *context, const char *path, struct http_answer *answer)
{
    struct engine *engine = context;

    if (strcmp(path, "/metrics") != 0)
        return;
    answer->status = 200;
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(engine->metrics, &answer->text);
}

static struct error *start_server(struct engine *engine, enum engine_server which, const char *what,
                                  const char *address, const struct http_route *routes,
                                  size_t count)
{
    if (strcmp(address, "0") == 0)
        return NULL;
    struct error *error = http_server_start(address, routes, count, &engine->servers[which]);
    if (error)
        return error_wrap(error, "--%s-addr", what);
    const char *bound = http_server_address(engine->servers[which]);
    log_info(engine->log, NULL, "server listens", "server", what, "address", bound, NULL);
    return egress_floor_add_listener(engine->floor, bound);
}

struct error *engine_start_servers(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    const struct http_route artifacts[] = {{"/artifacts/", storage_serve, engine->storage}};
    const struct http_route metrics[] = {{"/metrics", answer_metrics, engine}};
    const struct http_route health[] = {{"/healthz", answer_health, engine},
                                        {"/readyz", answer_ready, engine}};
    struct error *error =
        start_server(engine, ENGINE_ARTIFACTS, "storage", settings->storage_addr, artifacts, 1);

    if (!error)
        error = start_server(engine, ENGINE_METRICS, "metrics", settings->metrics_addr, metrics, 1);
    if (!error)
        error = start_server(engine, ENGINE_HEALTH, "health", settings->health_addr, health, 2);
    return error;
}

/* The Service's name in the cluster; before it the pod's, where each pod has artifacts of its own.
 */
static char *service_url(const struct settings *settings)
{
    bool own = !settings->storage_shared && settings->pod_name;
    const char *port = strrchr(settings->storage_addr, ':');

    return format_string("http://%s%s%s.%s.svc.cluster.local%s", own ? settings->pod_name : "",
                         own ? "." : "", settings->service_name,
                         settings->pod_namespace ? settings->pod_namespace : "default",
                         port && strcmp(port, ":80") != 0 ? port : "");
}

/* Where consumers find artifacts: as advertised, or where the server really listens or would
 * listen. */
struct error *engine_name_base_url(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    const char *address = settings->storage_adv_addr;

    if (!address && settings->service_name) {
        engine->artifact_base_url = service_url(settings);
        return engine->artifact_base_url ? NULL : error_out_of_memory();
    }

    if (!address && engine->servers[ENGINE_ARTIFACTS])
        address = http_server_address(engine->servers[ENGINE_ARTIFACTS]);
    if (!address)
        address = settings->storage_addr;
    if (strcmp(address, "0") == 0)
        address = "localhost";
    engine->artifact_base_url =
        format_string("http://%s%s", address[0] == ':' ? "127.0.0.1" : "", address);
    return engine->artifact_base_url ? NULL : error_out_of_memory();
}

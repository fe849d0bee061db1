/*
 * The client's places and what its requests have in common. The one idea: the queue is here and not
 * in the HTTP client, so that the fence is asked at the moment of sending, and requests stuck on a
 * connection given up do not stand in the way of a lease's.
 */
#include "kube/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buffer.h"
#include "kube/client_state.h"

#define WATCHES_MAX 256
#define LEASES_MAX 16 /* requests that wait for no place */

static void give_places(uv_timer_t *timer)
{
    struct kube_client *client = timer->data;

    /* Not for ever: one that the fence refuses takes no place, and its owner may send another. */
    for (unsigned i = 0; i < KUBE_REQUESTS_MAX && client->running < KUBE_REQUESTS_MAX; i++) {
        struct call *call = call_next(client);

        if (!call)
            return;
        call_run(call);
    }
    if (client->running < KUBE_REQUESTS_MAX)
        client_turn_soon(client);
}

void client_turn_soon(struct kube_client *client)
{
    if (!client->closing)
        uv_timer_start(&client->turn, give_places, 0, 0);
}

/* What it is and what it is on, as Go clients say it; before the slash is what the API server takes
 * for the field manager where none is named. */
static char *user_agent(void)
{
    struct utsname machine = {0};

    uname(&machine);
    return format_string("sluice/v%s (linux/%s)", SLUICE_VERSION,
                         machine.machine[0] ? machine.machine : "unknown");
}

static void client_destroy(struct kube_client *client)
{
    channel_retire(&client->channel, client->channel);
    http_client_free(client->watches);
    token_free(&client->token);
    kube_config_free(client->own_config);
    free((char *)client->http.user_agent);
    free(client);
}

CLEANUP_DEFINE(client, struct kube_client *, client_destroy)

static struct error *set_up(struct kube_client *client, const struct kube_client_options *options)
{
    struct http_client_options watches;
    struct error *error;

    client->options = *options;
    client->own_config = kube_config_copy(options->config);
    if (!client->own_config)
        return error_out_of_memory();
    client->options.config = client->own_config;
    client->http = (struct http_client_options){
        .loop = options->loop,
        .blobs = options->blobs,
        .clock = options->clock,
        .user_agent = user_agent(),
        .max_requests = KUBE_REQUESTS_MAX + LEASES_MAX,
        .max_requests_per_host = KUBE_REQUESTS_MAX + LEASES_MAX,
    };
    if (!client->http.user_agent)
        return error_out_of_memory();
    error = token_init(&client->token, client->own_config->token, client->own_config->token_file);
    if (error)
        return error;
    watches = client->http;
    watches.max_requests = WATCHES_MAX;
    watches.max_requests_per_host = WATCHES_MAX;
    return http_client_new(&watches, &client->watches);
}

struct error *kube_client_new(const struct kube_client_options *options,
                              struct kube_client **client)
{
    _cleanup_(client) struct kube_client *created = calloc(1, sizeof(*created));
    struct error *error;

    if (!created)
        return error_out_of_memory();
    TAILQ_INIT(&created->waiting);
    error = set_up(created, options);
    if (error)
        return error;
    uv_timer_init(options->loop, &created->turn);
    created->turn.data = created;
    *client = TAKE(created);
    return NULL;
}

static void on_turn_closed(uv_handle_t *handle)
{
    client_destroy(handle->data);
}

void client_gone(struct kube_client *client)
{
    client->alive--;
    if (client->closing && client->alive == 0)
        uv_close((uv_handle_t *)&client->turn, on_turn_closed);
}

void kube_client_free(struct kube_client *client)
{
    if (!client)
        return;
    client->closing = true;
    if (client->alive == 0)
        uv_close((uv_handle_t *)&client->turn, on_turn_closed);
}

struct error *client_prepare(struct kube_client *client, const char *accept,
                             const char *content_type, struct http_header *headers,
                             struct http_request *request)
{
    const struct kube_config *config = client->own_config;
    const char *authorization =
        token_header(&client->token, client->options.clock, client->options.log);
    size_t count = 0;

    if (config->token_file && !authorization)
        return error_new(ERROR_TRANSIENT, "APIServerError",
                         "no token for the Kubernetes API: %s cannot be read", config->token_file);
    headers[count++] = (struct http_header){"Accept", accept ? accept : KUBE_JSON, false};
    if (content_type)
        headers[count++] = (struct http_header){"Content-Type", content_type, false};
    if (authorization)
        headers[count++] = (struct http_header){"Authorization", authorization, true};
    *request = (struct http_request){
        .headers = headers,
        .header_count = count,
        .tls = {.ca_bundle = config->ca_bundle,
                .ca_name = config->ca_name ? config->ca_name : "the kubeconfig",
                .client_certificate = config->client_certificate,
                .client_key = config->client_key,
                .insecure_skip_verify = config->insecure_skip_verify},
        .connect_timeout_ms = KUBE_CONNECT_TIMEOUT_MS,
        .max_body = KUBE_BODY_MAX,
    };
    return NULL;
}

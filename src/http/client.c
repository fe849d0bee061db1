/*
 * The client's public door. The one idea: sending only queues; what may run is admitted at the next
 * turn of the loop, so that nothing ever happens inside of the caller's call.
 */
#include "http/client.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "http/exchange.h"
#include "http/transfer.h"

static void admit(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    struct ticket *ticket;

    while ((ticket = admission_next(&client->admission)))
        transfer_run(ticket);
}

void client_pump_soon(struct http_client *client)
{
    if (!client->closing)
        uv_timer_start(&client->pump, admit, 0, 0);
}

struct error *http_client_new(const struct http_client_options *options,
                              struct http_client **client)
{
    struct http_client *created = calloc(1, sizeof(*created));
    struct error *error;

    if (!created)
        return error_out_of_memory();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(created);
        return error_new(ERROR_INTERNAL, "FetchFailed", "libcurl cannot be initialised");
    }
    created->options = *options;
    created->options.user_agent =
        strdup(options->user_agent ? options->user_agent : "sluice/" SLUICE_VERSION);
    error = created->options.user_agent ? NULL : error_out_of_memory();
    if (!error)
        error = multi_new(options->loop, options->max_requests, exchange_ended, &created->multi);
    if (!error)
        error = resolver_new(options->loop, options->clock, &created->resolver);
    if (error) {
        multi_free(created->multi);
        free((char *)created->options.user_agent);
        free(created);
        curl_global_cleanup();
        return error;
    }
    admission_init(&created->admission, options->max_requests, options->max_requests_per_host);
    uv_timer_init(options->loop, &created->pump);
    created->pump.data = created;
    *client = created;
    return NULL;
}

static void on_pump_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;

    free((char *)client->options.user_agent);
    free(client);
    curl_global_cleanup();
}

static void tear_down(struct http_client *client)
{
    multi_free(client->multi);
    resolver_free(client->resolver);
    uv_close((uv_handle_t *)&client->pump, on_pump_closed);
}

void client_transfer_gone(struct http_client *client)
{
    client->transfers--;
    if (client->closing && client->transfers == 0)
        tear_down(client);
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    client->closing = true;
    if (client->transfers == 0)
        tear_down(client);
}

struct error *http_client_send(struct http_client *client, const struct http_request *request,
                               http_done done, void *context, struct operation **operation)
{
    struct transfer *transfer = NULL;
    struct error *error = transfer_new(client, request, done, context, &transfer);

    if (!error)
        error = transfer_queue(transfer);
    if (error)
        return error;
    *operation = transfer_operation(transfer);
    return NULL;
}

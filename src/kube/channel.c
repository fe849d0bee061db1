/* See channel.h. */
#include "kube/channel.h"

#include <stdlib.h>

static void free_if_unused(struct channel *channel)
{
    if (!channel->retired || channel->attempts > 0)
        return;
    http_client_free(channel->http);
    free(channel);
}

struct error *channel_hold(struct channel **current, const struct http_client_options *options,
                           struct channel **channel)
{
    if (!*current) {
        struct channel *created = calloc(1, sizeof(*created));
        struct error *error;

        if (!created)
            return error_out_of_memory();
        error = http_client_new(options, &created->http);
        if (error) {
            free(created);
            return error;
        }
        *current = created;
    }
    (*current)->attempts++;
    *channel = *current;
    return NULL;
}

void channel_release(struct channel *channel)
{
    channel->attempts--;
    free_if_unused(channel);
}

void channel_retire(struct channel **current, struct channel *channel)
{
    if (!channel || *current != channel)
        return;
    *current = NULL;
    channel->retired = true;
    free_if_unused(channel);
}

/*
 * The list of a reflector: page after page of one snapshot, without a resourceVersion, so that it
 * is the newest and `limit` counts (the API server ignores it with resourceVersion=0).
 *
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
 */
#include "base/json.h"
#include "kube/reflector_state.h"

static void page_done(void *context, struct error *error, const struct kube_response *response);

/* `continuation`: the server's token for the page; NULL for the first. */
static struct error *ask(struct reflector *reflector, const char *continuation)
{
    _cleanup_(buffer) struct buffer path = BUFFER_INIT;

    buffer_appendf(&path, "%s?limit=%d%s", reflector->path, REFLECTOR_PAGE, reflector->selector);
    if (continuation) {
        buffer_append_string(&path, "&continue=");
        reflector_escape(&path, continuation);
    }
    struct error *error = buffer_error(&path);
    if (error)
        return error;
    log_debug(reflector->options.log, NULL, "asking for a page of a list", "collection",
              reflector->path, NULL);
    const struct kube_request request = {
        .method = "GET",
        .path = buffer_string(&path),
        .accept = reflector->options.metadata_only ? KUBE_METADATA_LIST : KUBE_JSON,
        .patience_ms = -1, /* what fails is told at once, and tried again by our own backoff */
    };
    return kube_client_send(reflector->options.client, &request, page_done, reflector,
                            &reflector->operation);
}

struct error *reflector_list_begin(struct reflector *reflector)
{
    reflector_store_list_begin(&reflector->store);
    return ask(reflector, NULL);
}

/* All pages are there. */
static void complete(struct reflector *reflector, const char *version)
{
    struct error *error =
        version ? reflector_store_list_end(&reflector->store, version)
                : error_new(ERROR_TRANSIENT, "InvalidObject", "a list without resourceVersion");

    if (error) {
        reflector_fail(reflector, REFLECTOR_LIST, error);
        return;
    }
    reflector_sweep_soon(reflector);
    bool first = !reflector->synced;
    reflector->synced = true;
    reflector->silences = 0;
    reflector_go(reflector, REFLECTOR_WATCH);
    if (first && reflector->store.listener.synced)
        reflector->store.listener.synced(reflector->store.listener.context);
}

static void page_done(void *context, struct error *error, const struct kube_response *response)
{
    struct reflector *reflector = context;

    reflector->operation = NULL;
    if (error) {
        reflector_fail(reflector, REFLECTOR_LIST, error);
        return;
    }
    if (response->reason != KUBE_OK) {
        error = kube_response_error(response, "list");
        if (response->reason == KUBE_EXPIRED || response->reason == KUBE_VERSION_TOO_LARGE)
            reflector_start_over(reflector, error);
        else
            reflector_fail(reflector, REFLECTOR_LIST, error);
        return;
    }
    const json_t *metadata = json_object_get(response->object, "metadata");
    const char *continuation = json_get_string(metadata, "continue");
    error = reflector_store_list_page(&reflector->store, response->object);
    if (!error && continuation && *continuation)
        error = ask(reflector, continuation);
    else if (!error)
        complete(reflector, json_get_string(metadata, "resourceVersion"));
    if (error)
        reflector_fail(reflector, REFLECTOR_LIST, error);
}

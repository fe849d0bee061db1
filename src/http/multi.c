/*
 * curl's multi interface on libuv. The one idea: curl is driven by three events only (a socket is
 * ready, the time it asked for has come, a handle was added, which is the same as "time 0"), and
 * each of them ends with collecting what has finished, outside of curl, where everything may be
 * called again.
 */
#include "http/multi.h"

#include <stdbool.h>
#include <stdlib.h>

#define SPARE_HANDLES 32

struct multi {
    CURLM *curl;
    uv_loop_t *loop;
    uv_timer_t timer;
    multi_done done;
    unsigned open_handles; /* of libuv: the timer and the watches */
    bool closing;
    unsigned spare_count;
    CURL *spare[SPARE_HANDLES];
};

/* One socket that curl wants watched. */
struct watch {
    uv_poll_t poll;
    struct multi *multi;
    curl_socket_t socket;
};

static void handle_gone(struct multi *multi)
{
    if (--multi->open_handles == 0)
        free(multi);
}

static void collect(struct multi *multi)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi->curl, &left))) {
        CURLcode code = message->data.result;
        char *private = NULL;

        /* The message dies when the receiver removes the handle. */
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        multi->done(private, code);
    }
}

static void on_time(uv_timer_t *timer)
{
    struct multi *multi = timer->data;
    int running;

    curl_multi_socket_action(multi->curl, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(multi);
}

static int want_time(CURLM *curl, long timeout_ms, void *context)
{
    struct multi *multi = context;

    (void)curl;
    if (multi->closing)
        return 0;
    if (timeout_ms < 0)
        uv_timer_stop(&multi->timer);
    else
        uv_timer_start(&multi->timer, on_time, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct multi *multi = watch->multi;
    int flags = 0;
    int running;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(multi->curl, watch->socket, flags, &running);
    collect(multi);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;

    handle_gone(watch->multi);
    free(watch);
}

static struct watch *watch_new(struct multi *multi, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return NULL;
    if (uv_poll_init_socket(multi->loop, &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->multi = multi;
    watch->socket = socket;
    multi->open_handles++;
    curl_multi_assign(multi->curl, socket, watch);
    return watch;
}

static int want_socket(CURL *easy, curl_socket_t socket, int what, void *context,
                       void *socket_context)
{
    struct multi *multi = context;
    struct watch *watch = socket_context;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            curl_multi_assign(multi->curl, socket, NULL);
            uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
        }
        return 0;
    }
    /* A failure told to curl would end its whole multi handle; a socket that nobody watches only
     * runs into its own request's deadline. */
    if (!watch)
        watch = watch_new(multi, socket);
    if (!watch)
        return 0;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&watch->poll, events, on_ready);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

struct error *multi_new(uv_loop_t *loop, unsigned connections, multi_done done,
                        struct multi **multi)
{
    struct multi *created = calloc(1, sizeof(*created));

    if (!created)
        return error_out_of_memory();
    created->curl = curl_multi_init();
    if (!created->curl) {
        free(created);
        return error_out_of_memory();
    }
    created->loop = loop;
    created->done = done;
    uv_timer_init(loop, &created->timer);
    created->timer.data = created;
    created->open_handles = 1;
    curl_multi_setopt(created->curl, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(created->curl, CURLMOPT_SOCKETDATA, created);
    curl_multi_setopt(created->curl, CURLMOPT_TIMERFUNCTION, want_time);
    curl_multi_setopt(created->curl, CURLMOPT_TIMERDATA, created);
    curl_multi_setopt(created->curl, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    /* curl's own default is four times the handles in use: none would be kept between reconciles.
     */
    curl_multi_setopt(created->curl, CURLMOPT_MAXCONNECTS, (long)connections);
    *multi = created;
    return NULL;
}

void multi_free(struct multi *multi)
{
    if (!multi)
        return;
    multi->closing = true;
    while (multi->spare_count > 0)
        curl_easy_cleanup(multi->spare[--multi->spare_count]);
    curl_multi_cleanup(multi->curl);
    uv_close((uv_handle_t *)&multi->timer, on_timer_closed);
}

CURL *multi_acquire(struct multi *multi)
{
    return multi->spare_count > 0 ? multi->spare[--multi->spare_count] : curl_easy_init();
}

/* One that was removed while it waited for a connection still has its buffer, takes no size for it
 * and would fail whoever comes next (curl 7.88). */
static bool is_reusable(CURL *easy)
{
    curl_easy_reset(easy);
    return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CURL_MAX_WRITE_SIZE) == CURLE_OK;
}

void multi_release(struct multi *multi, CURL *easy)
{
    if (multi->spare_count < SPARE_HANDLES && is_reusable(easy))
        multi->spare[multi->spare_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

struct error *multi_add(struct multi *multi, CURL *easy)
{
    CURLMcode code = curl_multi_add_handle(multi->curl, easy);

    if (code == CURLM_OK)
        return NULL;
    if (code == CURLM_OUT_OF_MEMORY)
        return error_out_of_memory();
    return error_new(ERROR_INTERNAL, "FetchFailed", "curl does not take the request: %s",
                     curl_multi_strerror(code));
}

void multi_remove(struct multi *multi, CURL *easy)
{
    curl_multi_remove_handle(multi->curl, easy);
}

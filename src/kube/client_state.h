/* What requests and watches share. Internal to src/kube: client.c owns it. */
#ifndef SLUICE_KUBE_CLIENT_STATE_H
#define SLUICE_KUBE_CLIENT_STATE_H

#include <sys/queue.h>

#include "http/client.h"
#include "kube/channel.h"
#include "kube/client.h"
#include "kube/token.h"

#define KUBE_CONNECT_TIMEOUT_MS 10000
#define KUBE_BODY_MAX (UINT64_C(512) << 20) /* a page of 500 objects of 1 MiB */

struct call;

TAILQ_HEAD(call_queue, call);

struct kube_client {
    struct kube_client_options options; /* `config` is `own_config` */
    struct kube_config *own_config;
    struct token token;
    struct http_client_options http; /* of each channel */
    struct channel *channel;         /* for new attempts; NULL: make one */
    struct http_client *watches;
    struct call_queue waiting; /* for one of the KUBE_REQUESTS_MAX places, in order */
    unsigned running;
    uv_timer_t turn; /* gives places at the next turn of the loop */
    unsigned alive;  /* calls and watches, ended ones too while their handles close */
    bool closing;
};

/* Fills in what every request has in common. `headers` has room for KUBE_HEADERS_MAX. Without a
 * token where there should be one: ERROR_TRANSIENT. */
#define KUBE_HEADERS_MAX 3
struct error *client_prepare(struct kube_client *client, const char *accept,
                             const char *content_type, struct http_header *headers,
                             struct http_request *request) __attribute__((warn_unused_result));

/* Something waits for a place, or one is free. */
void client_turn_soon(struct kube_client *client);

/* A call or a watch is gone, its memory too. */
void client_gone(struct kube_client *client);

/* In call.c: its turn has come; it holds one of the places. */
void call_run(struct call *call);

/* In call.c: the head of the queue, taken out of it; NULL if it is empty. */
struct call *call_next(struct kube_client *client);

#endif

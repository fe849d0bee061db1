/*
 * One request through its hops. Internal to the HTTP client: client.c owns the queue, transfer.c
 * what happens to a request once it is its turn.
 */
#ifndef SLUICE_HTTP_TRANSFER_H
#define SLUICE_HTTP_TRANSFER_H

#include "http/admission.h"
#include "http/client.h"
#include "http/multi.h"
#include "http/resolver.h"

struct http_client {
    struct http_client_options options; /* user_agent is owned */
    struct multi *multi;
    struct resolver *resolver;
    struct admission admission;
    uv_timer_t pump;    /* admits at the next turn of the loop */
    unsigned transfers; /* that exist, ended ones too while their handles close */
    bool closing;
};

struct transfer;

/* Copies `request`; nothing is in flight yet. */
struct error *transfer_new(struct http_client *client, const struct http_request *request,
                           http_done done, void *context, struct transfer **transfer)
    __attribute__((warn_unused_result));

/* Queues a new transfer; on error it is freed. */
struct error *transfer_queue(struct transfer *transfer) __attribute__((warn_unused_result));

/* It is the turn of the transfer with this ticket. */
void transfer_run(struct ticket *ticket);

/* Its `cancel` is the caller's. */
struct operation *transfer_operation(struct transfer *transfer);

/* In client.c: admits at the next turn of the loop whoever may run. */
void client_pump_soon(struct http_client *client);

/* In client.c: a transfer is gone, its memory too. */
void client_transfer_gone(struct http_client *client);

#endif

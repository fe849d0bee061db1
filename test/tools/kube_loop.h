/* What the test programs that talk to a real API server have in common: a loop with a client. */
#ifndef SLUICE_TEST_KUBE_LOOP_H
#define SLUICE_TEST_KUBE_LOOP_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "kube/client.h"

struct kube_loop {
    uv_loop_t loop;
    struct blob_store *blobs;
    struct log *log;
    struct kube_config *config;
    struct kube_client *client;
};

static inline uint64_t kube_loop_random(void *context)
{
    uint64_t bits = 0;

    (void)context;
    if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        abort();
    return bits;
}

/* Ends the program where that fails. */
static inline void kube_loop_open(struct kube_loop *loop, const char *kubeconfig)
{
    struct kube_client_options options = {
        .loop = &loop->loop,
        .clock = &clock_system,
        .random = kube_loop_random,
    };
    struct error *error;

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop->loop);
    options.blobs = loop->blobs = blob_store_new("/tmp", 64 << 20);
    options.log = loop->log = log_new(2, LOG_LEVEL_INFO, LOG_JSON, &clock_system);
    error = kube_config_load(kubeconfig, &loop->config);
    options.config = loop->config;
    if (!error)
        error = kube_client_new(&options, &loop->client);
    if (!error)
        return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/* Runs the loop to its end: all else that is on it must be closed already. 0 where nothing was
 * left. */
static inline int kube_loop_close(struct kube_loop *loop)
{
    int left;

    kube_client_free(loop->client);
    uv_run(&loop->loop, UV_RUN_DEFAULT);
    left = uv_loop_close(&loop->loop);
    kube_config_free(loop->config);
    blob_store_free(loop->blobs);
    log_free(loop->log);
    return left;
}

#endif

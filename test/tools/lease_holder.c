/*
 * lease_holder KUBECONFIG NAMESPACE NAME IDENTITY DURATION_MS DEADLINE_MS RETRY_MS: a program that
 * does what a leader may do, for test/e2e/test_lease.py. It asks lease_held every few milliseconds,
 * as whoever is about to write must, and prints lines of a word and CLOCK_MONOTONIC in ms:
 *
 *     acquired, lost, released    as the lease tells
 *     write                       it was held: here a leader would write
 *     refused                     it was not held any more, the first time it is noticed
 *
 * After a loss it tries again. SIGTERM releases and ends it.
 */
#include "kube_loop.h"

#include <inttypes.h>

#include "kube/lease.h"

#define ASK_MS 10

struct program {
    struct kube_loop kube;
    struct lease *lease;
    uv_timer_t ask;
    uv_signal_t term;
    bool writing;
};

static void print(const char *word)
{
    printf("%s %" PRId64 "\n", word, clock_monotonic_ms(&clock_system));
    fflush(stdout);
}

static void on_ask(uv_timer_t *timer)
{
    struct program *program = timer->data;
    bool held = lease_held(program->lease);

    if (held)
        print("write");
    else if (program->writing)
        print("refused");
    program->writing = held;
}

static void on_acquired(void *context)
{
    (void)context;
    print("acquired");
}

static void on_lost(void *context)
{
    struct program *program = context;

    print("lost");
    if (lease_start(program->lease))
        abort();
}

static void on_released(void *context)
{
    struct program *program = context;

    print("released");
    lease_free(program->lease);
    uv_close((uv_handle_t *)&program->ask, NULL);
    uv_close((uv_handle_t *)&program->term, NULL);
}

static void on_term(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    (void)number;
    uv_signal_stop(handle);
    uv_timer_stop(&program->ask);
    lease_release(program->lease, on_released, program);
}

int main(int argc, char **argv)
{
    struct program program = {0};

    if (argc != 8)
        return 2;
    kube_loop_open(&program.kube, argv[1]);
    const struct lease_options options = {
        .loop = &program.kube.loop,
        .clock = &clock_system,
        .log = program.kube.log,
        .client = program.kube.client,
        .namespace_name = argv[2],
        .name = argv[3],
        .identity = argv[4],
        .duration_ms = strtol(argv[5], NULL, 10),
        .renew_deadline_ms = strtol(argv[6], NULL, 10),
        .retry_ms = strtol(argv[7], NULL, 10),
        .random = kube_loop_random,
        .acquired = on_acquired,
        .lost = on_lost,
        .context = &program,
    };
    program.lease = lease_new(&options);
    if (!program.lease || lease_start(program.lease))
        return 1;
    uv_timer_init(&program.kube.loop, &program.ask);
    program.ask.data = &program;
    uv_timer_start(&program.ask, on_ask, 0, ASK_MS);
    uv_signal_init(&program.kube.loop, &program.term);
    program.term.data = &program;
    uv_signal_start(&program.term, on_term, SIGTERM);
    uv_run(&program.kube.loop, UV_RUN_DEFAULT);
    return kube_loop_close(&program.kube) == 0 ? 0 : 3;
}

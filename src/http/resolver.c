/*
 * The resolver. The one idea: callers wait at a name, not at a look-up. A name is looked up when it
 * has waiters and no fresh answer; an answer goes to all who wait, from the loop and never from
 * inside resolver_look_up, also where it was known already.
 */
#include "http/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buffer.h"

struct waiter {
    struct operation operation; /* first */
    TAILQ_ENTRY(waiter) link;
    struct name *name;
    resolver_done done;
    void *context;
};

enum name_state {
    NAME_QUEUED,  /* in `queued`: to be looked up */
    NAME_RUNNING, /* getaddrinfo has it */
    NAME_READY,   /* in `ready`: answered, its waiters are about to hear */
    NAME_KEPT,    /* in `kept`: answered, nobody waits */
};

struct name {
    struct resolver *resolver;
    char *text;
    enum name_state state;
    TAILQ_ENTRY(name) link; /* in the list of its state */
    TAILQ_HEAD(, waiter) waiters;
    char *addresses; /* the answer; NULL after a failure, then: */
    int failure;     /* uv error code */
    int64_t expires_ms;
    uv_getaddrinfo_t request;
};

TAILQ_HEAD(names, name);

struct resolver {
    uv_loop_t *loop;
    const struct clock *clock;
    uv_timer_t timer; /* delivers `ready` at the next turn of the loop */
    void *tree;       /* struct name by text: all of them */
    struct names queued;
    struct names ready;
    struct names kept; /* the longest kept first */
    unsigned kept_count;
    unsigned running;
    bool closing;
    bool timer_closed;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static void name_free(struct name *name)
{
    free(name->text);
    free(name->addresses);
    free(name);
}

CLEANUP_DEFINE(name, struct name *, name_free)

/* Frees a name that is in no list and has no waiters. */
static void forget(struct name *name)
{
    tdelete(name, &name->resolver->tree, compare);
    name_free(name);
}

static void free_if_done(struct resolver *resolver)
{
    if (!resolver->timer_closed || resolver->running > 0)
        return;
    tdestroy(resolver->tree, (void (*)(void *))name_free);
    free(resolver);
}

static void deliver(uv_timer_t *timer);
static void start_some(struct resolver *resolver);

static void make_ready(struct name *name)
{
    struct resolver *resolver = name->resolver;

    name->state = NAME_READY;
    TAILQ_INSERT_TAIL(&resolver->ready, name, link);
    uv_timer_start(&resolver->timer, deliver, 0, 0);
}

/* Keeps an answered name that nobody waits for, and no more of them than allowed. */
static void keep(struct name *name)
{
    struct resolver *resolver = name->resolver;

    name->state = NAME_KEPT;
    TAILQ_INSERT_TAIL(&resolver->kept, name, link);
    if (++resolver->kept_count <= RESOLVER_NAMES_MAX)
        return;
    name = TAILQ_FIRST(&resolver->kept);
    TAILQ_REMOVE(&resolver->kept, name, link);
    resolver->kept_count--;
    forget(name);
}

static void answer(const struct waiter *waiter)
{
    const struct name *name = waiter->name;

    if (name->addresses)
        waiter->done(waiter->context, NULL, name->addresses);
    else
        waiter->done(waiter->context,
                     error_new(ERROR_TRANSIENT, "FetchFailed", "cannot resolve '%s': %s",
                               name->text, uv_strerror(name->failure)),
                     NULL);
}

static void deliver(uv_timer_t *timer)
{
    struct resolver *resolver = timer->data;
    struct name *name;

    while ((name = TAILQ_FIRST(&resolver->ready))) {
        struct waiter *waiter = TAILQ_FIRST(&name->waiters);

        if (!waiter) {
            TAILQ_REMOVE(&resolver->ready, name, link);
            keep(name);
            continue;
        }
        TAILQ_REMOVE(&name->waiters, waiter, link);
        answer(waiter);
        free(waiter);
    }
}

/* "10.0.0.1,[::1]" in fresh memory; NULL without memory or addresses. */
static char *write_addresses(const struct addrinfo *list)
{
    struct buffer text = BUFFER_INIT;
    char address[INET6_ADDRSTRLEN];
    unsigned count = 0;

    for (; list && count < RESOLVER_ADDRESSES_MAX; list = list->ai_next) {
        bool v6 = list->ai_family == AF_INET6;

        if (!v6 && list->ai_family != AF_INET)
            continue;
        if (uv_ip_name(list->ai_addr, address, sizeof(address)) != 0)
            continue;
        buffer_appendf(&text, v6 ? "%s[%s]" : "%s%s", count > 0 ? "," : "", address);
        count++;
    }
    return buffer_steal(&text);
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct name *name = request->data;
    struct resolver *resolver = name->resolver;
    int64_t now = clock_monotonic_ms(resolver->clock);

    resolver->running--;
    if (resolver->closing) {
        uv_freeaddrinfo(list);
        free_if_done(resolver);
        return;
    }
    name->addresses = status == 0 ? write_addresses(list) : NULL;
    name->failure = status == 0 ? UV_ENOMEM : status;
    name->expires_ms = now + (name->addresses ? RESOLVER_POSITIVE_MS : RESOLVER_NEGATIVE_MS);
    uv_freeaddrinfo(list);
    make_ready(name);
    start_some(resolver);
}

static void start(struct name *name)
{
    static const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct resolver *resolver = name->resolver;
    int status;

    name->request.data = name;
    status = uv_getaddrinfo(resolver->loop, &name->request, on_answer, name->text, NULL, &hints);
    if (status == 0) {
        name->state = NAME_RUNNING;
        resolver->running++;
        return;
    }
    name->failure = status;
    name->expires_ms = clock_monotonic_ms(resolver->clock) + RESOLVER_NEGATIVE_MS;
    make_ready(name);
}

static void start_some(struct resolver *resolver)
{
    struct name *name;

    while (resolver->running < RESOLVER_LOOKUPS_MAX && (name = TAILQ_FIRST(&resolver->queued))) {
        TAILQ_REMOVE(&resolver->queued, name, link);
        start(name);
    }
}

static void queue(struct name *name)
{
    free(TAKE(name->addresses));
    name->state = NAME_QUEUED;
    TAILQ_INSERT_TAIL(&name->resolver->queued, name, link);
    start_some(name->resolver);
}

/* The name as it is known, or a new one that is in no list yet. */
static struct name *name_of(struct resolver *resolver, const char *text, bool *is_new)
{
    _cleanup_(name) struct name *created = calloc(1, sizeof(*created));
    struct name **found;

    if (!created)
        return NULL;
    created->text = strdup(text);
    if (!created->text)
        return NULL;
    found = tsearch(created, &resolver->tree, compare);
    if (!found)
        return NULL;
    *is_new = *found == created;
    if (*is_new) {
        created->resolver = resolver;
        TAILQ_INIT(&created->waiters);
        created = NULL;
    }
    return *found;
}

static void cancel(struct operation *operation)
{
    struct waiter *waiter = (struct waiter *)operation;
    struct name *name = waiter->name;

    TAILQ_REMOVE(&name->waiters, waiter, link);
    free(waiter);
    /* One that is running goes on, for its answer may be asked for again. */
    if (name->state == NAME_QUEUED && TAILQ_EMPTY(&name->waiters)) {
        TAILQ_REMOVE(&name->resolver->queued, name, link);
        forget(name);
    }
}

struct error *resolver_look_up(struct resolver *resolver, const char *text, resolver_done done,
                               void *context, struct operation **operation)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    bool is_new = false;
    struct name *name = waiter ? name_of(resolver, text, &is_new) : NULL;

    if (!name) {
        free(waiter);
        return error_out_of_memory();
    }
    *waiter =
        (struct waiter){.operation = {cancel}, .name = name, .done = done, .context = context};
    TAILQ_INSERT_TAIL(&name->waiters, waiter, link);
    *operation = &waiter->operation;
    if (is_new) {
        queue(name);
    } else if (name->state == NAME_KEPT) {
        TAILQ_REMOVE(&resolver->kept, name, link);
        resolver->kept_count--;
        if (clock_monotonic_ms(resolver->clock) < name->expires_ms)
            make_ready(name);
        else
            queue(name);
    }
    return NULL;
}

bool resolver_is_numeric(const char *host)
{
    uint8_t address[16];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

struct error *resolver_new(uv_loop_t *loop, const struct clock *clock, struct resolver **resolver)
{
    struct resolver *created = calloc(1, sizeof(*created));

    if (!created)
        return error_out_of_memory();
    created->loop = loop;
    created->clock = clock;
    TAILQ_INIT(&created->queued);
    TAILQ_INIT(&created->ready);
    TAILQ_INIT(&created->kept);
    uv_timer_init(loop, &created->timer);
    created->timer.data = created;
    *resolver = created;
    return NULL;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct resolver *resolver = handle->data;

    resolver->timer_closed = true;
    free_if_done(resolver);
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    resolver->closing = true;
    uv_close((uv_handle_t *)&resolver->timer, on_timer_closed);
}

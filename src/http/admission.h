/*
 * Who may run now: at most so many at once, at most so many to one host; the rest wait in order,
 * and nobody waits behind a full host but for that host. Internal to the HTTP client.
 */
#ifndef SLUICE_HTTP_ADMISSION_H
#define SLUICE_HTTP_ADMISSION_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/error.h"

struct admission_host;

/* A place in a queue or among the running; embedded in what runs. Zero is outside of both. */
struct ticket {
    TAILQ_ENTRY(ticket) link;
    struct admission_host *host;
    enum { TICKET_OUT, TICKET_FIRST, TICKET_WAITING, TICKET_PARKED, TICKET_RUNNING } state;
};

TAILQ_HEAD(ticket_queue, ticket);

struct admission {
    unsigned max;
    unsigned max_per_host;
    unsigned running;
    struct ticket_queue first;   /* waited at a full host that has room now, or ran a moment ago */
    struct ticket_queue waiting; /* in the order of coming */
    void *hosts;                 /* tree of struct admission_host by origin: those of all tickets */
};

void admission_init(struct admission *admission, unsigned max, unsigned max_per_host);

/* Queues `ticket`, which is out, for `origin` (copied); `first`: before all who came later. */
struct error *admission_enter(struct admission *admission, struct ticket *ticket,
                              const char *origin, bool first) __attribute__((warn_unused_result));

/* The next ticket that may run, which counts as running from now on; NULL if there is none. */
struct ticket *admission_next(struct admission *admission);

/* Whether the ticket, which is not out, was entered for `origin`. */
bool admission_is_for(const struct ticket *ticket, const char *origin);

/* Takes the ticket out, wherever it is. Where it was running, admission_next may have another. */
void admission_leave(struct admission *admission, struct ticket *ticket);

#endif

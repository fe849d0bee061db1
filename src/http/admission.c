/*
 * Admission. The one idea: a ticket that reaches the head of the queue while its host is full is
 * parked at that host, so the head never blocks; each one that leaves the host lets one parked
 * ticket out again, ahead of everybody who came later. Every step costs the same however many wait.
 */
#include "http/admission.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct admission_host {
    char *origin;
    unsigned tickets; /* that name this host, in any state */
    unsigned running;
    struct ticket_queue parked;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct admission_host *)a)->origin,
                  ((const struct admission_host *)b)->origin);
}

static void host_free(struct admission_host *host)
{
    free(host->origin);
    free(host);
}

CLEANUP_DEFINE(host, struct admission_host *, host_free)

void admission_init(struct admission *admission, unsigned max, unsigned max_per_host)
{
    *admission = (struct admission){.max = max, .max_per_host = max_per_host};
    TAILQ_INIT(&admission->first);
    TAILQ_INIT(&admission->waiting);
}

/* The host of `origin`, made where there is none; NULL without memory. */
static struct admission_host *host_of(struct admission *admission, const char *origin)
{
    _cleanup_(host) struct admission_host *created = calloc(1, sizeof(*created));
    struct admission_host **found;

    if (!created)
        return NULL;
    created->origin = strdup(origin);
    if (!created->origin)
        return NULL;
    found = tsearch(created, &admission->hosts, compare);
    if (!found)
        return NULL;
    if (*found == created) {
        TAILQ_INIT(&created->parked);
        created = NULL;
    }
    return *found;
}

struct error *admission_enter(struct admission *admission, struct ticket *ticket,
                              const char *origin, bool first)
{
    struct admission_host *host = host_of(admission, origin);

    if (!host)
        return error_out_of_memory();
    host->tickets++;
    ticket->host = host;
    ticket->state = first ? TICKET_FIRST : TICKET_WAITING;
    TAILQ_INSERT_TAIL(first ? &admission->first : &admission->waiting, ticket, link);
    return NULL;
}

struct ticket *admission_next(struct admission *admission)
{
    while (admission->running < admission->max) {
        struct ticket *ticket = TAILQ_FIRST(&admission->first);

        if (ticket) {
            TAILQ_REMOVE(&admission->first, ticket, link);
        } else {
            ticket = TAILQ_FIRST(&admission->waiting);
            if (!ticket)
                return NULL;
            TAILQ_REMOVE(&admission->waiting, ticket, link);
        }
        if (ticket->host->running < admission->max_per_host) {
            ticket->state = TICKET_RUNNING;
            ticket->host->running++;
            admission->running++;
            return ticket;
        }
        ticket->state = TICKET_PARKED;
        TAILQ_INSERT_TAIL(&ticket->host->parked, ticket, link);
    }
    return NULL;
}

bool admission_is_for(const struct ticket *ticket, const char *origin)
{
    return strcmp(ticket->host->origin, origin) == 0;
}

static void unpark_one(struct admission *admission, struct admission_host *host)
{
    struct ticket *ticket = TAILQ_FIRST(&host->parked);

    if (!ticket)
        return;
    TAILQ_REMOVE(&host->parked, ticket, link);
    ticket->state = TICKET_FIRST;
    TAILQ_INSERT_TAIL(&admission->first, ticket, link);
}

void admission_leave(struct admission *admission, struct ticket *ticket)
{
    struct admission_host *host = ticket->host;

    switch (ticket->state) {
    case TICKET_OUT:
        return;
    case TICKET_FIRST:
        TAILQ_REMOVE(&admission->first, ticket, link);
        break;
    case TICKET_WAITING:
        TAILQ_REMOVE(&admission->waiting, ticket, link);
        break;
    case TICKET_PARKED:
        TAILQ_REMOVE(&host->parked, ticket, link);
        break;
    case TICKET_RUNNING:
        admission->running--;
        host->running--;
        break;
    }
    /* Also one that was let out and leaves unused passes its place on. */
    if (ticket->state == TICKET_RUNNING || ticket->state == TICKET_FIRST)
        unpark_one(admission, host);
    ticket->state = TICKET_OUT;
    ticket->host = NULL;
    if (--host->tickets == 0) {
        tdelete(host, &admission->hosts, compare);
        host_free(host);
    }
}

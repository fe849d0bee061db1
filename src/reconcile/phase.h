/*
 * One reconcile and its phases. Private to src/reconcile.
 *
 * A step starts at most one operation and returns STEP_WAIT; the operation's completion stores the
 * outcome in the reconcile and enters the same step again, with `returned` true. Every other result
 * ends the phase.
 */
#ifndef SLUICE_RECONCILE_PHASE_H
#define SLUICE_RECONCILE_PHASE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "artifact/artifact.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/operation.h"
#include "reconcile/reconcile.h"

enum step_kind {
    STEP_NEXT,   /* go on with the next phase */
    STEP_WAIT,   /* an operation is in flight */
    STEP_REPORT, /* the work is over: write the status */
    STEP_DONE,   /* nothing is left to do */
    STEP_FAILED, /* `error` says why: write the status */
};

struct step {
    enum step_kind kind;
    struct error *error; /* STEP_FAILED */
};

#define RECONCILE_ID_SIZE 37 /* a UUID and NUL */

struct reconcile {
    const struct reconciler_options *options;
    void (*ended)(void *context, struct reconcile *reconcile);
    void *context;          /* of `ended` */
    struct reconcile *next; /* among those that run */
    struct reconcile *previous;
    char *namespace_name;
    char *name;
    char id[RECONCILE_ID_SIZE];
    struct log_subject subject; /* the three above */
    bool due;                   /* its time has come; else somebody woke it earlier */
    int64_t started_ms;         /* monotonic */

    size_t phase;                /* index into the table */
    int64_t phase_started_ms;    /* monotonic */
    bool returned;               /* the phase's operation has completed */
    struct error *error;         /* its error, until a step takes it */
    struct operation *operation; /* in flight */
    size_t cursor;               /* for phases that work through a list; 0 at their first entry */

    struct source *source;        /* the snapshot */
    struct source_status *status; /* what will be written */
    char *resource_version;       /* of the source, as our writes move it on */

    json_t *objects;                  /* names of Secrets and ConfigMaps that the spec refers to */
    struct sha256 *inputs;            /* of everything but upstream that shapes the artifact */
    char inputs_hex[SHA256_HEX_SIZE]; /* the same, done; "" before */
    bool intact;                      /* storage still holds the published artifact */
    bool repair;                      /* only the ExternalArtifact is to be put right */
    bool not_modified;                /* upstream has nothing new */
    bool unchanged;                   /* what it has makes the same revision */
    struct payload *payload;
    char *token;
    char *revision_label;
    json_t *metadata;
    char revision[SHA256_HEX_SIZE]; /* of the tar */
    struct blob *packed;            /* the tar.gz */
    struct storage_object stored;
    struct artifact_record
        *record;         /* of what was stored; until the publication moves it to status */
    char *previous_path; /* key of the artifact that was current before */
    char **keys;         /* that deletion or collection removes */
    size_t key_count;

    struct error *failure;    /* why the attempt failed; NULL while it goes well */
    char *failure_log;        /* what the hook that failed had logged; or NULL */
    struct error *unreported; /* why nothing of it could be read or written; or NULL */
    bool conflict;      /* the object moved on while we worked: nothing was written, run again */
    bool released;      /* the source is gone, and nothing of ours is left of it */
    bool reported;      /* the outcome stands in the status */
    int64_t requeue_ms; /* delay until the next run; -1 for never */

    uv_timer_t *progress_timer;       /* started with a phase that shows a progress condition */
    struct operation *progress_write; /* the write of that condition, in flight */
    bool progress_written;            /* one was made: the status on record has such a condition */
    bool awaits_progress;             /* the report waits for that write to end */
};

struct phase {
    const char *name;
    struct step (*step)(struct reconcile *reconcile);
    const char *condition; /* shown while the phase lasts longer than half a second; or NULL */
    const char *message;   /* of that condition */
    /* Its transient failures are the catalog's: there is nobody to report them to. */
    bool of_catalog;
};

extern const struct phase phases[];
extern const size_t phase_count;
extern const size_t phase_report; /* index of the phase that writes the status */

/* The steps, in the order of the table; each file is named after what its steps do. */
struct step phase_load(struct reconcile *reconcile);     /* load.c */
struct step phase_withdraw(struct reconcile *reconcile); /* deletion.c */
struct step phase_list_stored(struct reconcile *reconcile);
struct step phase_remove_stored(struct reconcile *reconcile);
struct step phase_release(struct reconcile *reconcile);
struct step phase_suspend(struct reconcile *reconcile); /* admission.c */
struct step phase_finalize(struct reconcile *reconcile);
struct step phase_validate(struct reconcile *reconcile);
struct step phase_declare(struct reconcile *reconcile);
struct step phase_inputs(struct reconcile *reconcile); /* inputs.c */
struct step phase_verify(struct reconcile *reconcile); /* verify.c */
struct step phase_tidy(struct reconcile *reconcile);   /* collect.c */
struct step phase_due(struct reconcile *reconcile);
struct step phase_pre_request(struct reconcile *reconcile); /* hooks.c */
struct step phase_fetch(struct reconcile *reconcile);       /* fetch.c */
struct step phase_post_request(struct reconcile *reconcile);
struct step phase_revision(struct reconcile *reconcile); /* pack.c */
struct step phase_pack(struct reconcile *reconcile);
struct step phase_store(struct reconcile *reconcile);         /* store.c */
struct step phase_publish(struct reconcile *reconcile);       /* publish.c */
struct step phase_report_status(struct reconcile *reconcile); /* report.c */
struct step phase_collect(struct reconcile *reconcile);       /* collect.c */

/* Results of steps. */
struct step step_next(void);
struct step step_report(void);
struct step step_done(void);
struct step step_failed(struct error *error);
/* After starting an operation: STEP_WAIT, or STEP_FAILED if starting it failed. */
struct step step_started(struct error *error);
/* STEP_NEXT, or STEP_FAILED with the error of the operation that returned. */
struct step step_outcome(struct reconcile *reconcile);

/* Makes a reconcile of the source, which begins with reconcile_enter; `ended` is called once, when
 * it has come to its end, and may free it. NULL without memory. */
struct reconcile *reconcile_new(const struct reconciler_options *options,
                                const char *namespace_name, const char *name, bool due,
                                void (*ended)(void *context, struct reconcile *reconcile),
                                void *context);
void reconcile_enter(struct reconcile *reconcile);

/* NULL, or why nothing may be written any more (NotLeader). */
struct error *reconcile_fence(const struct reconcile *reconcile)
    __attribute__((warn_unused_result));

/* How long the phase has lasted. */
double reconcile_phase_seconds(const struct reconcile *reconcile);

/* Cancels what is in flight and frees. */
void reconcile_free(struct reconcile *reconcile);

/* The completion of operations that answer with nothing more than an error; `context` is the
 * reconcile. */
void reconcile_completed(void *context, struct error *error);
/* The same, after a completion of another shape has stored its answer. Enters the step again. */
void reconcile_resume(struct reconcile *reconcile, struct error *error);

/* "artifacts/NAMESPACE/NAME/", and that with "REVISION.tar.gz", in fresh memory; NULL without
 * memory. */
char *artifact_prefix(const struct reconcile *reconcile);
char *artifact_key(const struct reconcile *reconcile);
/* Where the artifact server has that key. */
char *artifact_url(const struct reconcile *reconcile, const char *path);

/* A digest of the inputs and of every module there is: what must change before an attempt that
 * failed by configuration is worth another (inputs.c). `hex` is "" where the inputs are not known.
 */
struct error *attempt_digest(const struct reconcile *reconcile, char hex[SHA256_HEX_SIZE])
    __attribute__((warn_unused_result));

/* Starts listing the source's artifacts into `keys`; starts removing the one at `cursor` and moves
 * it on (stored.c). Both may be cut short: failures to start are STEP_FAILED. */
struct step stored_list(struct reconcile *reconcile);
struct step stored_remove_next(struct reconcile *reconcile);
void stored_forget(struct reconcile *reconcile); /* frees `keys` */

/* Warns of an artifact that is a manifest under a name that kustomize-controller passes over
 * (advice.c). The payload is still there. */
void advise_on_path(const struct reconcile *reconcile);

/* Shows the phase's condition once the phase has lasted half a second (progress.c). */
void progress_begin(struct reconcile *reconcile);
void progress_end(struct reconcile *reconcile);

#endif

/*
 * The table of phases: what a reconcile is, from top to bottom.
 *
 * Each step either lets the next one have its turn, waits for one operation, or ends the attempt.
 * Whatever fails goes to the report, which is the only place that writes an outcome. The order is
 * the promise that design.md makes: stored, then the ExternalArtifact, then our status, then old
 * revisions are collected.
 */
#include "reconcile/phase.h"

#include "source/condition.h"

const struct phase phases[] = {
    {"load", phase_load, NULL, NULL, true},

    {"withdraw", phase_withdraw, NULL, NULL, true},
    {"list-stored", phase_list_stored, NULL, NULL, false},
    {"remove-stored", phase_remove_stored, NULL, NULL, false},
    {"release", phase_release, NULL, NULL, true},

    {"suspend", phase_suspend, NULL, NULL, false},
    {"finalize", phase_finalize, NULL, NULL, true},
    {"validate", phase_validate, NULL, NULL, false},
    {"declare", phase_declare, NULL, NULL, true},
    {"inputs", phase_inputs, NULL, NULL, true},
    {"verify", phase_verify, NULL, NULL, false},
    {"tidy", phase_tidy, NULL, NULL, false},
    {"due", phase_due, NULL, NULL, false},

    {"pre-request", phase_pre_request, CONDITION_EXECUTING_HOOKS, "running pre-request hooks",
     false},
    {"fetch", phase_fetch, CONDITION_FETCHING, "fetching from upstream", false},
    {"post-request", phase_post_request, CONDITION_EXECUTING_HOOKS, "running post-request hooks",
     false},
    {"revision", phase_revision, CONDITION_STORING, "packing the artifact", false},
    {"pack", phase_pack, CONDITION_STORING, "packing the artifact", false},
    {"store", phase_store, CONDITION_STORING, "storing the artifact", false},
    {"publish", phase_publish, NULL, NULL, true},

    {"report", phase_report_status, NULL, NULL, true},
    {"collect", phase_collect, NULL, NULL, false},
};

const size_t phase_count = sizeof(phases) / sizeof(phases[0]);
const size_t phase_report = sizeof(phases) / sizeof(phases[0]) - 2;

struct step step_next(void)
{
    return (struct step){STEP_NEXT, NULL};
}

struct step step_report(void)
{
    return (struct step){STEP_REPORT, NULL};
}

struct step step_done(void)
{
    return (struct step){STEP_DONE, NULL};
}

struct step step_failed(struct error *error)
{
    return (struct step){STEP_FAILED, error};
}

struct step step_started(struct error *error)
{
    return error ? step_failed(error) : (struct step){STEP_WAIT, NULL};
}

struct step step_outcome(struct reconcile *reconcile)
{
    struct error *error = TAKE(reconcile->error);

    return error ? step_failed(error) : step_next();
}

/*
 * Conditions (metav1.Condition), a list keyed by type. lastTransitionTime moves only when the
 * status does; every condition carries the generation that it is about. All but Ready exist only
 * while True.
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
 */
#ifndef SLUICE_SOURCE_CONDITION_H
#define SLUICE_SOURCE_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CONDITION_READY "Ready"
#define CONDITION_RECONCILING "Reconciling"
#define CONDITION_STALLED "Stalled"
#define CONDITION_FETCHING "Fetching"
#define CONDITION_EXECUTING_HOOKS "ExecutingHooks"
#define CONDITION_STORING "Storing"

#define CONDITION_MESSAGE_MAX 1024 /* bytes; longer messages are cut at a UTF-8 boundary */

enum condition_status { CONDITION_FALSE, CONDITION_TRUE, CONDITION_UNKNOWN };

struct condition {
    char *type;
    enum condition_status status;
    char *reason;
    char *message;
    int64_t observed_generation;
    int64_t last_transition_ms;
};

struct condition_list {
    struct condition *items;
    size_t count;
};

const struct condition *condition_find(const struct condition_list *list, const char *type);

/* Sets the condition of `type`. The reason is mended to a valid one (GeneratorFailed where it does
 * not match the API's pattern), the message cut and its control bytes and invalid UTF-8 replaced.
 * True if anything changed. *error is set without memory. */
bool condition_set(struct condition_list *list, const char *type, enum condition_status status,
                   const char *reason, const char *message, int64_t observed_generation,
                   int64_t now_ms, struct error **error);

/* Removes it; true if it was there. */
bool condition_remove(struct condition_list *list, const char *type);

bool condition_is_true(const struct condition_list *list, const char *type);

/* The list as JSON for a status (new reference; NULL without memory), and back. Reading skips what
 * is not a condition: a status is our own, but people edit files. */
json_t *condition_list_to_json(const struct condition_list *list);
struct error *condition_list_from_json(const json_t *json, struct condition_list *list)
    __attribute__((warn_unused_result));

struct error *condition_list_copy(const struct condition_list *from, struct condition_list *to)
    __attribute__((warn_unused_result));
void condition_list_free(struct condition_list *list); /* what it holds */

#endif

/* What a Lease object says, and what we write into it. Internal to the lease. */
#ifndef SLUICE_KUBE_LEASE_RECORD_H
#define SLUICE_KUBE_LEASE_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Who writes, and when. */
struct lease_claim {
    const char *identity;
    int64_t duration_ms;
    int64_t wall_ms;
};

/* A Lease that nobody had, held by the claim's identity. NULL without memory, as all below. */
json_t *lease_record_new(const char *namespace_name, const char *name,
                         const struct lease_claim *claim);

/* `seen` as it reads when the claim's identity acquires it (another time of acquiring, one more
 * transition) or, where it is the holder already, renews it. All else of the object stays, above
 * all its resourceVersion. */
json_t *lease_record_claimed(const json_t *seen, const struct lease_claim *claim);

/* `seen` without a holder, for one second: whoever looks next may take it. */
json_t *lease_record_released(const json_t *seen, int64_t wall_ms);

/* Its holder; "" for none. Borrowed. */
const char *lease_record_holder(const json_t *record);

/* How long its holder may have it after a renewal; `fallback` where it does not say. */
int64_t lease_record_duration_ms(const json_t *record, int64_t fallback);

/* Whether the same object says the same: a change of labels is no renewal. */
bool lease_record_same(const json_t *a, const json_t *b);

#endif

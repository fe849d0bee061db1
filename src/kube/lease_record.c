/* https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/ */
#include "kube/lease_record.h"

#include <string.h>

#include "base/json.h"
#include "kube/wire.h"

static int set_time(json_t *spec, const char *key, int64_t wall_ms)
{
    char text[TIME_TEXT_SIZE];

    micro_time_format(wall_ms, text);
    return json_set_string(spec, key, text);
}

static int set_duration(json_t *spec, int64_t duration_ms)
{
    int64_t seconds = (duration_ms + 999) / 1000;

    return json_object_set_new(spec, "leaseDurationSeconds", json_integer(seconds));
}

json_t *lease_record_new(const char *namespace_name, const char *name,
                         const struct lease_claim *claim)
{
    _cleanup_(json) json_t *record =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:i}}", "apiVersion", "coordination.k8s.io/v1",
                  "kind", "Lease", "metadata", "name", name, "namespace", namespace_name, "spec",
                  "holderIdentity", claim->identity, "leaseTransitions", 0);
    json_t *spec = json_object_get(record, "spec");

    if (set_duration(spec, claim->duration_ms) || set_time(spec, "acquireTime", claim->wall_ms) ||
        set_time(spec, "renewTime", claim->wall_ms))
        return NULL;
    return TAKE(record);
}

/* A deep copy with a spec. */
static json_t *copy_record(const json_t *seen)
{
    _cleanup_(json) json_t *record = json_deep_copy(seen);

    if (!json_is_object(json_object_get(record, "spec")) &&
        json_object_set_new(record, "spec", json_object()))
        return NULL;
    return TAKE(record);
}

json_t *lease_record_claimed(const json_t *seen, const struct lease_claim *claim)
{
    _cleanup_(json) json_t *record = copy_record(seen);
    json_t *spec = json_object_get(record, "spec");
    bool ours = strcmp(lease_record_holder(seen), claim->identity) == 0;

    if (set_duration(spec, claim->duration_ms) || set_time(spec, "renewTime", claim->wall_ms))
        return NULL;
    if (ours)
        return TAKE(record);
    int64_t transitions = json_get_integer(spec, "leaseTransitions", 0);
    if (transitions < 0 || transitions >= INT32_MAX)
        transitions = -1; /* what the API would not hold begins anew */
    if (json_set_string(spec, "holderIdentity", claim->identity) ||
        set_time(spec, "acquireTime", claim->wall_ms) ||
        json_object_set_new(spec, "leaseTransitions", json_integer(transitions + 1)))
        return NULL;
    return TAKE(record);
}

json_t *lease_record_released(const json_t *seen, int64_t wall_ms)
{
    _cleanup_(json) json_t *record = copy_record(seen);
    json_t *spec = json_object_get(record, "spec");

    if (json_set_string(spec, "holderIdentity", "") || set_duration(spec, 1000) ||
        set_time(spec, "acquireTime", wall_ms) || set_time(spec, "renewTime", wall_ms))
        return NULL;
    return TAKE(record);
}

const char *lease_record_holder(const json_t *record)
{
    const char *holder = json_get_string(json_object_get(record, "spec"), "holderIdentity");

    return holder ? holder : "";
}

int64_t lease_record_duration_ms(const json_t *record, int64_t fallback)
{
    int64_t seconds = json_get_integer(json_object_get(record, "spec"), "leaseDurationSeconds", 0);

    return seconds > 0 && seconds <= INT32_MAX ? seconds * 1000 : fallback;
}

bool lease_record_same(const json_t *a, const json_t *b)
{
    json_t *a_uid = json_object_get(json_object_get(a, "metadata"), "uid");
    json_t *b_uid = json_object_get(json_object_get(b, "metadata"), "uid");

    return json_equal(json_object_get(a, "spec"), json_object_get(b, "spec")) &&
           (a_uid == b_uid || json_equal(a_uid, b_uid));
}

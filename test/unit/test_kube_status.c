/* What answers of the API server mean: by cause, by reason, by code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "kube/client.h"

#define CAUSE(name) "{\"details\": {\"causes\": [{}, {\"reason\": \"" name "\"}]}}"
#define REASON(name) "{\"reason\": \"" name "\", \"details\": null}"

struct status_case {
    unsigned code;
    const char *status; /* JSON; NULL for none */
    enum kube_reason reason;
};

static const struct status_case cases[] = {
    {200, NULL, KUBE_OK},
    {201, "{\"kind\": \"ConfigMap\", \"status\": {\"code\": 409}}", KUBE_OK},
    {200, "{\"reason\": \"NotFound\"}", KUBE_OK},
    {404, REASON("NotFound"), KUBE_NOT_FOUND},
    {404, NULL, KUBE_NOT_FOUND},
    {409, REASON("Conflict"), KUBE_CONFLICT},
    {409, REASON("AlreadyExists"), KUBE_ALREADY_EXISTS},
    {409, NULL, KUBE_CONFLICT},
    {409,
     "{\"reason\": \"Conflict\", \"details\": {\"causes\": [{\"reason\": \"FieldManagerConflict\"}]"
     "}}",
     KUBE_MANAGER_CONFLICT},
    {409, CAUSE("FieldManagerConflict"), KUBE_MANAGER_CONFLICT},
    {410, REASON("Expired"), KUBE_EXPIRED},
    {410, REASON("Gone"), KUBE_EXPIRED},
    {410, NULL, KUBE_EXPIRED},
    {504, CAUSE("ResourceVersionTooLarge"), KUBE_VERSION_TOO_LARGE},
    {504, REASON("Timeout"), KUBE_UNAVAILABLE},
    {500, REASON("ServerTimeout"), KUBE_UNAVAILABLE},
    {500, REASON("InternalError"), KUBE_UNAVAILABLE},
    {500, "{\"message\": \"x: .status.y: field not declared in schema\"}", KUBE_INVALID},
    {503, "{\"message\": \"field not declared in schema\"}", KUBE_UNAVAILABLE},
    {502, NULL, KUBE_UNAVAILABLE},
    {501, NULL, KUBE_OTHER},
    {422, REASON("Invalid"), KUBE_INVALID},
    {422, NULL, KUBE_INVALID},
    {400, REASON("BadRequest"), KUBE_BAD_REQUEST},
    {401, REASON("Unauthorized"), KUBE_UNAUTHORIZED},
    {401, NULL, KUBE_UNAUTHORIZED},
    {403, REASON("Forbidden"), KUBE_FORBIDDEN},
    {403, CAUSE("NamespaceTerminating"), KUBE_TERMINATING},
    {429, REASON("TooManyRequests"), KUBE_THROTTLED},
    {429, NULL, KUBE_THROTTLED},
    {415, REASON("UnsupportedMediaType"), KUBE_OTHER},
    {302, NULL, KUBE_OTHER},
    {403, REASON("SomethingNew"), KUBE_FORBIDDEN},
    {403, "{\"details\": {\"causes\": {\"reason\": \"NamespaceTerminating\"}}}", KUBE_FORBIDDEN},
    {403, "[]", KUBE_FORBIDDEN},
    {403, "{\"reason\": {}, \"message\": [], \"details\": [1], \"code\": \"x\"}", KUBE_FORBIDDEN},
    /* as ERROR events carry it */
    {0, "{\"code\": 410, \"reason\": \"Expired\"}", KUBE_EXPIRED},
    {0, "{\"code\": 410}", KUBE_EXPIRED},
    {0, "{\"code\": 500, \"reason\": \"InternalError\"}", KUBE_UNAVAILABLE},
    {0, "{\"reason\": \"TooManyRequests\"}", KUBE_THROTTLED},
    {0, "{\"status\": \"Success\"}", KUBE_OK},
    {0, "{\"code\": 200}", KUBE_OK},
    {0, "{\"code\": -403}", KUBE_OTHER},
    {0, "{\"code\": 99999999999999}", KUBE_OTHER},
    {0, NULL, KUBE_OTHER},
};

static void a_status_is_classified_by_cause_then_reason_then_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(json) json_t *status = NULL;
        const struct status_case *it = &cases[i];
        enum kube_reason reason;

        if (it->status)
            assert_null(json_parse(it->status, strlen(it->status), &status));
        reason = kube_status_reason(status, it->code);
        if (reason != it->reason)
            fail_msg("%u %s: expected %d, got %d", it->code, it->status ? it->status : "nothing",
                     (int)it->reason, (int)reason);
    }
}

struct error_case {
    enum kube_reason reason;
    enum error_kind kind;
};

static void an_error_says_what_can_be_done(void **state)
{
    static const struct error_case kinds[] = {
        {KUBE_NOT_FOUND, ERROR_TRANSIENT},     {KUBE_CONFLICT, ERROR_CONFLICT},
        {KUBE_ALREADY_EXISTS, ERROR_CONFLICT}, {KUBE_MANAGER_CONFLICT, ERROR_INTERNAL},
        {KUBE_EXPIRED, ERROR_TRANSIENT},       {KUBE_VERSION_TOO_LARGE, ERROR_TRANSIENT},
        {KUBE_INVALID, ERROR_INTERNAL},        {KUBE_BAD_REQUEST, ERROR_INTERNAL},
        {KUBE_UNAUTHORIZED, ERROR_INTERNAL},   {KUBE_FORBIDDEN, ERROR_INTERNAL},
        {KUBE_TERMINATING, ERROR_TRANSIENT},   {KUBE_THROTTLED, ERROR_TRANSIENT},
        {KUBE_UNAVAILABLE, ERROR_TRANSIENT},   {KUBE_OTHER, ERROR_INTERNAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kube_response response = {
            .code = 499, .reason = kinds[i].reason, .message = "why not", .retry_after_ms = 5000};
        _cleanup_(error) struct error *error = kube_response_error(&response, "patch of a/b");

        assert_int_equal(error->kind, kinds[i].kind);
        assert_string_equal(error->reason, "APIServerError");
        assert_int_equal(strncmp(error->message, "patch of a/b: why not", 21), 0);
        assert_int_equal(error->retry_after_ms, kinds[i].kind == ERROR_TRANSIENT ? 5000 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_is_classified_by_cause_then_reason_then_code),
        cmocka_unit_test(an_error_says_what_can_be_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

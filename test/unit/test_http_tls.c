/* TLS: private authorities, and certificates that must not be trusted. */
#include "http_world.h"

static char *read_text(const struct server *server, const char *name)
{
    _cleanup_(free) char *path = path_join(server->directory, name);
    struct buffer text = BUFFER_INIT;

    assert_null(file_read(path, 1 << 20, &text));
    return buffer_steal(&text);
}

static struct outcome fetch_tls(struct world *world, unsigned port, const struct http_tls *tls)
{
    _cleanup_(free) char *url = format_string("https://localhost:%u/ok?token=secret", port);
    struct http_request request = request_to(url);

    request.tls = *tls;
    struct outcome outcome = fetch(world, &request);
    if (outcome.error)
        assert_null(strstr(outcome.error->message, "secret"));
    return outcome;
}

static void a_private_authority_is_trusted_where_it_is_named(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    const struct http_tls tls = {.ca_bundle = bundle};
    struct outcome outcome = fetch_tls(world, world->server->https, &tls);

    if (outcome.error)
        fail_msg("%s", outcome.error->message);
    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
}

static void an_unknown_authority_is_refused_also_while_a_trusted_connection_idles(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    const struct http_tls tls = {.ca_bundle = bundle};
    const struct http_tls none = {0};
    struct outcome outcome = fetch_tls(world, world->server->https, &tls);

    outcome_free(&outcome);
    outcome = fetch_tls(world, world->server->https, &none);
    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "/ok: TLS: the server's certificate is signed by an unknown authority; put the "
                  "authority's certificate (PEM) into a Secret and name it in caBundleSecretRef");
    outcome_free(&outcome);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    const struct http_tls tls = {.ca_bundle = bundle};
    struct outcome outcome = fetch_tls(world, world->server->https_wrong_name, &tls);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "/ok: TLS: the server's certificate is not for the name 'localhost'");
    outcome_free(&outcome);
}

static void an_expired_certificate_is_refused(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    const struct http_tls tls = {.ca_bundle = bundle};
    struct outcome outcome = fetch_tls(world, world->server->https_expired, &tls);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "/ok: TLS: the server's certificate, or one that signed it, has expired");
    outcome_free(&outcome);
}

static void verification_can_be_switched_off(void **state)
{
    struct world *world = *state;
    const struct http_tls tls = {.insecure_skip_verify = true};
    struct outcome outcome = fetch_tls(world, world->server->https_expired, &tls);

    assert_null(outcome.error);
    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
}

static void an_unverified_connection_is_not_reused_by_others(void **state)
{
    struct world *world = *state;
    const struct http_tls unverified = {.insecure_skip_verify = true};
    const struct http_tls none = {0};
    struct outcome outcome = fetch_tls(world, world->server->https, &unverified);

    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
    outcome = fetch_tls(world, world->server->https, &none);
    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed", "unknown authority");
    outcome_free(&outcome);
}

static void a_bundle_that_is_no_pem_is_named(void **state)
{
    struct world *world = *state;
    const struct http_tls tls = {.ca_bundle = "rubbish"};
    struct outcome outcome = fetch_tls(world, world->server->https, &tls);

    assert_failed(
        &outcome, ERROR_TRANSIENT, "FetchFailed",
        "TLS: the CA bundle named by caBundleSecretRef is not a list of PEM certificates");
    outcome_free(&outcome);
}

static void a_client_key_that_cannot_be_used_is_named(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    _cleanup_(free) char *certificate = read_text(world->server, "https.pem");
    const struct http_tls tls = {
        .ca_bundle = bundle, .client_certificate = certificate, .client_key = "rubbish"};
    struct outcome outcome = fetch_tls(world, world->server->https, &tls);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "TLS: the client certificate or its key cannot be used");
    outcome_free(&outcome);
}

static void a_server_without_tls_is_named(void **state)
{
    struct world *world = *state;
    const struct http_tls tls = {0};
    struct outcome outcome = fetch_tls(world, world->server->http, &tls);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed", "/ok: TLS: no secure connection");
    outcome_free(&outcome);
}

static void credentials_do_not_follow_a_redirect_out_of_tls(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *bundle = read_text(world->server, "ca.pem");
    _cleanup_(free) char *url =
        format_string("https://127.0.0.1:%u/redirect?to=http://127.0.0.1:%u/echo",
                      world->server->https, world->server->http);
    const struct http_header header = {"X-Api-Key", "secret", true};
    struct http_request request = request_to(url);

    request.tls.ca_bundle = bundle;
    request.headers = &header;
    request.header_count = 1;
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_null(strstr(outcome.body, "secret"));
    outcome_free(&outcome);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_private_authority_is_trusted_where_it_is_named),
        IN_WORLD(an_unknown_authority_is_refused_also_while_a_trusted_connection_idles),
        IN_WORLD(a_certificate_for_another_name_is_refused),
        IN_WORLD(an_expired_certificate_is_refused),
        IN_WORLD(verification_can_be_switched_off),
        IN_WORLD(an_unverified_connection_is_not_reused_by_others),
        IN_WORLD(a_bundle_that_is_no_pem_is_named),
        IN_WORLD(a_client_key_that_cannot_be_used_is_named),
        IN_WORLD(a_server_without_tls_is_named),
        IN_WORLD(credentials_do_not_follow_a_redirect_out_of_tls),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}

/* http and blobs as generators see them, over a real host and a real upstream: see http_world.h. */
#include "lua_world.h"

#include "http_world.h"

/* A world whose generator "g" has `body`, in which `base` is the upstream's URL; `policy` is the
 * body of an egress policy's allow(request), or NULL. */
static struct lua_world *http_world_of(void **state, const char *body, const char *policy)
{
    const struct server *server = *state;
    _cleanup_(free) char *head =
        format_string("local base = 'http://127.0.0.1:%u'; local second = 'http://127.0.0.1:%u'",
                      server->http, server->http2nd);
    struct lua_module_set *set = modules_with(head, body);

    if (policy) {
        _cleanup_(free) char *text =
            format_string("return { type = 'egress', allow = function(request) %s end }", policy);

        modules_add(set, LUA_POLICY, "p", text);
    }
    return lua_world_new(set);
}

/* The section with `url` of the upstream's origin, to which secrets may go. */
static struct generated generate_at(void **state, struct lua_world *world)
{
    const struct server *server = *state;
    _cleanup_(free) char *config =
        format_string("{\"url\": \"http://127.0.0.1:%u/\"}", server->http);

    return generate(world, config);
}

static void assert_gives(void **state, const char *body, const char *text)
{
    struct lua_world *world = http_world_of(state, body, NULL);
    struct generated generated = generate_at(state, world);

    assert_generated(&generated, text);
    generated_free(&generated);
    lua_world_free(world);
}

/* It fails with this reason, and a message that holds `part`. */
static void assert_fails(void **state, const char *body, const char *policy, enum error_kind kind,
                         const char *reason, const char *part)
{
    struct lua_world *world = http_world_of(state, body, policy);
    struct generated generated = generate_at(state, world);

    if (!generated.error)
        fail_msg("gave %s", generated.text);
    if (generated.error->kind != kind || strcmp(generated.error->reason, reason) != 0 ||
        !strstr(generated.error->message, part))
        fail_msg("%s %s: %s", error_kind_name(generated.error->kind), generated.error->reason,
                 generated.error->message);
    generated_free(&generated);
    lua_world_free(world);
}

static void a_response_has_status_headers_body_and_token(void **state)
{
    assert_gives(state,
                 "local r = http.get { url = base .. '/ok' }\n"
                 "return { data = r.status .. r.headers['x-two'] .. r.token .. #r.body\n"
                 "  .. r.body:read() .. tostring(r.body) }",
                 "200a, b\"v1\"6hello\nblob of 6 bytes");
}

static void a_body_is_a_result_without_passing_through_lua(void **state)
{
    struct lua_world *world = http_world_of(
        state, "return { data = http.get { url = base .. '/chunked?size=20000000' }.body }", NULL);
    struct generated generated = generate_at(state, world);

    assert_null(generated.error);
    assert_int_equal(strlen(generated.text), 20000000);
    generated_free(&generated);
    lua_world_free(world);
}

static void a_blob_is_read_in_parts_and_within_its_limits(void **state)
{
    assert_gives(state,
                 "local b = http.get { url = base .. '/ok' }.body\n"
                 "local function try(...) local ok, e = pcall(b.read, b, ...)\n"
                 "  return ok and '[' .. e .. ']' or e.reason end\n"
                 "return { data = try(1, 3) .. try(4) .. try(6) .. try(100, 5) .. try(0, 0)\n"
                 "  .. try(-1) .. try(0, -1) .. try(2, 1e15) }",
                 "[ell][o\n][][][]InvalidRequestInvalidRequest[llo\n]");
}

static void a_blob_over_four_mebibytes_is_not_read_whole(void **state)
{
    assert_gives(state,
                 "local b = http.get { url = base .. '/chunked?size=5000000' }.body\n"
                 "local ok, e = pcall(b.read, b)\n"
                 "return { data = tostring(ok) .. e.reason .. #b:read(0) .. ' ' .. #b:read(4194304)"
                 " .. ' ' .. #b:read(0, 5000000) }",
                 "falseOutputLimit4194304 805696 4194304");
}

static void a_status_is_an_error_unless_it_is_expected(void **state)
{
    static const struct {
        const char *code;
        enum error_kind kind;
        const char *reason;
    } cases[] = {
        {"404", ERROR_UPSTREAM, "NotFound"},    {"410", ERROR_UPSTREAM, "NotFound"},
        {"403", ERROR_UPSTREAM, "HTTPStatus"},  {"429", ERROR_TRANSIENT, "HTTPStatus"},
        {"500", ERROR_TRANSIENT, "HTTPStatus"}, {"503", ERROR_TRANSIENT, "HTTPStatus"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(free) char *body = format_string(
            "return { data = http.get { url = base .. '/status?code=%s' }.body }", cases[i].code);
        _cleanup_(free) char *expecting = format_string(
            "local r = http.get { url = base .. '/status?code=%s', expect = { %s } }\n"
            "return { data = 'got ' .. r.status }",
            cases[i].code, cases[i].code);
        _cleanup_(free) char *got = format_string("got %s", cases[i].code);
        _cleanup_(free) char *answered = format_string("answered %s", cases[i].code);

        assert_fails(state, body, NULL, cases[i].kind, cases[i].reason, answered);
        assert_gives(state, expecting, got);
    }
}

static void the_policy_is_asked_for_each_hop(void **state)
{
    static const char body[] =
        "return { data = http.get { url = base .. '/redirect?to=' .. second .. '/ok' }.body }";

    assert_gives(state, body, "hello\n");
    assert_fails(state, body, "return not request.redirect, 'no redirects'", ERROR_CONFIGURATION,
                 "EgressDenied", "/redirect): denied by policy: no redirects");
    assert_fails(state, body, "return request.path ~= nil, request.method .. request.host",
                 ERROR_CONFIGURATION, "EgressDenied", "denied by policy: GET127.0.0.1");
    assert_fails(state, body, "return request.source.name ~= 'app', request.module",
                 ERROR_CONFIGURATION, "EgressDenied", "denied by policy: g");
}

static void a_denial_names_its_hop_once(void **state)
{
    const struct server *server = *state;
    struct lua_world *world = http_world_of(
        state, "return { data = http.get { url = base .. '/ok?x=1' }.body }", "return false, 'no'");
    _cleanup_(free) char *expected = format_string(
        "generator 'g': GET http://127.0.0.1:%u/ok: denied by policy: no", server->http);

    assert_call_fails(world, "{}", ERROR_CONFIGURATION, "EgressDenied", expected);
    lua_world_free(world);
}

static void networks_that_a_policy_refuses_are_not_reached(void **state)
{
    static const char body[] = "return { data = http.get { url = base .. '/ok' }.body }";

    assert_fails(state, body, "return true, { refuse = { '127.0.0.0/8' } }", ERROR_CONFIGURATION,
                 "EgressDenied", "127.0.0.1");
    assert_fails(state, body, "error('broken', 0)", ERROR_CONFIGURATION, "EgressDenied", "broken");
}

static void a_secret_goes_to_the_origin_of_its_source_only(void **state)
{
    struct lua_world *world = http_world_of(
        state,
        "local h = ctx.secret({ name = 's' }, 'k')\n"
        "local function sent(url) local ok, r = pcall(http.get, { url = url, headers = { ['x-key']"
        " = 'key ' .. h } })\n"
        "  if not ok then return 'refused' end\n"
        "  return r.body:read():find('hunter22', 1, true) and 'sent' or 'kept' end\n"
        "return { data = sent(base .. '/echo') .. ' ' .. sent(second .. '/echo') .. ' '\n"
        "  .. sent(base .. '/redirect?to=' .. second .. '/echo') }",
        NULL);
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    struct generated generated = generate_at(state, world);

    if (generated.error)
        fail_msg("%s", generated.error->message);
    assert_true(strncmp(generated.text, "sent ", 5) == 0);
    assert_null(strstr(generated.text + 5, "sent"));
    generated_free(&generated);
    lua_world_free(world);
}

static void origins_that_the_section_allows_get_secrets_too(void **state)
{
    const struct server *server = *state;
    struct lua_world *world = http_world_of(state,
                                            "local h = ctx.secret({ name = 's' }, 'k')\n"
                                            "return { data = http.get { url = second .. '/echo', "
                                            "auth = { username = 'me', password = h "
                                            "} }.body:read():match('uthorization: ([^\\r\\n]*)') }",
                                            NULL);
    _cleanup_(free) char *config = format_string(
        "{\"url\": \"http://127.0.0.1:%u/\", \"allow_origins\": [\"http://127.0.0.1:%u\"]}",
        server->http, server->http2nd);

    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    assert_call(world, config, "Basic bWU6aHVudGVyMjI=");
    lua_world_free(world);
}

static void what_a_request_may_not_say_is_refused(void **state)
{
    static const struct {
        const char *request;
        const char *reason;
        const char *part;
    } cases[] = {
        {"{ url = 'ftp://127.0.0.1/' }", "InvalidURL", "ftp"},
        {"{ url = 'http://u:p@127.0.0.1/' }", "InvalidURL", ""},
        {"{ url = base, headers = { ['a b'] = 'x' } }", "InvalidHeader", "a b"},
        {"{ url = base, headers = { a = 'x\\r\\ny' } }", "InvalidHeader", "a"},
        {"{ url = base, headers = { a = 'x\\0y' } }", "InvalidHeader",
         "header 'a': its value has a NUL byte"},
        {"{ url = base, method = 'get it' }", "InvalidMethod", ""},
        {"{ url = base, colour = 'red' }", "InvalidRequest", "unknown field 'colour'"},
        {"{ url = base, timeout = 'soon' }", "InvalidRequest", "timeout"},
        {"{ url = base, body = 5 }", "InvalidRequest", "body: found number"},
        {"{ url = 5 }", "InvalidRequest", "url: found number"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(free) char *body =
            format_string("return { data = http.request(%s).body }", cases[i].request);

        assert_fails(state, body, NULL, ERROR_CONFIGURATION, cases[i].reason, cases[i].part);
    }
}

static void a_body_can_be_text_json_form_or_a_blob(void **state)
{
    assert_gives(state,
                 "local function last(r) return r.body:read():match('\\n\\n(.*)$') end\n"
                 "local url = base .. '/echo'\n"
                 "local b = http.get { url = base .. '/ok' }.body\n"
                 "return { data = last(http.post { url = url, body = 'text' })\n"
                 "  .. last(http.post { url = url, json = { a = 1 } })\n"
                 "  .. last(http.post { url = url, form = { b = '2 3', a = 1 } })\n"
                 "  .. last(http.post { url = url, body = b }) }",
                 "text{\"a\":1}a=1&b=2%203hello\n");
}

static void a_call_that_is_cancelled_lets_its_fetch_go(void **state)
{
    struct lua_world *world = http_world_of(
        state, "log.info('asks') return { data = http.get { url = base .. '/hang?begin' }.body }",
        NULL);
    struct generated generated = {0};

    generate_start(world, "{}", &generated);
    wait_for_log(world, "asks");
    for (int i = 0; i < 5; i++)
        uv_run(&world->loop, UV_RUN_ONCE);
    operation_cancel(&generated.operation);
    lua_world_free(world); /* whose loop ends only when no handle is left */
}

static void a_fetch_is_bounded_by_the_time_of_its_call(void **state)
{
    struct lua_world *world = http_world_of(
        state, "return { data = http.get { url = base .. '/hang', timeout = '50ms' }.body }", NULL);
    struct generated generated = generate_at(state, world);

    assert_non_null(generated.error);
    assert_string_equal(generated.error->reason, "Timeout");
    generated_free(&generated);
    lua_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_has_status_headers_body_and_token),
        cmocka_unit_test(a_body_is_a_result_without_passing_through_lua),
        cmocka_unit_test(a_blob_is_read_in_parts_and_within_its_limits),
        cmocka_unit_test(a_blob_over_four_mebibytes_is_not_read_whole),
        cmocka_unit_test(a_status_is_an_error_unless_it_is_expected),
        cmocka_unit_test(the_policy_is_asked_for_each_hop),
        cmocka_unit_test(a_denial_names_its_hop_once),
        cmocka_unit_test(networks_that_a_policy_refuses_are_not_reached),
        cmocka_unit_test(a_secret_goes_to_the_origin_of_its_source_only),
        cmocka_unit_test(origins_that_the_section_allows_get_secrets_too),
        cmocka_unit_test(what_a_request_may_not_say_is_refused),
        cmocka_unit_test(a_body_can_be_text_json_form_or_a_blob),
        cmocka_unit_test(a_call_that_is_cancelled_lets_its_fetch_go),
        cmocka_unit_test(a_fetch_is_bounded_by_the_time_of_its_call),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}

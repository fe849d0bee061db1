/* A reflector and a server that plays a script: everything that the API is known to do, and what it
 * must never do. */
#include "reflector_world.h"

static void a_collection_is_listed_in_pages_and_watched_from_there(void **state)
{
    static const struct act acts[] = {
        {.expect = {"GET /api/v1/configmaps?limit=500 HTTP"},
         .refuse = "resourceVersion",
         .body = PAGE("10", "a+/=&b", OBJECT("a", "u1", "5", "1"))},
        {.expect = {"GET /api/v1/configmaps?limit=500&continue=a%2B%2F%3D%26b HTTP"},
         .refuse = "resourceVersion",
         .body = PAGE("10", "", OBJECT("b", "u2", "6", "1"))},
        {.expect = {"GET /api/v1/configmaps?watch=true", "&allowWatchBookmarks=true",
                    "&timeoutSeconds=300", "&resourceVersion=10"},
         .body = EVENT("ADDED", OBJECT("c", "u3", "11", "1"))
             EVENT("MODIFIED", OBJECT("a", "u1", "12", "2"))
                 EVENT("DELETED", OBJECT("b", "u2", "13", "1")),
         .end = ACT_HANG},
    };

    (void)state;
    PLAY(acts, "+b +a ! +c ~a -b ");
}

static void namespace_and_selector_are_asked_for(void **state)
{
    static const struct act acts[] = {
        {.expect = {"GET /api/v1/namespaces/flux%20system/configmaps?limit=500"
                    "&labelSelector=a%2Fb%20in%20%28c%2Cd%29 HTTP"},
         .body = LIST("10", "")},
        {.expect = {"GET /api/v1/namespaces/flux%20system/configmaps?watch=true",
                    "&labelSelector=a%2Fb%20in%20%28c%2Cd%29"},
         .end = ACT_HANG},
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 2);
    char namespace_name[] = "flux system";
    char selector[] = "a/b in (c,d)";
    world.options.namespace_name = namespace_name;
    world.options.label_selector = selector;
    world_start(&world);
    memset(namespace_name, 'x', strlen(namespace_name));
    memset(selector, 'x', strlen(selector));
    run_until_told(&world, "! ");
    world_close(&world);
}

static void metadata_alone_is_asked_for_and_kept(void **state)
{
    static const struct act acts[] = {
        {.expect = {"Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1\r"},
         .body = LIST("10", "{\"metadata\":{\"namespace\":\"default\",\"name\":\"a\",\"uid\":\"u\","
                            "\"resourceVersion\":\"5\"},\"data\":{\"password\":\"hunter2\"}}")},
        {.expect = {"Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1\r"},
         .end = ACT_HANG},
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 2);
    world.options.metadata_only = true;
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_null(strstr(reflector_find(world.reflector, "default", "a")->text, "hunter2"));
    world_close(&world);
}

static void lines_are_read_however_they_are_torn(void **state)
{
    static const size_t pieces[] = {1, 2, 7, 100};

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            {.expect = {"watch=true"},
             .body = EVENT("ADDED", OBJECT("\xc3\xa9\\u00e9", "u2", "11", "1"))
                 BOOKMARK("12") "\n" EVENT("MODIFIED", OBJECT("a", "u1", "13", "2"))
                     EVENT("DELETED", OBJECT("a", "u1", "14", "2")),
             .torn = pieces[i],
             .end = ACT_HANG},
        };

        PLAY(acts, "+a ! +\xc3\xa9\xc3\xa9 ~a -a ");
    }
}

static void a_watch_that_ends_is_resumed_where_it_was(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"watch=true", "&resourceVersion=10 "},
         .body = EVENT("MODIFIED", OBJECT("a", "u1", "12", "2"))},
        {.expect = {"watch=true", "&resourceVersion=12 "}, .body = BOOKMARK("40")},
        {.expect = {"watch=true", "&resourceVersion=40 "},
         .body = EVENT("MODIFIED", OBJECT("a", "u1", "30", "3")) /* stale */
         EVENT("MODIFIED", OBJECT("a", "u1", "41", "4")),
         .end = ACT_CUT},
        WATCH_HANGS_AT("41"),
    };

    (void)state;
    PLAY(acts, "+a ! ~a ~a ");
}

static void expired_versions_are_listed_again_in_whatever_form_it_is_said(void **state)
{
    static const struct act refusals[] = {
        {.expect = {"watch=true"}, .code = 410, .body = STATUS("410", "Expired")},
        {.expect = {"watch=true"}, .code = 410, .body = "gone"},
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Gone")), .end = ACT_HANG},
        {.expect = {"watch=true"},
         .body = EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"),
         .end = ACT_CUT},
        {.expect = {"watch=true"}, .code = 504, .body = TOO_LARGE},
        {.expect = {"watch=true"}, .body = EVENT("ERROR", TOO_LARGE), .end = ACT_HANG},
        {.expect = {"watch=true"}, .body = BOOKMARK("4"), .end = ACT_HANG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            refusals[i],
            {.expect = {"?limit=500 "},
             .refuse = "resourceVersion",
             .body = LIST("7", OBJECT("b", "u2", "6", "1"))},
            WATCH_HANGS_AT("7"),
        };

        PLAY(acts, "+a ! +b -a ");
    }
}

static void a_list_whose_token_expires_begins_anew(void **state)
{
    static const struct act acts[] = {
        {.expect = {"?limit=500 "}, .body = PAGE("10", "t", OBJECT("phantom", "u1", "5", "1"))},
        {.expect = {"&continue=t "}, .code = 410, .body = STATUS("410", "Expired")},
        {.expect = {"?limit=500 "}, .body = PAGE("20", "t2", OBJECT("a", "u2", "15", "1"))},
        {.expect = {"&continue=t2 "}, .body = LIST("20", OBJECT("b", "u3", "16", "1"))},
        WATCH_HANGS_AT("20"),
    };

    struct world world;

    (void)state;
    world_open(&world, acts, 5);
    world_start(&world);
    run_until_told(&world, "+b +a ! ");
    assert_int_equal(logged(&world, "listing the collection again"), 1);
    assert_int_equal(logged(&world, "cannot follow"), 0);
    world_close(&world);
}

static void another_error_in_a_stream_is_waited_out_and_then_listed(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"&resourceVersion=10 "},
         .body = EVENT("ERROR", STATUS("500", "InternalError")),
         .end = ACT_HANG},
        {.expect = {"&resourceVersion=10 "},
         .body = EVENT("ERROR", STATUS("500", "InternalError")),
         .end = ACT_HANG},
        {.expect = {"?limit=500 "}, .body = LIST("30", ONE)},
        WATCH_HANGS_AT("30"),
    };

    (void)state;
    PLAY(acts, "+a ! ");
}

static void a_throttled_watch_goes_on_from_its_version(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"&resourceVersion=10 "}, .code = 429, .body = STATUS("429", "TooManyRequests")},
        {.expect = {"&resourceVersion=10 "}, .code = 429, .body = STATUS("429", "TooManyRequests")},
        WATCH_HANGS_AT("10"),
    };

    (void)state;
    PLAY(acts, "+a ! ");
}

/* A page with objects of this many bytes each. */
static char *big_page(int count, size_t size)
{
    _cleanup_(buffer) struct buffer items = BUFFER_INIT;
    _cleanup_(free) char *filler = malloc(size + 1);

    memset(filler, 'x', size);
    filler[size] = '\0';
    buffer_append_string(&items, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[");
    for (int i = 0; i < count; i++)
        buffer_appendf(&items,
                       "%s{\"metadata\":{\"namespace\":\"n\",\"name\":\"o%d\",\"uid\":\"u%d\","
                       "\"resourceVersion\":\"5\"},\"data\":\"%s\"}",
                       i ? "," : "", i, i, filler);
    buffer_append_string(&items, "]}");
    return buffer_steal(&items);
}

static void huge_pages_and_lines_are_read(void **state)
{
    _cleanup_(free) char *body = big_page(500, 40000);
    _cleanup_(free) char *filler = calloc(1, 3 << 20);
    memset(filler, 'y', (3 << 20) - 1);
    _cleanup_(free) char *line = format_string(
        "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"namespace\":\"n\",\"name\":\"o7\","
        "\"uid\":\"u7\",\"generation\":2,\"resourceVersion\":\"11\"},\"data\":\"%s\"}}\n",
        filler);
    const struct act acts[] = {
        {.expect = {"?limit=500 "}, .body = body},
        {.expect = {"watch=true"}, .body = line, .end = ACT_HANG},
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 2);
    world_start(&world);
    while (!strstr(buffer_string(&world.told), "~o7"))
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(reflector_count(world.reflector), 500);
    assert_true(reflector_find(world.reflector, "n", "o7")->length > (3 << 20));
    world_close(&world);
}

static json_t *json_of(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);

    assert_non_null(value);
    return value;
}

static void count_object(void *context, const struct reflector_object *object)
{
    assert_non_null(object->text);
    ++*(size_t *)context;
}

static void own_writes_count_at_once_and_events_catch_up(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        WATCH_HANGS_AT("10"),
    };
    struct world world;
    size_t count = 0;

    (void)state;
    world_open(&world, acts, 2);
    world_start(&world);
    assert_false(reflector_synced(world.reflector));
    assert_null(reflector_find(world.reflector, "default", "a"));
    run_until_told(&world, "+a ! ");
    assert_true(reflector_synced(world.reflector));
    const struct reflector_object *before = reflector_find(world.reflector, "default", "a");
    _cleanup_(json) json_t *newer = json_of(OBJECT("a", "u1", "20", "2"));
    assert_null(reflector_put(world.reflector, newer));
    assert_string_equal(reflector_find(world.reflector, "default", "a")->resource_version, "20");
    assert_string_equal(before->resource_version, "5"); /* until the loop turns */
    reflector_each(world.reflector, count_object, &count);
    assert_int_equal(count, 1);
    reflector_drop(world.reflector, "default", "a", "u1");
    assert_int_equal(reflector_count(world.reflector), 0);
    assert_string_equal(buffer_string(&world.told), "+a ! ~a -a ");
    assert_non_null(world.reflector->store.replaced);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_null(world.reflector->store.replaced);
    world_close(&world);
}

/* Answers every change with a change of its own. */
static void meddle(struct world *world, const struct reflector_object *before,
                   const struct reflector_object *now)
{
    if (now && !before && strcmp(now->name, "a") == 0) {
        _cleanup_(json) json_t *newer = json_of(OBJECT("a", "u1", "50", "9"));

        assert_null(reflector_put(world->reflector, newer));
    }
    if (before && !now && strcmp(before->name, "a") == 0) {
        reflector_drop(world->reflector, "default", "b", "u2");
        assert_string_equal(before->uid, "u1");
    }
}

static void a_listener_may_write_while_it_is_told(void **state)
{
    static const struct act acts[] = {
        {.expect = {"?limit=500"}, .body = LIST("10", ONE "," OBJECT("b", "u2", "6", "1"))},
        {.expect = {"watch=true"}, .body = EVENT("DELETED", OBJECT("a", "u1", "60", "9"))},
        WATCH_HANGS_AT("60"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 3);
    world.on_change = meddle;
    world_start(&world);
    run_until_told(&world, "+b +a ~a ! -a -b ");
    assert_int_equal(reflector_count(world.reflector), 0);
    world_close(&world);
}

static void a_reflector_can_be_freed_in_every_state(void **state)
{
    static const struct act acts[] = {
        {.expect = {"?limit=500"}, .body = PAGE("10", "t", ONE), .torn = 20},
        {.expect = {"&continue=t"}, .body = LIST("10", OBJECT("b", "u2", "6", "1"))},
        {.expect = {"watch=true"}, .body = EVENT("DELETED", OBJECT("b", "u2", "11", "1"))},
        {.expect = {"watch=true"}, .code = 410, .body = "gone"},
        {.expect = {"?limit=500"}, .code = 403, .body = "no"},
        {.expect = {"?limit=500"}, .body = LIST("10", ONE)},
        {.expect = {"watch=true"}, .body = "garbage\n"},
        {.expect = {"?limit=500"}, .end = ACT_HANG},
    };
    bool ended = false;

    (void)state;
    for (int turns = 0; !ended; turns++) {
        struct world world;

        world_open(&world, acts, 8);
        world_start(&world);
        for (int i = 0; i < turns && world.script.played < 8; i++)
            uv_run(&world.loop, UV_RUN_ONCE);
        ended = world.script.played == 8;
        world_close(&world);
    }
}

static void synced_comes_once_and_may_free_the_reflector(void **state)
{
    static const struct act acts[] = {LIST_ONE};
    struct world world;

    (void)state;
    world_open(&world, acts, 1);
    world.free_when_synced = true;
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_null(world.reflector);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collection_is_listed_in_pages_and_watched_from_there),
        cmocka_unit_test(namespace_and_selector_are_asked_for),
        cmocka_unit_test(metadata_alone_is_asked_for_and_kept),
        cmocka_unit_test(lines_are_read_however_they_are_torn),
        cmocka_unit_test(a_watch_that_ends_is_resumed_where_it_was),
        cmocka_unit_test(expired_versions_are_listed_again_in_whatever_form_it_is_said),
        cmocka_unit_test(a_list_whose_token_expires_begins_anew),
        cmocka_unit_test(another_error_in_a_stream_is_waited_out_and_then_listed),
        cmocka_unit_test(a_throttled_watch_goes_on_from_its_version),
        cmocka_unit_test(huge_pages_and_lines_are_read),
        cmocka_unit_test(own_writes_count_at_once_and_events_catch_up),
        cmocka_unit_test(a_listener_may_write_while_it_is_told),
        cmocka_unit_test(a_reflector_can_be_freed_in_every_state),
        cmocka_unit_test(synced_comes_once_and_may_free_the_reflector),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A reflector and a server that plays a script: everything that the API is known to do, and what it
 * must never do. */
#include "kube_script.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/json.h"
#include "kube/reflector_state.h"

struct world {
    uv_loop_t loop;
    struct script script;
    struct blob_store *blobs;
    int log_descriptor;
    struct log *log;
    struct kube_client *client;
    struct reflector *reflector;
    struct reflector_options options;
    struct buffer told; /* "+NAME" new, "~NAME" changed, "-NAME" gone, "!" synced; a space each */
    uint64_t draw;      /* what random gives */
    struct clock clock;
    int64_t skipped_ms; /* by which the clock is ahead */
    void (*on_change)(struct world *world, const struct reflector_object *before,
                      const struct reflector_object *now);
    bool free_when_synced;
};

static uint64_t generation_of(void *context, const json_t *object)
{
    (void)context;
    return (uint64_t)json_get_integer(json_object_get(object, "metadata"), "generation", 0);
}

static void note_change(void *context, const struct reflector_object *before,
                        const struct reflector_object *now)
{
    struct world *world = context;

    buffer_appendf(&world->told, "%c%s ",
                   !before ? '+'
                   : now   ? '~'
                           : '-',
                   now ? now->name : before->name);
    if (world->on_change)
        world->on_change(world, before, now);
}

static void note_synced(void *context)
{
    struct world *world = context;

    buffer_append_string(&world->told, "! ");
    if (world->free_when_synced)
        reflector_free(TAKE(world->reflector));
}

static int64_t read_wall(void *context)
{
    (void)context;
    return clock_wall_ms(&clock_system);
}

static int64_t read_monotonic(void *context)
{
    return clock_monotonic_ms(&clock_system) + ((struct world *)context)->skipped_ms;
}

static uint64_t draw(void *context)
{
    return ((struct world *)context)->draw;
}

static void world_open(struct world *world, const struct act *acts, size_t count)
{
    *world = (struct world){.told = BUFFER_INIT};
    assert_int_equal(uv_loop_init(&world->loop), 0);
    script_start(&world->script, &world->loop, acts, count);
    world->blobs = blob_store_new("/tmp", 64 << 20);
    world->log_descriptor = memfd_create("log", MFD_CLOEXEC);
    world->log = log_new(world->log_descriptor, LOG_LEVEL_INFO, LOG_JSON, &clock_system);
    _cleanup_(free) char *server = format_string("http://127.0.0.1:%u", world->script.port);
    struct kube_config config = {.server = server, .namespace_name = (char *)"default"};
    const struct kube_client_options options = {
        .loop = &world->loop,
        .blobs = world->blobs,
        .clock = &clock_system,
        .log = world->log,
        .config = &config,
        .random = draw,
        .random_context = world,
    };
    assert_null(kube_client_new(&options, &world->client));
    world->clock = (struct clock){read_wall, read_monotonic, world};
    world->options = (struct reflector_options){
        .loop = &world->loop,
        .clock = &world->clock,
        .log = world->log,
        .client = world->client,
        .resource = {"/api/v1", "configmaps"},
        .random = draw,
        .random_context = world,
    };
}

static void world_start(struct world *world)
{
    const struct reflector_listener listener = {generation_of, note_change, note_synced, world};

    world->reflector = reflector_new(&world->options, &listener);
    assert_non_null(world->reflector);
    assert_null(reflector_start(world->reflector));
}

static void world_close(struct world *world)
{
    reflector_free(world->reflector);
    kube_client_free(world->client);
    script_stop(&world->script);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    log_free(world->log);
    close(world->log_descriptor);
    blob_store_free(world->blobs);
    buffer_free(&world->told);
}

/* Until the script has been played to its end and this has been told: all of it, in this order. */
static void run_until_told(struct world *world, const char *expected)
{
    while (world->script.played < world->script.count ||
           strlen(buffer_string(&world->told)) < strlen(expected))
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_string_equal(buffer_string(&world->told), expected);
}

static void play(const struct act *acts, size_t count, const char *expected)
{
    struct world world;

    world_open(&world, acts, count);
    world_start(&world);
    run_until_told(&world, expected);
    world_close(&world);
}

#define PLAY(acts, expected) play(acts, sizeof(acts) / sizeof((acts)[0]), expected)

/* How often `part` is in the log. */
static size_t logged(const struct world *world, const char *part)
{
    static char text[1 << 16];
    size_t found = 0;
    ssize_t length = pread(world->log_descriptor, text, sizeof(text) - 1, 0);

    assert_true(length >= 0);
    text[length] = '\0';
    for (const char *at = text; (at = strstr(at, part)); at++)
        found++;
    return found;
}

#define OBJECT(name, uid, version, generation)                                      \
    "{\"metadata\":{\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"" uid \
    "\",\"resourceVersion\":\"" version "\",\"generation\":" generation "}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define BOOKMARK(version)                                                                          \
    EVENT("BOOKMARK", "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"" version "\"}" \
                      "}")
#define LIST(version, items)                                                               \
    "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":" \
    "\"" version "\"},\"items\":[" items "]}"
#define PAGE(version, token, items)                                                        \
    "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":" \
    "\"" version "\",\"continue\":\"" token "\"},\"items\":[" items "]}"
#define STATUS(code, reason)                                                                      \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"scripted\"," \
    "\"reason\":\"" reason "\",\"code\":" code "}"
#define TOO_LARGE                                                                         \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":"      \
    "\"Too large resource version: 10, current: 5\",\"reason\":\"Timeout\",\"code\":504," \
    "\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"\"}]}}"

#define ONE OBJECT("a", "u1", "5", "1")
#define LIST_ONE                                          \
    {                                                     \
        .expect = {"?limit=500"}, .body = LIST("10", ONE) \
    }
#define WATCH_HANGS_AT(version)                                                    \
    {                                                                              \
        .expect = {"watch=true", "&resourceVersion=" version " "}, .end = ACT_HANG \
    }

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

static void a_silent_watch_is_taken_up_on_another_connection_and_then_listed(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        WATCH_HANGS_AT("10"),
        {.expect = {"&resourceVersion=10 "}, .body = BOOKMARK("11"), .end = ACT_HANG},
        WATCH_HANGS_AT("11"),
        {.expect = {"?limit=500 "}, .body = LIST("8", OBJECT("b", "u2", "6", "1"))},
        WATCH_HANGS_AT("8"),
        WATCH_HANGS_AT("8"),
        {.expect = {"?limit=500 "}, .end = ACT_HANG},
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 8);
    world.options.silence_ms = 50;
    world_start(&world);
    run_until_told(&world, "+a ! +b -a ");
    assert_int_equal(logged(&world, "watch is silent"), 5);
    world_close(&world);
}

static void note_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Lets the loop turn for this long. */
static void idle(struct world *world, uint64_t milliseconds)
{
    bool over = false;
    uv_timer_t timer = {.data = &over};

    uv_timer_init(&world->loop, &timer);
    uv_timer_start(&timer, note_timer, milliseconds, 0);
    while (!over)
        uv_run(&world->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&world->loop, UV_RUN_NOWAIT);
}

static void a_slow_list_is_not_taken_for_a_silent_watch(void **state)
{
    static const char *const ends[] = {BOOKMARK("4"), EVENT("ERROR", STATUS("410", "Gone")),
                                       "garbage\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            {.expect = {"watch=true"}, .body = ends[i], .end = ACT_HANG},
            {.expect = {"?limit=500 "}, .end = ACT_HANG},
        };
        struct world world;

        world_open(&world, acts, 3);
        world.options.silence_ms = 20;
        world_start(&world);
        run_until_told(&world, "+a ! ");
        idle(&world, 100);
        assert_int_equal(logged(&world, "watch is silent"), 0);
        world_close(&world);
    }
}

static void a_watch_that_lasted_is_no_failure_though_it_told_nothing(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("500", "InternalError"))},
        WATCH_HANGS_AT("10"),
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 3);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 1);
    world.skipped_ms = 1001;
    world.script.count = 4;
    script_end_all(&world.script);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 1);
    world_close(&world);
}

static void a_watch_that_lasted_long_makes_the_next_failure_a_first_one(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("500", "InternalError"))},
        WATCH_HANGS_AT("10"),
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 3);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    world.skipped_ms = 10001;
    world.script.count = 4;
    script_end_all(&world.script);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 0);
    world_close(&world);
}

static void garbage_in_a_stream_is_mended_by_a_list(void **state)
{
    static const char *const garbage[] = {
        "garbage\n",
        "{\"type\":\"ADDED\",\n",
        "[]\n",
        "7\n",
        "{}\n",
        "{\"type\":7,\"object\":{}}\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":\"BOOKMARK\"}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":\"\"}}\n",
        EVENT("FORGOTTEN", ONE),
        "{\"type\":\"ADDED\",\"object\":\"\xff\"}\n",
        "\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            {.expect = {"&resourceVersion=10 "}, .body = garbage[i], .end = ACT_HANG},
            {.expect = {"?limit=500 "}, .body = LIST("20", OBJECT("b", "u2", "16", "1"))},
            WATCH_HANGS_AT("20"),
        };

        PLAY(acts, "+a ! +b -a ");
    }
}

static void lists_that_make_no_sense_are_tried_again(void **state)
{
    static const char *const bodies[] = {
        "garbage",
        "[]",
        "{}",
        "{\"items\":7}",
        "{\"items\":[{}],\"metadata\":{\"resourceVersion\":\"10\"}}",
        "{\"items\":[]}",
        PAGE("10", "t", "{\"metadata\":{\"name\":7}}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const struct act acts[] = {
            {.expect = {"?limit=500 "}, .body = bodies[i]},
            {.expect = {"?limit=500 "}, .body = LIST("20", ONE)},
            WATCH_HANGS_AT("20"),
        };

        PLAY(acts, "+a ! ");
    }
}

static void odd_json_hides_nothing(void **state)
{
    static const struct act acts[] = {
        {.expect = {"?limit=500 "},
         .body =
             LIST("10", OBJECT("a", "u1", "5",
                               "1,\"x\":{\"\\u0000\":\"\\u0000\",\"n\":100000000000000000000}"))},
        {.expect = {"&resourceVersion=10 "},
         .body = EVENT("ADDED",
                       OBJECT("b", "u2", "11",
                              "1,\"x\":{\"\\u0000\":\"\\u0000\",\"n\":100000000000000000000}")),
         .end = ACT_HANG},
    };

    (void)state;
    PLAY(acts, "+a ! +b ");
}

static void a_watch_that_ends_at_once_with_nothing_does_not_spin(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"&resourceVersion=10 "}, .body = ""},
        {.expect = {"&resourceVersion=10 "}, .body = ""},
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 4);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 2);
    world_close(&world);
}

static void an_expiry_that_lasts_does_not_spin(void **state)
{
    static const struct act acts[] = {
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 8);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 3);
    assert_int_equal(logged(&world, "listing the collection again"), 1);
    world_close(&world);
}

static void failures_wait_twice_as_long_each_and_are_logged_once(void **state)
{
    static const struct act forbidden = {
        .expect = {"?limit=500 "}, .code = 403, .body = STATUS("403", "Forbidden")};
    struct act acts[10];
    struct world world;
    uint64_t ceiling = 1000;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        acts[i] = forbidden;
    acts[8] = (struct act){.expect = {"?limit=500 "}, .body = LIST("10", ONE)};
    acts[9] = (struct act){.expect = {"watch=true"}, .body = BOOKMARK("11"), .end = ACT_HANG};
    world_open(&world, acts, 10);
    world.draw = 239999; /* the longest wait for every ceiling */
    world_start(&world);
    for (unsigned i = 1; i <= 8; i++) {
        while (world.reflector->failures < i)
            uv_run(&world.loop, UV_RUN_ONCE);
        assert_in_range(uv_timer_get_due_in(&world.reflector->timer), world.draw % ceiling - 100,
                        ceiling);
        ceiling = ceiling * 2 < 30000 ? ceiling * 2 : 30000;
        uv_timer_start(&world.reflector->timer, world.reflector->timer.timer_cb, 0, 0);
    }
    run_until_told(&world, "+a ! ");
    while (world.reflector->failures > 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(logged(&world, "cannot follow"), 1);
    assert_int_equal(logged(&world, "following the collection again"), 1);
    world_close(&world);
}

static void a_server_may_ask_for_more_time(void **state)
{
    struct world world;
    struct error *error = error_new(ERROR_TRANSIENT, "APIServerError", "busy");

    (void)state;
    world_open(&world, NULL, 0);
    const struct reflector_listener listener = {generation_of, note_change, note_synced, &world};
    world.reflector = reflector_new(&world.options, &listener);
    error->retry_after_ms = 7000;
    reflector_fail(world.reflector, REFLECTOR_WATCH, error);
    assert_in_range(uv_timer_get_due_in(&world.reflector->timer), 6900, 7100);
    world_close(&world);
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
        cmocka_unit_test(a_silent_watch_is_taken_up_on_another_connection_and_then_listed),
        cmocka_unit_test(a_slow_list_is_not_taken_for_a_silent_watch),
        cmocka_unit_test(a_watch_that_lasted_is_no_failure_though_it_told_nothing),
        cmocka_unit_test(a_watch_that_lasted_long_makes_the_next_failure_a_first_one),
        cmocka_unit_test(garbage_in_a_stream_is_mended_by_a_list),
        cmocka_unit_test(lists_that_make_no_sense_are_tried_again),
        cmocka_unit_test(odd_json_hides_nothing),
        cmocka_unit_test(a_watch_that_ends_at_once_with_nothing_does_not_spin),
        cmocka_unit_test(an_expiry_that_lasts_does_not_spin),
        cmocka_unit_test(failures_wait_twice_as_long_each_and_are_logged_once),
        cmocka_unit_test(a_server_may_ask_for_more_time),
        cmocka_unit_test(huge_pages_and_lines_are_read),
        cmocka_unit_test(own_writes_count_at_once_and_events_catch_up),
        cmocka_unit_test(a_listener_may_write_while_it_is_told),
        cmocka_unit_test(a_reflector_can_be_freed_in_every_state),
        cmocka_unit_test(synced_comes_once_and_may_free_the_reflector),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

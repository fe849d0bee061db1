/* Modules of a running program: what is refused, what stays, and what changes together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cmd/module_loader.h"
#include "lua_world.h"

#define MODULES_MAX 4
#define GOOD(type) "return { type = '" type "', generate = function() return 'x' end }"

struct loader_world {
    struct lua_world *lua;
    struct catalog_ops ops; /* the scripted catalog's, with modules of our own */
    struct catalog catalog;
    struct catalog_module modules[MODULES_MAX];
    size_t module_count;
    char refused[MODULES_MAX][512]; /* what the catalog was told, in order */
    size_t refused_count;
    struct module_loader *loader;
    unsigned loaded;
    unsigned reloaded;
};

/* Its catalog is the only one there is in a test. */
static struct loader_world *world_of(struct catalog *catalog)
{
    return (struct loader_world *)((char *)catalog - offsetof(struct loader_world, catalog));
}

static const struct catalog_module *list_modules(struct catalog *catalog, size_t *count)
{
    struct loader_world *world = world_of(catalog);

    *count = world->module_count;
    return world->modules;
}

static void note_refusal(struct catalog *catalog, const char *origin, const struct error *error)
{
    struct loader_world *world = world_of(catalog);

    assert_true(world->refused_count < MODULES_MAX);
    snprintf(world->refused[world->refused_count++], sizeof(world->refused[0]), "%s | %s", origin,
             error->message);
}

static void on_first(void *context, struct error *error)
{
    struct loader_world *world = context;

    if (error)
        fail_msg("%s", error->message);
    world->loaded++;
}

static void on_reload(void *context)
{
    ((struct loader_world *)context)->reloaded++;
}

static struct loader_world *set_up(void)
{
    struct loader_world *world = calloc(1, sizeof(*world));

    world->lua = lua_world_prepare();
    const struct lua_runtime_options lua = lua_world_options(world->lua);
    world->lua->runtime = lua_runtime_new(&lua);
    world->ops = *world->lua->catalog.catalog.ops;
    world->ops.modules = list_modules;
    world->ops.module_refused = note_refusal;
    world->catalog.ops = &world->ops;
    const struct module_loader_options options = {
        .loop = &world->lua->loop,
        .log = world->lua->log,
        .catalog = &world->catalog,
        .lua = world->lua->runtime,
        .loaded = on_first,
        .reloaded = on_reload,
        .context = world,
    };
    world->loader = module_loader_new(&options);
    return world;
}

static void tear_down(struct loader_world *world)
{
    module_loader_free(world->loader);
    lua_world_free(world->lua);
    free(world);
}

/* ConfigMap ops/NAME's module NAME.lua of `kind`: added, or its text replaced. */
static void put(struct loader_world *world, const char *kind, const char *name, const char *origin,
                const char *text)
{
    size_t at = 0;

    while (at < world->module_count && strcmp(world->modules[at].origin, origin) != 0)
        at++;
    assert_true(at < MODULES_MAX);
    if (at == world->module_count)
        world->module_count++;
    world->modules[at] = (struct catalog_module){kind, name, origin, text, strlen(text)};
}

static void start(struct loader_world *world)
{
    module_loader_start(world->loader);
    while (world->loaded == 0)
        uv_run(&world->lua->loop, UV_RUN_ONCE);
}

/* Runs the loop until something was loaded again or refused. */
static void change(struct loader_world *world)
{
    unsigned reloaded = world->reloaded;
    size_t refused = world->refused_count;

    module_loader_changed(world->loader);
    while (world->reloaded == reloaded && world->refused_count == refused)
        uv_run(&world->lua->loop, UV_RUN_ONCE);
}

static const struct lua_module *generator(const struct loader_world *world, const char *name)
{
    return lua_runtime_module(world->lua->runtime, LUA_GENERATOR, name);
}

static void a_module_that_does_not_load_keeps_no_other_away(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "generator", "bad", "cm a", "return {");
    put(world, "generator", "good", "cm b", GOOD("good"));
    start(world);
    assert_null(generator(world, "bad"));
    assert_non_null(generator(world, "good"));
    assert_non_null(generator(world, "http"));
    assert_true(module_loader_refused(world->loader));
    assert_int_equal(world->refused_count, 1);
    assert_non_null(strstr(world->refused[0], "cm a | cm a:1:"));
    tear_down(world);
}

static void every_kind_is_checked_when_it_comes(void **state)
{
    static const char *const kinds[] = {"generator", "policy", "transform", "library"};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct loader_world *world = set_up();

        put(world, kinds[i], "slip", "cm slip", "local x = = 1");
        start(world);
        assert_int_equal(world->refused_count, 1);
        assert_non_null(strstr(world->refused[0], "cm slip:1:"));
        tear_down(world);
    }
}

static void a_module_of_no_known_kind_is_refused_by_its_label(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "transfrom", "x", "cm x", "return 1");
    put(world, "runtime", "y", "cm y", "return 1");
    start(world);
    assert_int_equal(world->refused_count, 2);
    assert_string_equal(world->refused[0],
                        "cm x | cm x: label source.flux.oddkin.co/lua: found 'transfrom'; "
                        "accepted: generator, policy, transform or library");
    tear_down(world);
}

static void a_broken_change_leaves_the_last_good_text(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "generator", "g", "cm g", GOOD("g"));
    start(world);
    put(world, "generator", "g", "cm g", "error('no')");
    put(world, "generator", "h", "cm h", GOOD("h"));
    change(world);
    while (world->reloaded == 0) /* the other one, once this one is left out */
        uv_run(&world->lua->loop, UV_RUN_ONCE);
    assert_non_null(strstr(world->refused[0], "cm g | cm g:1: no"));
    assert_string_equal(generator(world, "g")->text, GOOD("g"));
    assert_non_null(generator(world, "h"));
    put(world, "generator", "g", "cm g", GOOD("g") " -- mended");
    change(world);
    assert_string_equal(generator(world, "g")->text, GOOD("g") " -- mended");
    assert_false(module_loader_refused(world->loader));
    tear_down(world);
}

static void a_broken_replacement_leaves_what_ships(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "generator", "http", "cm http", "return 7");
    start(world);
    assert_string_equal(generator(world, "http")->origin, "generators/http.lua");
    tear_down(world);
}

static void changes_that_come_together_are_loaded_once(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    start(world);
    put(world, "generator", "a", "cm a", GOOD("a"));
    module_loader_changed(world->loader);
    uv_run(&world->lua->loop, UV_RUN_NOWAIT);
    put(world, "generator", "b", "cm b", GOOD("b"));
    change(world);
    assert_int_equal(world->reloaded, 1);
    assert_non_null(generator(world, "a"));
    assert_non_null(generator(world, "b"));
    tear_down(world);
}

static void a_change_while_modules_load_is_not_lost(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "generator", "a", "cm a", GOOD("a"));
    module_loader_start(world->loader);
    put(world, "generator", "b", "cm b", GOOD("b"));
    module_loader_changed(world->loader);
    while (world->reloaded == 0)
        uv_run(&world->lua->loop, UV_RUN_ONCE);
    assert_non_null(generator(world, "b"));
    tear_down(world);
}

static void what_is_the_same_as_before_is_not_loaded_again(void **state)
{
    struct loader_world *world = set_up();

    (void)state;
    put(world, "generator", "a", "cm a", GOOD("a"));
    start(world);
    module_loader_changed(world->loader);
    uv_run(&world->lua->loop, UV_RUN_ONCE); /* the quiet is over */
    put(world, "generator", "b", "cm b", GOOD("b"));
    change(world);
    assert_int_equal(world->reloaded, 1);
    tear_down(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_that_does_not_load_keeps_no_other_away),
        cmocka_unit_test(every_kind_is_checked_when_it_comes),
        cmocka_unit_test(a_module_of_no_known_kind_is_refused_by_its_label),
        cmocka_unit_test(a_broken_change_leaves_the_last_good_text),
        cmocka_unit_test(a_broken_replacement_leaves_what_ships),
        cmocka_unit_test(changes_that_come_together_are_loaded_once),
        cmocka_unit_test(a_change_while_modules_load_is_not_lost),
        cmocka_unit_test(what_is_the_same_as_before_is_not_loaded_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

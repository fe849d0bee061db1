/* What a reflector holds and tells, without a server: versions, stale news, our own writes, and the
 * difference that a whole list makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kube/reflector_store.h"

struct world {
    struct reflector_store store;
    struct buffer told; /* "+NAME" new, "~NAME" changed, "-NAME" gone; a space each */
};

/* The generation is what this listener cares about. */
static uint64_t generation_of(void *context, const json_t *object)
{
    (void)context;
    assert_null(json_object_get(json_object_get(object, "metadata"), "managedFields"));
    return (uint64_t)json_get_integer(json_object_get(object, "metadata"), "generation", 0);
}

static void note_change(void *context, const struct reflector_object *before,
                        const struct reflector_object *now)
{
    struct world *world = context;

    assert_true(before || now);
    if (before && now)
        assert_string_equal(before->uid, now->uid);
    buffer_appendf(&world->told, "%c%s ",
                   !before ? '+'
                   : now   ? '~'
                           : '-',
                   now ? now->name : before->name);
}

static void world_init(struct world *world, bool metadata_only)
{
    const struct reflector_listener listener = {generation_of, note_change, NULL, world};

    *world = (struct world){.told = BUFFER_INIT};
    assert_null(reflector_store_init(&world->store, &listener, metadata_only));
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct world));
    world_init(*state, false);
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    reflector_store_free(&world->store);
    buffer_free(&world->told);
    free(world);
    return 0;
}

static json_t *object(const char *name, const char *uid, int version, int generation)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", version);
    json_t *made =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:i, s:[{s:s}]}, s:{s:s}}", "apiVersion", "v1",
                  "kind", "ConfigMap", "metadata", "namespace", "default", "name", name, "uid", uid,
                  "resourceVersion", text, "generation", generation, "managedFields", "manager",
                  "kubectl", "data", "secret", "hunter2");
    assert_non_null(made);
    return made;
}

static void assert_told(struct world *world, const char *expected)
{
    assert_string_equal(buffer_string(&world->told), expected);
    buffer_free(&world->told);
}

static void event(struct world *world, enum reflector_event kind, json_t *made)
{
    assert_null(reflector_store_event(&world->store, kind, made));
    json_decref(made);
}

static void put(struct world *world, json_t *made)
{
    assert_null(reflector_store_put(&world->store, made));
    json_decref(made);
}

/* A page with these objects, which it takes. */
static void page(struct world *world, size_t count, json_t *const *objects)
{
    json_t *items = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(items, objects[i]);
    json_t *list =
        json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "ConfigMapList", "items", items);
    assert_null(reflector_store_list_page(&world->store, list));
    json_decref(list);
}

#define PAGE(world, ...) \
    page(world, sizeof((json_t *[]){__VA_ARGS__}) / sizeof(json_t *), (json_t *[]){__VA_ARGS__})

static void list_end(struct world *world, const char *version)
{
    assert_null(reflector_store_list_end(&world->store, version));
}

static const struct reflector_object *find(struct world *world, const char *name)
{
    const struct held *held = held_table_find(&world->store.table, "default", name);

    return held ? &held->object : NULL;
}

/* A store that has listed a (uid u1, version 5) at version 10. */
static void listed_one(struct world *world)
{
    reflector_store_list_begin(&world->store);
    PAGE(world, object("a", "u1", 5, 1));
    list_end(world, "10");
    assert_told(world, "+a ");
}

static void versions_compare_as_decimal_numbers_of_any_length(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"9", "10", -1},
        {"10", "9", 1},
        {"10", "10", 0},
        {"", "1", -1},
        {"99999999999999999999999999", "100000000000000000000000000", -1},
        {"18446744073709551616", "18446744073709551615", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int order = resource_version_compare(cases[i].a, cases[i].b);

        assert_int_equal((order > 0) - (order < 0), cases[i].order);
    }
}

static void an_object_is_held_as_compact_text_without_managed_fields(void **state)
{
    struct world *world = *state;

    listed_one(world);
    assert_string_equal(
        find(world, "a")->text,
        "{\"apiVersion\":\"v1\",\"data\":{\"secret\":\"hunter2\"},\"kind\":\"ConfigMap\","
        "\"metadata\":{\"generation\":1,\"name\":\"a\",\"namespace\":\"default\","
        "\"resourceVersion\":\"5\",\"uid\":\"u1\"}}");
    assert_int_equal(find(world, "a")->length, strlen(find(world, "a")->text));
    assert_string_equal(find(world, "a")->uid, "u1");
    assert_string_equal(find(world, "a")->resource_version, "5");
}

static void the_object_that_is_given_stays_as_it_was(void **state)
{
    struct world *world = *state;
    json_t *mine = object("a", "u1", 5, 1);
    json_t *copy = json_deep_copy(mine);

    assert_null(reflector_store_put(&world->store, mine));
    assert_true(json_equal(mine, copy));
    json_decref(mine);
    json_decref(copy);
}

static void data_is_never_held_where_only_metadata_is_asked_for(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, true);
    put(&world, object("a", "u1", 5, 1));
    assert_null(strstr(find(&world, "a")->text, "hunter2"));
    assert_non_null(strstr(find(&world, "a")->text, "\"uid\":\"u1\""));
    reflector_store_free(&world.store);
    buffer_free(&world.told);
}

static void items_of_a_list_are_given_its_kind_as_watches_have_it(void **state)
{
    struct world *world = *state;
    json_t *bare = object("a", "u1", 5, 1);

    json_object_del(bare, "kind");
    json_object_del(bare, "apiVersion");
    reflector_store_list_begin(&world->store);
    PAGE(world, bare);
    list_end(world, "10");
    assert_non_null(strstr(find(world, "a")->text, "\"kind\":\"ConfigMap\""));
    assert_non_null(strstr(find(world, "a")->text, "\"apiVersion\":\"v1\""));
}

static void events_are_told_as_new_changed_and_gone(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("b", "u2", 11, 1));
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 12, 2));
    event(world, REFLECTOR_EVENT_DELETED, object("b", "u2", 13, 1));
    assert_told(world, "+b ~a -b ");
    assert_string_equal(world->store.version, "13");
    assert_int_equal(world->store.table.count, 1);
}

static void a_change_of_what_nobody_cares_about_is_held_but_not_told(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 12, 1));
    assert_told(world, "");
    assert_string_equal(find(world, "a")->resource_version, "12");
}

static void an_event_older_than_our_own_write_is_dropped(void **state)
{
    struct world *world = *state;

    listed_one(world);
    put(world, object("a", "u1", 20, 3));
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 15, 2));
    event(world, REFLECTOR_EVENT_DELETED, object("a", "u0", 16, 2));
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 20, 3));
    assert_told(world, "~a ");
    assert_string_equal(find(world, "a")->resource_version, "20");
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 21, 4));
    assert_told(world, "~a ");
}

static void an_event_older_than_where_the_watch_is_is_dropped(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("b", "u2", 9, 1));
    assert_told(world, "");
    assert_string_equal(world->store.version, "10");
}

static void a_write_older_than_what_is_held_is_dropped(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 30, 2));
    put(world, object("a", "u1", 29, 9));
    assert_told(world, "~a ");
    assert_string_equal(find(world, "a")->resource_version, "30");
}

static void a_write_does_not_bring_back_what_was_deleted_after_it(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_DELETED, object("a", "u1", 12, 1));
    put(world, object("a", "u1", 11, 2));
    assert_told(world, "-a ");
    assert_null(find(world, "a"));
}

static void another_uid_under_the_same_name_is_gone_and_new(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("a", "u9", 12, 1));
    assert_told(world, "-a +a ");
    reflector_store_list_begin(&world->store);
    PAGE(world, object("a", "u10", 15, 1));
    list_end(world, "20");
    assert_told(world, "-a +a ");
    assert_int_equal(world->store.table.count, 1);
}

static void a_drop_forgets_only_the_uid_that_it_names(void **state)
{
    struct world *world = *state;

    listed_one(world);
    reflector_store_drop(&world->store, "default", "a", "another");
    reflector_store_drop(&world->store, "default", "b", "u1");
    assert_told(world, "");
    reflector_store_drop(&world->store, "default", "a", "u1");
    assert_told(world, "-a ");
    event(world, REFLECTOR_EVENT_DELETED, object("a", "u1", 12, 1));
    assert_told(world, "");
}

static void a_list_tells_what_is_new_changed_and_gone_since(void **state)
{
    struct world *world = *state;

    reflector_store_list_begin(&world->store);
    PAGE(world, object("same", "u1", 1, 1), object("quiet", "u2", 2, 1));
    PAGE(world, object("moved", "u3", 3, 1), object("lost", "u4", 4, 1));
    assert_told(world, "");
    list_end(world, "10");
    buffer_free(&world->told);
    reflector_store_list_begin(&world->store);
    PAGE(world, object("same", "u1", 1, 1), object("quiet", "u2", 12, 1));
    PAGE(world, object("moved", "u3", 13, 2));
    PAGE(world, object("fresh", "u5", 14, 1));
    assert_told(world, "");
    list_end(world, "20");
    assert_told(world, "+fresh ~moved -lost ");
    assert_string_equal(find(world, "quiet")->resource_version, "12");
    assert_int_equal(world->store.table.count, 4);
}

static void a_list_begun_again_forgets_its_first_pages(void **state)
{
    struct world *world = *state;

    listed_one(world);
    reflector_store_list_begin(&world->store);
    PAGE(world, object("a", "u1", 5, 1), object("phantom", "u7", 6, 1));
    reflector_store_list_begin(&world->store);
    PAGE(world, object("b", "u2", 30, 1));
    list_end(world, "40");
    assert_told(world, "+b -a ");
}

static void a_list_replaces_everything_even_by_older_versions(void **state)
{
    struct world *world = *state;

    listed_one(world);
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 500, 7));
    event(world, REFLECTOR_EVENT_SET, object("b", "u2", 501, 1));
    buffer_free(&world->told);
    reflector_store_list_begin(&world->store); /* etcd was restored from a backup */
    PAGE(world, object("a", "u1", 5, 1));
    list_end(world, "10");
    assert_told(world, "~a -b ");
    event(world, REFLECTOR_EVENT_SET, object("a", "u1", 11, 2));
    assert_told(world, "~a ");
}

static void a_list_does_not_undo_writes_that_overtook_it(void **state)
{
    struct world *world = *state;

    listed_one(world);
    reflector_store_list_begin(&world->store);
    PAGE(world, object("a", "u1", 5, 1));
    put(world, object("a", "u1", 21, 2));
    put(world, object("b", "u2", 22, 1));
    put(world, object("c", "u3", 19, 1)); /* and deleted before the list was taken */
    assert_told(world, "~a +b +c ");
    list_end(world, "20");
    assert_told(world, "-c ");
    assert_string_equal(find(world, "a")->resource_version, "21");
    /* The next list knows of them, or they are gone. */
    reflector_store_list_begin(&world->store);
    PAGE(world, object("a", "u1", 21, 2));
    list_end(world, "30");
    assert_told(world, "-b ");
}

static void bookmarks_move_the_version_but_never_back(void **state)
{
    struct world *world = *state;
    bool behind = true;

    listed_one(world);
    assert_null(reflector_store_bookmark(&world->store, "100", &behind));
    assert_false(behind);
    assert_string_equal(world->store.version, "100");
    assert_null(reflector_store_bookmark(&world->store, "99", &behind));
    assert_true(behind);
    assert_string_equal(world->store.version, "100");
}

static void an_object_without_name_uid_or_version_is_refused(void **state)
{
    static const char *const needed[] = {"name", "uid", "resourceVersion"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        _cleanup_(json) json_t *made = object("a", "u1", 5, 1);

        json_object_del(json_object_get(made, "metadata"), needed[i]);
        struct error *error = reflector_store_put(&world->store, made);
        assert_non_null(error);
        assert_string_equal(error->reason, "InvalidObject");
        error_free(error);
        error = reflector_store_event(&world->store, REFLECTOR_EVENT_SET, made);
        assert_non_null(error);
        error_free(error);
    }
    assert_told(world, "");
}

static void lists_that_are_none_are_refused(void **state)
{
    static const char *const texts[] = {"{}", "[]", "{\"items\":{}}", "{\"items\":[1]}",
                                        "{\"items\":[{\"metadata\":[]}]}"};
    struct world *world = *state;

    reflector_store_list_begin(&world->store);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        _cleanup_(json) json_t *list = json_loads(texts[i], 0, NULL);
        struct error *error = reflector_store_list_page(&world->store, list);

        assert_non_null(error);
        assert_string_equal(error->reason, "InvalidObject");
        error_free(error);
    }
    _cleanup_(json) json_t *empty = json_loads("{\"items\":null}", 0, NULL);
    assert_null(reflector_store_list_page(&world->store, empty));
}

static void what_was_found_stays_readable_until_the_sweep(void **state)
{
    struct world *world = *state;

    listed_one(world);
    const struct reflector_object *found = find(world, "a");
    put(world, object("a", "u1", 20, 2));
    reflector_store_drop(&world->store, "default", "a", "u1");
    assert_string_equal(found->resource_version, "5");
    assert_string_equal(found->name, "a");
    reflector_store_sweep(&world->store);
    assert_null(world->store.replaced);
}

static void names_that_join_alike_are_different_objects(void **state)
{
    struct world *world = *state;
    json_t *one = object("bc", "u1", 5, 1);
    json_t *two = object("c", "u2", 6, 1);

    json_object_set_new(json_object_get(one, "metadata"), "namespace", json_string("a"));
    json_object_set_new(json_object_get(two, "metadata"), "namespace", json_string("ab"));
    put(world, one);
    put(world, two);
    assert_int_equal(world->store.table.count, 2);
    assert_string_equal(held_table_find(&world->store.table, "a", "bc")->object.uid, "u1");
    assert_string_equal(held_table_find(&world->store.table, "ab", "c")->object.uid, "u2");
    assert_null(held_table_find(&world->store.table, "abc", ""));
}

/* An ExternalSource with status as it is in a cluster, about 2 KiB. */
static json_t *typical(int number, int version)
{
    char name[32];
    char uid[48];

    snprintf(name, sizeof(name), "source-%05d", number);
    snprintf(uid, sizeof(uid), "00000000-0000-4000-8000-%012d", number);
    json_t *made = object(name, uid, version, 1);
    json_t *conditions = json_array();
    char *filler = format_string("%0*d", 1700, 7);

    json_array_append_new(conditions, json_pack("{s:s, s:s}", "type", "Ready", "message", filler));
    json_object_set_new(made, "status", json_pack("{s:o}", "conditions", conditions));
    free(filler);
    return made;
}

static void list_many(struct world *world, int count, int version)
{
    reflector_store_list_begin(&world->store);
    for (int i = 0; i < count; i += 500) {
        json_t *objects[500];

        for (int j = 0; j < 500; j++)
            objects[j] = typical(i + j, version + i + j);
        page(world, 500, objects);
    }
    list_end(world, "90000");
}

static void ten_thousand_objects_cost_little_more_than_their_text(void **state)
{
    struct world *world = *state;
    size_t before = mallinfo2().uordblks;
    size_t text = 0;

    list_many(world, 10000, 1);
    assert_int_equal(world->store.table.count, 10000);
    buffer_free(&world->told);
    size_t used = mallinfo2().uordblks - before;
    for (int i = 0; i < 10000; i++) {
        char name[32];

        snprintf(name, sizeof(name), "source-%05d", i);
        assert_non_null(find(world, name));
        text += find(world, name)->length;
    }
    print_message("10,000 objects: %zu bytes of text and %zu of memory each\n", text / 10000,
                  used / 10000);
    /* AddressSanitizer's allocator does not tell. */
    if (used > 0)
        assert_in_range(used, text, text + (size_t)10000 * 300);

    size_t one = mallinfo2().uordblks;
    list_many(world, 10000, 1);
    assert_told(world, "");
    assert_null(world->store.replaced);
    /* No second copy; some small pieces lie in malloc's own caches. */
    assert_in_range(mallinfo2().uordblks, 0, one + (1 << 20));
}

#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_compare_as_decimal_numbers_of_any_length),
        IN_STORE(an_object_is_held_as_compact_text_without_managed_fields),
        IN_STORE(the_object_that_is_given_stays_as_it_was),
        cmocka_unit_test(data_is_never_held_where_only_metadata_is_asked_for),
        IN_STORE(items_of_a_list_are_given_its_kind_as_watches_have_it),
        IN_STORE(events_are_told_as_new_changed_and_gone),
        IN_STORE(a_change_of_what_nobody_cares_about_is_held_but_not_told),
        IN_STORE(an_event_older_than_our_own_write_is_dropped),
        IN_STORE(an_event_older_than_where_the_watch_is_is_dropped),
        IN_STORE(a_write_older_than_what_is_held_is_dropped),
        IN_STORE(a_write_does_not_bring_back_what_was_deleted_after_it),
        IN_STORE(another_uid_under_the_same_name_is_gone_and_new),
        IN_STORE(a_drop_forgets_only_the_uid_that_it_names),
        IN_STORE(a_list_tells_what_is_new_changed_and_gone_since),
        IN_STORE(a_list_begun_again_forgets_its_first_pages),
        IN_STORE(a_list_replaces_everything_even_by_older_versions),
        IN_STORE(a_list_does_not_undo_writes_that_overtook_it),
        IN_STORE(bookmarks_move_the_version_but_never_back),
        IN_STORE(an_object_without_name_uid_or_version_is_refused),
        IN_STORE(lists_that_are_none_are_refused),
        IN_STORE(what_was_found_stays_readable_until_the_sweep),
        IN_STORE(names_that_join_alike_are_different_objects),
        IN_STORE(ten_thousand_objects_cost_little_more_than_their_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the events remember. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "kube/recent.h"

struct mark {
    struct recent_entry recent;
    int number;
};

static unsigned forgotten;

static void forget(struct recent_entry *entry)
{
    forgotten++;
    free(entry);
}

static void what_was_used_longest_ago_is_forgotten_first(void **state)
{
    struct recent *recent = recent_new(100, forget);
    char keys[101][RECENT_KEY_SIZE];

    (void)state;
    forgotten = 0;
    for (int i = 0; i < 101; i++) {
        struct mark *mark = calloc(1, sizeof(*mark));
        char text[16];

        snprintf(text, sizeof(text), "%d", i);
        recent_key((const char *const[]){text, NULL}, 2, keys[i]);
        mark->number = i;
        if (i == 100)
            recent_use(recent, recent_find(recent, keys[0]), i);
        recent_add(recent, &mark->recent, keys[i], i);
    }
    assert_int_equal(forgotten, 1);
    assert_null(recent_find(recent, keys[1]));
    for (int i = 0; i < 101; i++)
        assert_true(i == 1 || ((struct mark *)recent_find(recent, keys[i]))->number == i);
    recent_expire(recent, 99);
    assert_int_equal(forgotten, 99);
    assert_non_null(recent_find(recent, keys[0]));
    assert_non_null(recent_find(recent, keys[100]));
    recent_free(recent);
    assert_int_equal(forgotten, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_used_longest_ago_is_forgotten_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

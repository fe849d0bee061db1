/*
 * See condition.h. Reasons and messages come from Lua and from upstream, so both are mended here,
 * where they enter an object: one bad byte would make the API server refuse the whole status.
 */
#include "source/condition.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#define REASON_MAX 1024
#define REASON_FALLBACK "GeneratorFailed"
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static const char *const status_names[] = {
    [CONDITION_FALSE] = "False",
    [CONDITION_TRUE] = "True",
    [CONDITION_UNKNOWN] = "Unknown",
};

static struct condition *find(const struct condition_list *list, const char *type)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].type, type) == 0)
            return &list->items[i];
    }
    return NULL;
}

const struct condition *condition_find(const struct condition_list *list, const char *type)
{
    return find(list, type);
}

bool condition_is_true(const struct condition_list *list, const char *type)
{
    const struct condition *condition = find(list, type);

    return condition && condition->status == CONDITION_TRUE;
}

/* [A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?, the pattern of metav1.Condition.reason. */
static bool reason_valid(const char *reason)
{
    size_t length = strlen(reason);

    if (length == 0 || length > REASON_MAX || !isalpha((unsigned char)reason[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)reason[i]) && !strchr("_,:", reason[i]))
            return false;
    }
    return isalnum((unsigned char)reason[length - 1]) || reason[length - 1] == '_';
}

/* The message as the API takes it: valid UTF-8, no control bytes, at most CONDITION_MESSAGE_MAX
 * bytes. */
static char *mend_message(const char *message)
{
    struct buffer mended = BUFFER_INIT;
    size_t left = strlen(message);

    while (left > 0) {
        uint32_t code_point;
        size_t count = utf8_decode(message, left, &code_point);
        const char *piece = count ? message : REPLACEMENT;
        size_t length = count ? count : strlen(REPLACEMENT);

        if (count && (code_point < 0x20 || code_point == 0x7f)) {
            piece = " ";
            length = 1;
        }
        if (mended.length + length > CONDITION_MESSAGE_MAX)
            break;
        buffer_append(&mended, piece, length);
        message += count ? count : 1;
        left -= count ? count : 1;
    }
    return buffer_steal(&mended);
}

static void condition_clear(struct condition *condition)
{
    free(condition->type);
    free(condition->reason);
    free(condition->message);
}

static struct condition *add(struct condition_list *list, const char *type)
{
    struct condition *items = reallocarray(list->items, list->count + 1, sizeof(*items));
    char *copy = strdup(type);

    if (items)
        list->items = items;
    if (!items || !copy) {
        free(copy);
        return NULL;
    }
    items[list->count] = (struct condition){.type = copy, .status = CONDITION_UNKNOWN};
    return &items[list->count++];
}

static bool same(const struct condition *condition, enum condition_status status,
                 const char *reason, const char *message, int64_t observed_generation)
{
    return condition->reason && condition->status == status &&
           condition->observed_generation == observed_generation &&
           strcmp(condition->reason, reason) == 0 && strcmp(condition->message, message) == 0;
}

bool condition_set(struct condition_list *list, const char *type, enum condition_status status,
                   const char *reason, const char *message, int64_t observed_generation,
                   int64_t now_ms, struct error **error)
{
    struct condition *condition = find(list, type);
    _cleanup_(free) char *new_reason = strdup(reason_valid(reason) ? reason : REASON_FALLBACK);
    _cleanup_(free) char *new_message = mend_message(message);

    if (!new_reason || !new_message) {
        *error = error_out_of_memory();
        return false;
    }
    if (condition && same(condition, status, new_reason, new_message, observed_generation))
        return false;
    bool moves = !condition || condition->status != status;
    if (!condition)
        condition = add(list, type);
    if (!condition) {
        *error = error_out_of_memory();
        return false;
    }
    free(condition->reason);
    free(condition->message);
    condition->reason = TAKE(new_reason);
    condition->message = TAKE(new_message);
    condition->status = status;
    condition->observed_generation = observed_generation;
    if (moves)
        condition->last_transition_ms = now_ms;
    return true;
}

bool condition_remove(struct condition_list *list, const char *type)
{
    struct condition *condition = find(list, type);

    if (!condition)
        return false;
    condition_clear(condition);
    *condition = list->items[--list->count];
    return true;
}

static int compare_types(const void *left, const void *right)
{
    return strcmp(((const struct condition *)left)->type, ((const struct condition *)right)->type);
}

static json_t *condition_to_json(const struct condition *condition)
{
    char transition[TIME_TEXT_SIZE];

    time_format(condition->last_transition_ms, transition);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "type", condition->type, "status",
                     status_names[condition->status], "reason", condition->reason, "message",
                     condition->message, "observedGeneration",
                     (json_int_t)condition->observed_generation, "lastTransitionTime", transition);
}

json_t *condition_list_to_json(const struct condition_list *list)
{
    struct condition_list sorted = {NULL, list->count};
    json_t *array = json_array();

    sorted.items = calloc(list->count ? list->count : 1, sizeof(struct condition));
    if (array && sorted.items) {
        if (list->count > 0)
            memcpy(sorted.items, list->items, list->count * sizeof(struct condition));
        qsort(sorted.items, sorted.count, sizeof(struct condition), compare_types);
        for (size_t i = 0; array && i < sorted.count; i++) {
            if (json_array_append_new(array, condition_to_json(&sorted.items[i])))
                json_decref(TAKE(array));
        }
    } else {
        json_decref(TAKE(array));
    }
    free(sorted.items);
    return array;
}

static bool status_parse(const char *text, enum condition_status *status)
{
    for (size_t i = 0; text && i < sizeof(status_names) / sizeof(status_names[0]); i++) {
        if (strcmp(text, status_names[i]) == 0) {
            *status = (enum condition_status)i;
            return true;
        }
    }
    return false;
}

struct error *condition_list_from_json(const json_t *json, struct condition_list *list)
{
    size_t index;
    json_t *item;

    *list = (struct condition_list){NULL, 0};
    json_array_foreach(json, index, item)
    {
        const char *type = json_get_string(item, "type");
        const char *reason = json_get_string(item, "reason");
        const char *message = json_get_string(item, "message");
        const char *transition = json_get_string(item, "lastTransitionTime");
        enum condition_status status;
        int64_t transition_ms;
        struct error *error = NULL;

        if (!type || !*type || !reason || !message || !transition || find(list, type) ||
            !status_parse(json_get_string(item, "status"), &status) ||
            !time_parse(transition, &transition_ms))
            continue;
        condition_set(list, type, status, reason, message,
                      json_get_integer(item, "observedGeneration", 0), transition_ms, &error);
        if (error) {
            condition_list_free(list);
            return error;
        }
    }
    return NULL;
}

struct error *condition_list_copy(const struct condition_list *from, struct condition_list *to)
{
    *to = (struct condition_list){NULL, 0};
    for (size_t i = 0; i < from->count; i++) {
        const struct condition *item = &from->items[i];
        struct error *error = NULL;

        condition_set(to, item->type, item->status, item->reason, item->message,
                      item->observed_generation, item->last_transition_ms, &error);
        if (error) {
            condition_list_free(to);
            return error;
        }
    }
    return NULL;
}

void condition_list_free(struct condition_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        condition_clear(&list->items[i]);
    free(list->items);
    *list = (struct condition_list){NULL, 0};
}

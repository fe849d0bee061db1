/*
 * Items live in a balanced tree by key (tsearch) and, while they wait, in a binary heap by due
 * time; one timer stands for the earliest. See queue.h.
 */
#include "reconcile/queue.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#define NOT_WAITING SIZE_MAX

struct item {
    char *namespace_name;
    char *name;
    int64_t due_ms;  /* monotonic; while it waits */
    bool timed;      /* due_ms was set by queue_done */
    size_t position; /* in the heap; NOT_WAITING while it runs */
    bool running;
    int64_t again_ms; /* while it runs: when it was asked for again; -1 for never */
};

struct queue {
    uv_loop_t *loop;
    const struct clock *clock;
    unsigned concurrency;
    queue_run run;
    void *context;
    void *tree;
    struct item **heap;
    size_t waiting;
    size_t capacity; /* of the heap: always room for every item in the tree */
    size_t items;
    size_t running;
    bool stopped;
    uv_timer_t *timer;
};

static int item_compare(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    int order = strcmp(a->namespace_name, b->namespace_name);

    return order ? order : strcmp(a->name, b->name);
}

static void item_free(struct item *item)
{
    free(item->namespace_name);
    free(item->name);
    free(item);
}

static void heap_place(struct queue *queue, size_t position, struct item *item)
{
    queue->heap[position] = item;
    item->position = position;
}

static void heap_rise(struct queue *queue, size_t position)
{
    struct item *item = queue->heap[position];

    while (position > 0) {
        size_t parent = (position - 1) / 2;

        if (queue->heap[parent]->due_ms <= item->due_ms)
            break;
        heap_place(queue, position, queue->heap[parent]);
        position = parent;
    }
    heap_place(queue, position, item);
}

static void heap_sink(struct queue *queue, size_t position)
{
    struct item *item = queue->heap[position];

    for (;;) {
        size_t child = 2 * position + 1;

        if (child >= queue->waiting)
            break;
        if (child + 1 < queue->waiting &&
            queue->heap[child + 1]->due_ms < queue->heap[child]->due_ms)
            child++;
        if (item->due_ms <= queue->heap[child]->due_ms)
            break;
        heap_place(queue, position, queue->heap[child]);
        position = child;
    }
    heap_place(queue, position, item);
}

static void heap_insert(struct queue *queue, struct item *item)
{
    heap_place(queue, queue->waiting++, item);
    heap_rise(queue, item->position);
}

static void heap_remove(struct queue *queue, struct item *item)
{
    size_t position = item->position;
    struct item *last = queue->heap[--queue->waiting];

    item->position = NOT_WAITING;
    if (last == item)
        return;
    heap_place(queue, position, last);
    heap_rise(queue, position);
    heap_sink(queue, last->position);
}

static void on_timer(uv_timer_t *timer);

/* Sets the timer for the earliest item that may run, if any may. */
static void schedule(struct queue *queue)
{
    if (queue->stopped || queue->waiting == 0 || queue->running >= queue->concurrency) {
        uv_timer_stop(queue->timer);
        return;
    }
    int64_t delay = queue->heap[0]->due_ms - clock_monotonic_ms(queue->clock);
    uv_timer_start(queue->timer, on_timer, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct queue *queue = timer->data;
    int64_t now = clock_monotonic_ms(queue->clock);

    while (!queue->stopped && queue->waiting > 0 && queue->running < queue->concurrency &&
           queue->heap[0]->due_ms <= now) {
        struct item *item = queue->heap[0];

        heap_remove(queue, item);
        item->running = true;
        item->again_ms = -1;
        queue->running++;
        queue->run(queue->context, item->namespace_name, item->name, item->timed);
    }
    schedule(queue);
}

struct queue *queue_new(uv_loop_t *loop, const struct clock *clock, unsigned concurrency,
                        queue_run run, void *context)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    uv_timer_t *timer = calloc(1, sizeof(*timer));

    if (!queue || !timer) {
        free(queue);
        free(timer);
        return NULL;
    }
    queue->loop = loop;
    queue->clock = clock;
    queue->concurrency = concurrency;
    queue->run = run;
    queue->context = context;
    queue->timer = timer;
    uv_timer_init(loop, timer);
    timer->data = queue;
    return queue;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void item_drop(void *node)
{
    item_free(node);
}

void queue_free(struct queue *queue)
{
    if (!queue)
        return;
    uv_close((uv_handle_t *)queue->timer, timer_closed);
    tdestroy(queue->tree, item_drop);
    free(queue->heap);
    free(queue);
}

static struct item *item_find(const struct queue *queue, const char *namespace_name,
                              const char *name)
{
    struct item key = {.namespace_name = (char *)namespace_name, .name = (char *)name};
    void *const *node = tfind(&key, &queue->tree, item_compare);

    return node ? *node : NULL;
}

static bool heap_make_room(struct queue *queue)
{
    if (queue->items < queue->capacity)
        return true;

    size_t capacity = queue->capacity ? queue->capacity * 2 : 64;
    struct item **heap = reallocarray(queue->heap, capacity, sizeof(struct item *));
    if (!heap)
        return false;
    queue->heap = heap;
    queue->capacity = capacity;
    return true;
}

static struct item *item_new(struct queue *queue, const char *namespace_name, const char *name)
{
    struct item *item = calloc(1, sizeof(*item));

    if (!item)
        return NULL;
    item->namespace_name = strdup(namespace_name);
    item->name = strdup(name);
    item->position = NOT_WAITING;
    if (!item->namespace_name || !item->name || !heap_make_room(queue) ||
        !tsearch(item, &queue->tree, item_compare)) {
        item_free(item);
        return NULL;
    }
    queue->items++;
    return item;
}

static void item_wait(struct queue *queue, struct item *item, int64_t due_ms, bool timed)
{
    item->due_ms = due_ms;
    item->timed = timed;
    heap_insert(queue, item);
}

struct error *queue_add(struct queue *queue, const char *namespace_name, const char *name,
                        int64_t delay_ms)
{
    int64_t due = clock_monotonic_ms(queue->clock) + (delay_ms > 0 ? delay_ms : 0);
    struct item *item = item_find(queue, namespace_name, name);

    if (item && item->running) {
        if (item->again_ms < 0 || due < item->again_ms)
            item->again_ms = due;
        return NULL;
    }
    if (item && item->position != NOT_WAITING) {
        if (due >= item->due_ms)
            return NULL;
        heap_remove(queue, item);
    }
    if (!item)
        item = item_new(queue, namespace_name, name);
    if (!item)
        return error_out_of_memory();
    item_wait(queue, item, due, false);
    schedule(queue);
    return NULL;
}

static void item_delete(struct queue *queue, struct item *item)
{
    tdelete(item, &queue->tree, item_compare);
    queue->items--;
    item_free(item);
}

void queue_done(struct queue *queue, const char *namespace_name, const char *name, int64_t delay_ms)
{
    struct item *item = item_find(queue, namespace_name, name);
    int64_t due = delay_ms < 0 ? -1 : clock_monotonic_ms(queue->clock) + delay_ms;

    if (!item || !item->running)
        return;
    item->running = false;
    queue->running--;
    bool again = item->again_ms >= 0 && (due < 0 || item->again_ms < due);
    if (again)
        due = item->again_ms;
    if (due < 0)
        item_delete(queue, item);
    else
        item_wait(queue, item, due, !again);
    schedule(queue);
}

void queue_forget(struct queue *queue, const char *namespace_name, const char *name)
{
    struct item *item = item_find(queue, namespace_name, name);

    if (!item || item->running)
        return;
    if (item->position != NOT_WAITING)
        heap_remove(queue, item);
    item_delete(queue, item);
    schedule(queue);
}

size_t queue_length(const struct queue *queue)
{
    return queue->items;
}

struct wake {
    int64_t now_ms;
    int64_t spread_ms;
    uint64_t (*random)(void *context);
    void *random_context;
};

static void wake_item(const void *node, VISIT visit, void *context)
{
    struct item *item = *(struct item *const *)node;
    const struct wake *wake = context;
    int64_t due;

    if (visit != postorder && visit != leaf) /* each item once */
        return;
    due = wake->now_ms +
          (int64_t)(wake->random(wake->random_context) % (uint64_t)(wake->spread_ms + 1));
    if (item->running && (item->again_ms < 0 || due < item->again_ms))
        item->again_ms = due;
    if (!item->running && due < item->due_ms) {
        item->due_ms = due;
        item->timed = false;
    }
}

void queue_wake_all(struct queue *queue, int64_t spread_ms, uint64_t (*random)(void *context),
                    void *random_context)
{
    struct wake wake = {clock_monotonic_ms(queue->clock), spread_ms, random, random_context};

    twalk_r(queue->tree, wake_item, &wake);
    for (size_t i = queue->waiting / 2; i-- > 0;)
        heap_sink(queue, i);
    schedule(queue);
}

void queue_resume(struct queue *queue)
{
    queue->stopped = false;
    schedule(queue);
}

void queue_stop(struct queue *queue)
{
    queue->stopped = true;
    uv_timer_stop(queue->timer);
}

/*
 * Questions to policies. A verdict is a function of type and request for as long as the generation
 * lives, so each question is asked once; whatever goes wrong denies, and is not remembered.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/generation.h"
#include "lua/text.h"

#define ANSWER_MS 5000
#define ANSWERS_MAX 10000 /* remembered; then all are forgotten */
#define NETWORKS_MAX 1024

struct question {
    struct host_request request; /* first: see generation.h */
    struct operation operation;
    struct lua_runtime *runtime;
    char *type;
    json_t *json;      /* the request */
    char *key;         /* of the cache */
    json_t *verdict;   /* what the cache had; NULL if it is asked */
    uv_timer_t *timer; /* gives that on the loop's next turn */
    policy_answered done;
    void *context;
};

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void question_free(struct question *question)
{
    lua_host_end(&question->request);
    if (question->timer)
        uv_close((uv_handle_t *)question->timer, timer_closed);
    json_decref(question->json);
    json_decref(question->verdict);
    free(question->type);
    free(question->key);
    free(question);
}

static void question_cancel(struct operation *operation)
{
    question_free((struct question *)((char *)operation - offsetof(struct question, operation)));
}

static void answer(struct question *question, const struct policy_answer *result)
{
    policy_answered done = question->done;
    void *context = question->context;

    question_free(question);
    done(context, result);
}

static void deny(struct question *question, const char *reason, bool unanswered)
{
    answer(question,
           &(struct policy_answer){.allowed = false, .reason = reason, .unanswered = unanswered});
}

/* The networks of a verdict; false if one of them is none, which denies. */
static bool read_networks(const json_t *list, struct network **networks, size_t *count)
{
    size_t index;
    json_t *item;

    *count = 0;
    *networks = calloc(json_array_size(list) + 1, sizeof(struct network));
    if (!*networks || json_array_size(list) > NETWORKS_MAX)
        return false;
    json_array_foreach(list, index, item)
    {
        if (!json_is_string(item) ||
            !network_parse(json_string_value(item), &(*networks)[(*count)++]))
            return false;
    }
    return true;
}

/* The policies ran out of memory or of instructions, which another time they may not. */
static bool failed(const json_t *verdict)
{
    return json_get_boolean(verdict, "failed", false);
}

static void answer_verdict(struct question *question, const json_t *verdict)
{
    _cleanup_(json) json_t *kept = json_incref((json_t *)verdict);
    _cleanup_(free) struct network *networks = NULL;
    _cleanup_(buffer) struct buffer reason = BUFFER_INIT;
    const char *text = json_get_string(verdict, "reason");
    size_t count = 0;

    if (!read_networks(json_object_get(verdict, "refuse"), &networks, &count)) {
        deny(question,
             "a policy named a network that is none; accepted: addresses such as 10.0.0.0/8",
             false);
        return;
    }
    text_clean(&reason, text ? text : "no reason given", strlen(text ? text : "no reason given"),
               TEXT_MESSAGE_MAX);
    answer(question, &(struct policy_answer){
                         .allowed = json_get_boolean(verdict, "allowed", false),
                         .reason = buffer_string(&reason),
                         .unanswered = failed(verdict),
                         .refused = networks,
                         .refused_count = count,
                     });
}

static struct error *question_send(struct host_request *request)
{
    struct question *question = (struct question *)request;
    _cleanup_(json) json_t *json =
        json_pack("{s:s, s:I, s:s, s:O}", "op", "ask", "ask", (json_int_t)request->id, "type",
                  question->type, "request", question->json);

    return json ? lua_host_send(request->host, json, NULL, 0) : error_out_of_memory();
}

static void remember(struct generation *generation, const char *key, const json_t *verdict)
{
    if (json_object_size(generation->answers) >= ANSWERS_MAX)
        json_object_clear(generation->answers);
    /* Without memory it is simply asked again. */
    (void)json_object_set(generation->answers, key, (json_t *)verdict);
}

static struct error *question_received(struct host_request *request, const char *op,
                                       struct channel_frame *frame)
{
    struct question *question = (struct question *)request;
    const json_t *verdict = json_object_get(frame->json, "value");

    if (strcmp(op, "log") == 0)
        return NULL;
    if (strcmp(op, "verdict") != 0 || !json_is_object(verdict))
        return error_new(ERROR_INTERNAL, "Protocol", "an unknown op");
    if (!failed(verdict))
        remember(request->host->generation, question->key, verdict);
    answer_verdict(question, verdict);
    return NULL;
}

static void question_failed(struct host_request *request, struct error *error)
{
    struct error *kept = error;

    deny((struct question *)request, kept->message, true);
    error_free(kept);
}

static void answer_remembered(uv_timer_t *timer)
{
    struct question *question = timer->data;

    answer_verdict(question, question->verdict);
}

static struct error *start_remembered(struct question *question)
{
    question->timer = calloc(1, sizeof(uv_timer_t));
    if (!question->timer)
        return error_out_of_memory();
    uv_timer_init(question->runtime->options.loop, question->timer);
    question->timer->data = question;
    uv_timer_start(question->timer, answer_remembered, 0, 0);
    return NULL;
}

static char *cache_key(const char *type, const json_t *request)
{
    struct buffer key = BUFFER_INIT;

    buffer_appendf(&key, "%s ", type);
    json_write(&key, request);
    return buffer_steal(&key);
}

struct error *lua_ask_policy(struct lua_runtime *runtime, const char *type, const json_t *request,
                             policy_answered done, void *context, struct operation **operation)
{
    struct question *question = runtime->current ? calloc(1, sizeof(*question)) : NULL;

    if (!runtime->current)
        return error_new(ERROR_TRANSIENT, "NotReady", "no policies are loaded yet");
    if (!question)
        return error_out_of_memory();
    question->request.send = question_send;
    question->request.received = question_received;
    question->request.failed = question_failed;
    question->request.deadline_ms = clock_monotonic_ms(runtime->options.clock) + ANSWER_MS;
    question->operation.cancel = question_cancel;
    question->runtime = runtime;
    question->type = strdup(type);
    question->json = json_incref((json_t *)request);
    question->key = cache_key(type, request);
    question->done = done;
    question->context = context;
    struct error *error = question->type && question->key ? NULL : error_out_of_memory();
    if (!error)
        question->verdict = json_incref(json_object_get(runtime->current->answers, question->key));
    if (!error)
        error = question->verdict ? start_remembered(question)
                                  : lua_host_begin(&runtime->current->policy, &question->request);
    if (error) {
        question_free(question);
        return error;
    }
    *operation = &question->operation;
    return NULL;
}

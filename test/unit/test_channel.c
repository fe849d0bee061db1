/* Frames between the core and a Lua process, and what a hostile process can do with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "lua/channel.h"

#define FRAME(json_length, byte_length, text) json_length "\0\0\0" byte_length "\0\0\0" text

/* A channel, the other end of its socket, and what it said. */
struct fixture {
    uv_loop_t loop;
    struct channel *channel;
    int peer;
    unsigned received;
    unsigned ended;
    struct error *error;
    struct buffer seen; /* JSON and bytes of all frames, each pair ended by '|' */
    int descriptors[CHANNEL_DESCRIPTORS_MAX];
    size_t descriptor_count;
    bool free_on_frame;
};

static void on_received(void *context, struct channel_frame *frame)
{
    struct fixture *fixture = context;

    fixture->received++;
    json_write(&fixture->seen, frame->json);
    if (frame->length < 100)
        buffer_append(&fixture->seen, frame->bytes, frame->length);
    buffer_append_string(&fixture->seen, "|");
    for (size_t i = 0; i < frame->descriptor_count; i++) {
        fixture->descriptors[i] = frame->descriptors[i];
        frame->descriptors[i] = -1;
    }
    fixture->descriptor_count = frame->descriptor_count;
    if (fixture->free_on_frame)
        channel_free(TAKE(fixture->channel));
}

static void on_ended(void *context, struct error *error)
{
    struct fixture *fixture = context;

    fixture->ended++;
    fixture->error = error;
}

static void open_fixture(struct fixture *fixture, bool accepts_descriptors)
{
    int ends[2];

    memset(fixture, 0, sizeof(*fixture));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    fixture->peer = ends[1];
    assert_null(channel_new(&fixture->loop, ends[0], accepts_descriptors, on_received, on_ended,
                            fixture, &fixture->channel));
}

static void close_fixture(struct fixture *fixture)
{
    channel_free(TAKE(fixture->channel));
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    if (fixture->peer >= 0)
        close(fixture->peer);
    for (size_t i = 0; i < fixture->descriptor_count; i++)
        close(fixture->descriptors[i]);
    buffer_free(&fixture->seen);
    error_free(fixture->error);
}

/* Writes raw bytes as a process may, and lets the loop see them. */
static void feed(struct fixture *fixture, const void *bytes, size_t length)
{
    assert_int_equal(send(fixture->peer, bytes, length, MSG_NOSIGNAL), length);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void run_until(struct fixture *fixture, const unsigned *counter, unsigned value)
{
    while (*counter < value)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static void a_frame_arrives_with_its_json_and_bytes(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture, false);
    assert_int_equal(channel_write(fixture.peer, "{\"a\":1}", 7, "xy\0z", 4, NULL, 0), 0);
    run_until(&fixture, &fixture.received, 1);
    assert_int_equal(fixture.seen.length, 7 + 4 + 1);
    assert_memory_equal(fixture.seen.bytes, "{\"a\":1}xy\0z|", 12);
    close_fixture(&fixture);
}

static void a_frame_cut_anywhere_arrives_when_it_is_whole(void **state)
{
    static const char bytes[] = FRAME("\x07", "\x02", "{\"a\":1}hi") FRAME("\x02", "\0", "{}");
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture, false);
    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        assert_int_equal(fixture.received, i < 17 ? 0 : 1);
        feed(&fixture, bytes + i, 1);
    }
    assert_string_equal(buffer_string(&fixture.seen), "{\"a\":1}hi|{}|");
    close_fixture(&fixture);
}

static void frames_keep_their_order_in_both_directions(void **state)
{
    enum { COUNT = 2000 };
    struct fixture fixture;
    struct channel_input *input;
    struct channel_message message;

    (void)state;
    open_fixture(&fixture, false);
    input = channel_input_new(fixture.peer);
    for (int i = 0; i < COUNT; i++) {
        _cleanup_(json) json_t *json = json_pack("{s:i}", "n", i);

        assert_null(channel_send(fixture.channel, json, "bytes", 5, NULL, 0));
    }
    for (int i = 0; i < COUNT; i++) {
        char expected[32];
        int length = snprintf(expected, sizeof(expected), "{\"n\":%d}", i);
        int next;

        while ((next = channel_input_next(input, false, &message)) == 2)
            uv_run(&fixture.loop, UV_RUN_NOWAIT);
        assert_int_equal(next, 1);
        assert_int_equal(message.json_length, length);
        assert_memory_equal(message.json, expected, length);
        assert_int_equal(message.length, 5);
        assert_int_equal(
            channel_write(fixture.peer, message.json, message.json_length, NULL, 0, NULL, 0), 0);
        if (i % 100 == 0)
            uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    run_until(&fixture, &fixture.received, COUNT);
    assert_memory_equal(fixture.seen.bytes, "{\"n\":0}|{\"n\":1}|{\"n\":2}|", 24);
    channel_input_free(input);
    close_fixture(&fixture);
}

static void a_process_that_is_gone_ends_the_channel_without_an_error(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture, false);
    assert_int_equal(channel_write(fixture.peer, "{}", 2, NULL, 0, NULL, 0), 0);
    close(fixture.peer);
    fixture.peer = -1;
    run_until(&fixture, &fixture.ended, 1);
    assert_int_equal(fixture.received, 1);
    assert_null(fixture.error);
    close_fixture(&fixture);
}

static void what_was_written_before_the_end_is_read_although_sending_fails(void **state)
{
    struct fixture fixture;
    _cleanup_(json) json_t *json = json_object();

    (void)state;
    open_fixture(&fixture, false);
    assert_int_equal(channel_write(fixture.peer, "{}", 2, NULL, 0, NULL, 0), 0);
    close(fixture.peer);
    fixture.peer = -1;
    assert_null(channel_send(fixture.channel, json, NULL, 0, NULL, 0));
    run_until(&fixture, &fixture.ended, 1);
    assert_int_equal(fixture.received, 1);
    assert_null(channel_send(fixture.channel, json, NULL, 0, NULL, 0));
    close_fixture(&fixture);
}

static void a_channel_may_be_freed_inside_its_callback(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture, false);
    fixture.free_on_frame = true;
    feed(&fixture, FRAME("\x02", "\0", "{}") FRAME("\x02", "\0", "{}"), 20);
    run_until(&fixture, &fixture.received, 1);
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture.received, 1);
    assert_int_equal(fixture.ended, 0);
    close_fixture(&fixture);
}

static void a_broken_frame_ends_the_channel(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t length;
        const char *message;
    } cases[] = {
        {"no JSON", "\0\0\0\0\0\0\0\0", 8, "larger than 16 MiB or empty"},
        {"JSON too long", "\1\0\0\1\0\0\0\0", 8, "larger than 16 MiB or empty"},
        {"bytes too long", "\2\0\0\0\xff\xff\xff\xff", 8, "larger than 16 MiB or empty"},
        {"too long together", "\2\0\0\0\xff\xff\xff\0", 8, "larger than 16 MiB or empty"},
        {"both of 4 GiB", "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "larger than 16 MiB or empty"},
        {"no object", FRAME("\x02", "\0", "[]"), 10, "not an object"},
        {"no JSON text", FRAME("\x02", "\0", "{x"), 10, "broke the protocol"},
        {"bytes after JSON", FRAME("\x03", "\0", "{}x"), 11, "broke the protocol"},
        {"a key twice", FRAME("\x0d", "\0", "{\"a\":1,\"a\":2}"), 21, "broke the protocol"},
        {"descriptors that are not there", FRAME("\x11", "\0", "{\"descriptors\":1}"), 25,
         "descriptors are not those"},
        {"a negative number of descriptors", FRAME("\x12", "\0", "{\"descriptors\":-1}"), 26,
         "descriptors are not those"},
        {"descriptors that are no number", FRAME("\x12", "\0", "{\"descriptors\":[]}"), 26,
         "descriptors are not those"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;

        print_message("%s\n", cases[i].name);
        open_fixture(&fixture, true);
        feed(&fixture, cases[i].bytes, cases[i].length);
        run_until(&fixture, &fixture.ended, 1);
        assert_int_equal(fixture.received, 0);
        assert_non_null(fixture.error);
        assert_string_equal(fixture.error->reason, "Protocol");
        assert_non_null(strstr(fixture.error->message, cases[i].message));
        close_fixture(&fixture);
    }
}

static void random_bytes_never_harm_the_core(void **state)
{
    static const char good[] = FRAME("\x11", "\x02", "{\"descriptors\":0}ab");
    unsigned seed = (unsigned)getpid();

    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 300; round++) {
        struct fixture fixture;
        char bytes[(sizeof(good) - 1) * 3];

        open_fixture(&fixture, round % 2 == 0);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = good[i % (sizeof(good) - 1)];
        for (int change = 0; change < 1 + round % 5; change++)
            bytes[(size_t)rand_r(&seed) % sizeof(bytes)] = (char)rand_r(&seed);
        feed(&fixture, bytes, sizeof(bytes));
        close(fixture.peer);
        fixture.peer = -1;
        run_until(&fixture, &fixture.ended, 1);
        close_fixture(&fixture);
    }
}

static void the_largest_frame_passes_and_a_larger_one_is_refused(void **state)
{
    struct fixture fixture;
    struct channel_message message;
    struct channel_input *input;
    char *bytes = calloc(1, CHANNEL_FRAME_MAX);
    _cleanup_(json) json_t *json = json_object();
    int next;

    (void)state;
    open_fixture(&fixture, false);
    input = channel_input_new(fixture.peer);
    struct error *error =
        channel_send(fixture.channel, json, bytes, CHANNEL_FRAME_MAX - 1, NULL, 0);

    assert_non_null(error);
    assert_string_equal(error->reason, "FrameTooLarge");
    error_free(error);
    assert_null(channel_send(fixture.channel, json, bytes, CHANNEL_FRAME_MAX - 2, NULL, 0));
    while ((next = channel_input_next(input, false, &message)) == 2)
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    assert_int_equal(next, 1);
    assert_int_equal(message.length, CHANNEL_FRAME_MAX - 2);
    assert_int_equal(channel_write(fixture.peer, "{}", 2, bytes, CHANNEL_FRAME_MAX, NULL, 0),
                     EMSGSIZE);
    channel_input_free(input);
    free(bytes);
    close_fixture(&fixture);
}

static void a_process_that_does_not_read_fills_a_bounded_queue(void **state)
{
    struct fixture fixture;
    size_t length = CHANNEL_FRAME_MAX - 2;
    char *bytes = calloc(1, length);
    _cleanup_(json) json_t *json = json_object();
    struct error *error = NULL;
    size_t sent = 0;

    (void)state;
    open_fixture(&fixture, false);
    for (; !error && sent <= CHANNEL_QUEUE_MAX + length; sent += length) {
        error = channel_send(fixture.channel, json, bytes, length, NULL, 0);
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    assert_non_null(error);
    assert_string_equal(error->reason, "QueueFull");
    error_free(error);
    free(bytes);
    close_fixture(&fixture);
}

static void descriptors_travel_with_their_frames(void **state)
{
    struct fixture fixture;
    struct channel_input *input;
    struct channel_message message;
    static const char json[] = "{\"descriptors\":2}";
    int pipes[2];
    struct stat expected, found;

    (void)state;
    open_fixture(&fixture, true);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(channel_write(fixture.peer, "{}", 2, NULL, 0, NULL, 0), 0);
    assert_int_equal(channel_write(fixture.peer, json, strlen(json), NULL, 0, pipes, 2), 0);
    run_until(&fixture, &fixture.received, 2);
    assert_int_equal(fixture.descriptor_count, 2);
    assert_int_equal(fstat(fixture.descriptors[1], &found), 0);
    assert_int_equal(fstat(pipes[1], &expected), 0);
    assert_int_equal(found.st_ino, expected.st_ino);
    assert_int_equal(fcntl(fixture.descriptors[0], F_GETFD), FD_CLOEXEC);

    input = channel_input_new(fixture.peer);
    for (int i = 0; i < 3; i++) {
        _cleanup_(json) json_t *object = json_pack("{s:i}", "descriptors", 2);
        int copies[2] = {dup(pipes[0]), dup(pipes[1])};

        assert_null(channel_send(fixture.channel, object, NULL, 0, copies, 2));
    }
    for (int i = 0; i < 3; i++) {
        while (channel_input_next(input, false, &message) == 2)
            uv_run(&fixture.loop, UV_RUN_NOWAIT);
        assert_int_equal(message.descriptor_count, 2);
        assert_int_equal(fstat(message.descriptors[1], &found), 0);
        assert_int_equal(found.st_ino, expected.st_ino);
        close(message.descriptors[0]);
        close(message.descriptors[1]);
    }
    channel_input_free(input);
    close(pipes[0]);
    close(pipes[1]);
    close_fixture(&fixture);
}

static void descriptors_that_nobody_asked_for_end_the_channel(void **state)
{
    (void)state;
    for (int accepts = 0; accepts < 2; accepts++) {
        struct fixture fixture;
        int extra = open("/dev/null", O_RDONLY | O_CLOEXEC);

        open_fixture(&fixture, accepts);
        assert_int_equal(channel_write(fixture.peer, "{}", 2, NULL, 0, &extra, 1), 0);
        run_until(&fixture, &fixture.ended, 1);
        assert_non_null(fixture.error);
        assert_string_equal(fixture.error->reason, "Protocol");
        close(extra);
        close_fixture(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_arrives_with_its_json_and_bytes),
        cmocka_unit_test(a_frame_cut_anywhere_arrives_when_it_is_whole),
        cmocka_unit_test(frames_keep_their_order_in_both_directions),
        cmocka_unit_test(a_process_that_is_gone_ends_the_channel_without_an_error),
        cmocka_unit_test(what_was_written_before_the_end_is_read_although_sending_fails),
        cmocka_unit_test(a_channel_may_be_freed_inside_its_callback),
        cmocka_unit_test(a_broken_frame_ends_the_channel),
        cmocka_unit_test(random_bytes_never_harm_the_core),
        cmocka_unit_test(the_largest_frame_passes_and_a_larger_one_is_refused),
        cmocka_unit_test(a_process_that_does_not_read_fills_a_bounded_queue),
        cmocka_unit_test(descriptors_travel_with_their_frames),
        cmocka_unit_test(descriptors_that_nobody_asked_for_end_the_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

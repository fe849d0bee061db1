/*
 * Frames of a hostile host: how many descriptors come with the first and with the second message
 * (one byte), where the second begins (one byte), then the stream. The core's side takes whole
 * frames or ends the channel, once; no descriptor stays open. A host's own reader sees the same
 * frames.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "lua/channel.h"
#include "lua/frame.h"

#define STREAM_MAX ((size_t)65536) /* fits a socket's buffer */

struct host {
    const uint8_t *stream;
    size_t length;
    size_t at; /* where the next frame must begin */
    size_t frames;
    int ended;
    struct channel *channel;
};

/* The next frame of the stream, as channel.h describes it. */
static void expect_frame(struct host *host, const char *bytes, size_t length)
{
    struct frame_head head;
    char written[FRAME_HEAD_SIZE];

    CHECK(frame_head_read((const char *)host->stream + host->at, host->length - host->at, &head));
    CHECK(frame_head_valid(&head) && frame_size(&head) <= host->length - host->at);
    frame_head_write(written, head.json_length, head.byte_length);
    CHECK(memcmp(written, host->stream + host->at, FRAME_HEAD_SIZE) == 0);
    CHECK(length == head.byte_length);
    CHECK(memcmp(host->stream + host->at + FRAME_HEAD_SIZE + head.json_length, bytes, length) == 0);
    host->at += frame_size(&head);
    host->frames++;
}

static void on_received(void *context, struct channel_frame *frame)
{
    struct host *host = context;

    CHECK(!host->ended && json_is_object(frame->json));
    CHECK(frame->descriptor_count <= CHANNEL_DESCRIPTORS_MAX);
    for (size_t i = 0; i < frame->descriptor_count; i++)
        CHECK(fcntl(frame->descriptors[i], F_GETFD) & FD_CLOEXEC);
    expect_frame(host, frame->bytes, frame->length);
    CHECK(!channel_send(host->channel, frame->json, frame->bytes, frame->length, NULL, 0));
}

static void on_ended(void *context, struct error *error)
{
    struct host *host = context;

    host->ended++;
    fuzz_failed(error, ERROR_INTERNAL, "Protocol");
    channel_free(host->channel);
}

static void send_piece(int socket, const uint8_t *bytes, size_t length, size_t descriptors)
{
    const int numbers[] = {socket, socket};
    struct iovec piece = {.iov_base = (void *)bytes, .iov_len = length};

    if (length > 0)
        CHECK(frame_send(socket, &piece, 1, 0, numbers, descriptors) == (ssize_t)length);
}

static void open_stream(int sockets[2], const uint8_t *data, size_t size)
{
    size_t cut = data[1] % (size - 1);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) == 0);
    send_piece(sockets[1], data + 2, cut, data[0] % 3);
    send_piece(sockets[1], data + 2 + cut, size - 2 - cut, data[0] / 3 % 3);
    shutdown(sockets[1], SHUT_WR);
}

static void read_as_core(const uint8_t *data, size_t size, struct host *host)
{
    int sockets[2];
    uv_loop_t loop;

    CHECK(uv_loop_init(&loop) == 0);
    open_stream(sockets, data, size);
    CHECK(!channel_new(&loop, sockets[0], data[0] < 128, on_received, on_ended, host,
                       &host->channel));
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(host->ended == 1);
    CHECK(uv_loop_close(&loop) == 0);
    close(sockets[1]);
}

static void read_as_host(const uint8_t *data, size_t size, struct host *host)
{
    struct channel_message message;
    int sockets[2];
    int status;

    open_stream(sockets, data, size);
    struct channel_input *input = channel_input_new(sockets[0]);

    CHECK(input);
    while ((status = channel_input_next(input, false, &message)) == 1) {
        expect_frame(host, message.bytes, message.length);
        frame_close_all(message.descriptors, message.descriptor_count);
    }
    CHECK(status == 0 || status == -1);
    channel_input_free(input);
    close(sockets[0]);
    close(sockets[1]);
}

/* The lowest number that is free. */
static int next_descriptor(void)
{
    int number = dup(STDERR_FILENO);

    close(number);
    return number;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size - 2 > STREAM_MAX)
        return 0;
    int before = next_descriptor();
    struct host core = {.stream = data + 2, .length = size - 2};
    struct host host = core;

    read_as_core(data, size, &core);
    read_as_host(data, size, &host);
    if (data[0] % 9 == 0) /* no descriptors: the core is but stricter about the JSON */
        CHECK(host.frames >= core.frames);
    CHECK(next_descriptor() == before);
    return 0;
}

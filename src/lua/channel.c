/*
 * The core's side of a channel: frames out of a byte stream that a hostile process writes.
 *
 * The one idea: the loop's poll decides when to read and write, never the caller. Sending only
 * queues, so that frames queued in one turn of the loop leave in one sendmsg, and the core never
 * blocks; reading keeps whatever is not yet a whole frame. Descriptors arrive with the first byte
 * of their frame, and recvmsg never reads past a piece that carries some, so they belong to frames
 * in the order they came.
 */
#include "lua/channel.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "lua/frame.h"

#define READ_SIZE ((size_t)64 << 10)
#define READS_PER_EVENT 16 /* so that one busy host does not starve the others */
#define WRITE_PIECES 64

struct outgoing {
    struct outgoing *next;
    int descriptors[CHANNEL_DESCRIPTORS_MAX];
    size_t descriptor_count; /* 0 again once they are sent */
    size_t length;
    char bytes[];
};

struct channel {
    uv_poll_t poll;
    int descriptor;
    bool accepts_descriptors;
    channel_received received;
    channel_ended ended;
    void *context;
    struct buffer in;
    struct frame_descriptors pending; /* received, their frame not whole yet */
    struct outgoing *first, **last;
    size_t first_sent; /* bytes of `first` that are gone */
    size_t queued;     /* bytes of all frames in the queue */
    bool write_closed; /* the other side reads no more; what it wrote is still read */
    bool stopped;      /* ended was called, or channel_free: no callback any more */
};

static void drop_queue(struct channel *channel)
{
    while (channel->first) {
        struct outgoing *frame = channel->first;

        channel->first = frame->next;
        frame_close_all(frame->descriptors, frame->descriptor_count);
        free(frame);
    }
    channel->last = &channel->first;
    channel->first_sent = 0;
    channel->queued = 0;
}

/* Tells the owner, once. `error` is passed on. */
static void stop(struct channel *channel, struct error *error)
{
    channel->stopped = true;
    uv_poll_stop(&channel->poll);
    drop_queue(channel);
    channel->ended(channel->context, error);
}

static struct error *broken(const char *what)
{
    return error_new(ERROR_INTERNAL, "Protocol", "the Lua process broke the protocol: %s", what);
}

/* Parses the frame of `head`, whose content is at `text`, and gives it to the owner. */
static struct error *deliver(struct channel *channel, const struct frame_head *head,
                             const char *text)
{
    _cleanup_(json) json_t *json = NULL;
    struct channel_frame frame = {.bytes = text + head->json_length, .length = head->byte_length};
    int descriptors[CHANNEL_DESCRIPTORS_MAX];
    _cleanup_(error) struct error *error = json_parse(text, head->json_length, &json);

    if (error)
        return broken(error->message);
    if (!json_is_object(json))
        return broken("a frame's JSON is not an object");
    if (!frame_take_descriptors(&channel->pending, json, descriptors, &frame.descriptor_count))
        return broken("a frame's descriptors are not those it names");
    frame.json = json;
    frame.descriptors = descriptors;
    channel->received(channel->context, &frame);
    frame_close_all(descriptors, frame.descriptor_count);
    return NULL;
}

/* Gives every whole frame to the owner. What a callback frees stays readable until the loop turns.
 */
static struct error *deliver_all(struct channel *channel)
{
    struct error *error = NULL;
    struct frame_head head;
    size_t start = 0;

    while (!channel->stopped && !error &&
           frame_head_read(channel->in.bytes + start, channel->in.length - start, &head)) {
        if (!frame_head_valid(&head))
            error = broken("a frame is larger than 16 MiB or empty");
        else if (channel->in.length - start < frame_size(&head))
            break;
        else
            error = deliver(channel, &head, channel->in.bytes + start + FRAME_HEAD_SIZE);
        start += error ? 0 : frame_size(&head);
    }
    buffer_consume(&channel->in, start);
    if (!error && channel->pending.count > (channel->in.length ? CHANNEL_DESCRIPTORS_MAX : 0))
        error = broken("descriptors came without a frame");
    return error;
}

/* One recvmsg. False when there is nothing more to read now; *error when the channel is broken. */
static bool receive(struct channel *channel, struct error **error)
{
    size_t room = frame_missing(&channel->in, READ_SIZE);
    char *bytes = buffer_reserve(&channel->in, room);
    ssize_t count;

    if (!bytes) {
        *error = error_out_of_memory();
        return false;
    }
    count = frame_receive(channel->descriptor, bytes, room, MSG_DONTWAIT,
                          channel->accepts_descriptors ? &channel->pending : NULL);
    if (count > 0) {
        buffer_commit(&channel->in, (size_t)count);
        *error = deliver_all(channel);
        return !*error && !channel->stopped;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (count < 0 && errno == EBADMSG) {
        *error = broken("it sent descriptors that the core cannot take");
        return false;
    }
    stop(channel, NULL); /* end of file, or a reset: either way the other side is gone */
    return false;
}

static void consume_sent(struct channel *channel, size_t sent)
{
    channel->queued -= sent;
    sent += channel->first_sent;
    while (channel->first && sent >= channel->first->length) {
        struct outgoing *frame = channel->first;

        sent -= frame->length;
        channel->first = frame->next;
        free(frame);
    }
    if (!channel->first)
        channel->last = &channel->first;
    channel->first_sent = sent;
}

/* Fills `pieces` from the queue's front; a frame with descriptors must begin its own sendmsg. */
static size_t gather(const struct channel *channel, struct iovec *pieces)
{
    size_t count = 0;
    size_t skip = channel->first_sent;

    for (struct outgoing *frame = channel->first; frame && count < WRITE_PIECES;
         frame = frame->next) {
        if (count > 0 && frame->descriptor_count > 0)
            break;
        pieces[count].iov_base = frame->bytes + skip;
        pieces[count].iov_len = frame->length - skip;
        count++;
        skip = 0;
    }
    return count;
}

static void write_queue(struct channel *channel)
{
    while (channel->first) {
        struct iovec pieces[WRITE_PIECES];
        struct outgoing *first = channel->first;
        size_t count = gather(channel, pieces);
        ssize_t sent = frame_send(channel->descriptor, pieces, count, MSG_DONTWAIT,
                                  first->descriptors, first->descriptor_count);

        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (sent < 0) {
            channel->write_closed = true;
            drop_queue(channel);
            return;
        }
        frame_close_all(first->descriptors, first->descriptor_count);
        first->descriptor_count = 0;
        consume_sent(channel, (size_t)sent);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct channel *channel)
{
    if (!channel->stopped)
        uv_poll_start(&channel->poll, UV_READABLE | (channel->first ? UV_WRITABLE : 0), on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct channel *channel = poll->data;
    struct error *error = NULL;

    if (status < 0) {
        stop(channel, NULL);
        return;
    }
    if (events & UV_WRITABLE)
        write_queue(channel);
    if (events & UV_READABLE) {
        for (int i = 0; i < READS_PER_EVENT && receive(channel, &error); i++)
            continue;
    }
    if (error && !channel->stopped)
        stop(channel, error);
    else
        error_free(error);
    watch(channel);
}

struct error *channel_new(uv_loop_t *loop, int descriptor, bool accepts_descriptors,
                          channel_received received, channel_ended ended, void *context,
                          struct channel **channel)
{
    struct channel *made = calloc(1, sizeof(*made));
    int status;

    *channel = NULL;
    if (!made) {
        close(descriptor);
        return error_out_of_memory();
    }
    made->descriptor = descriptor;
    made->accepts_descriptors = accepts_descriptors;
    made->received = received;
    made->ended = ended;
    made->context = context;
    made->last = &made->first;
    made->poll.data = made;
    status = uv_poll_init(loop, &made->poll, descriptor);
    if (status < 0) {
        close(descriptor);
        free(made);
        return error_from_errno(ERROR_INTERNAL, "Channel", -status, "cannot watch a Lua process");
    }
    watch(made);
    *channel = made;
    return NULL;
}

/* A frame ready for the queue; NULL with *error where it cannot be made. Does not take descriptors.
 */
static struct outgoing *frame_make(const json_t *json, const void *bytes, size_t length,
                                   struct error **error)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct outgoing *frame = NULL;

    json_write(&text, json);
    *error = buffer_error(&text);
    if (*error)
        return NULL;
    if (text.length > CHANNEL_FRAME_MAX || length > CHANNEL_FRAME_MAX - text.length) {
        *error = error_new(ERROR_INTERNAL, "FrameTooLarge",
                           "a message of %zu bytes to a Lua process is over the limit of 16 MiB",
                           text.length + length);
        return NULL;
    }
    frame = calloc(1, sizeof(*frame) + FRAME_HEAD_SIZE + text.length + length);
    if (!frame) {
        *error = error_out_of_memory();
        return NULL;
    }
    frame->length = FRAME_HEAD_SIZE + text.length + length;
    frame_head_write(frame->bytes, text.length, length);
    memcpy(frame->bytes + FRAME_HEAD_SIZE, buffer_string(&text), text.length);
    if (length > 0)
        memcpy(frame->bytes + FRAME_HEAD_SIZE + text.length, bytes, length);
    return frame;
}

struct error *channel_send(struct channel *channel, const json_t *json, const void *bytes,
                           size_t length, const int *descriptors, size_t descriptor_count)
{
    struct error *error = NULL;
    struct outgoing *frame = frame_make(json, bytes, length, &error);

    if (!error && channel->queued + frame->length > CHANNEL_QUEUE_MAX)
        error = error_new(ERROR_INTERNAL, "QueueFull",
                          "a Lua process does not read: %zu bytes wait for it", channel->queued);
    if (error || channel->stopped || channel->write_closed) {
        for (size_t i = 0; i < descriptor_count; i++)
            close(descriptors[i]);
        free(frame);
        return error; /* to a process that is gone nothing is sent, and `ended` says so */
    }
    for (size_t i = 0; i < descriptor_count; i++)
        frame->descriptors[i] = descriptors[i];
    frame->descriptor_count = descriptor_count;
    *channel->last = frame;
    channel->last = &frame->next;
    channel->queued += frame->length;
    watch(channel);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    close(channel->descriptor);
    buffer_free(&channel->in);
    free(channel);
}

void channel_free(struct channel *channel)
{
    if (!channel)
        return;
    channel->stopped = true;
    drop_queue(channel);
    frame_close_all(channel->pending.numbers, channel->pending.count);
    channel->pending.count = 0;
    /* The memory stays until the loop's next turn: a callback of ours may be on the stack. */
    uv_close((uv_handle_t *)&channel->poll, on_closed);
}

/*
 * A host's side of a channel: blocking, and over a socket whose other end is the core, which is
 * trusted.
 *
 * It reads ahead: many small frames come in one recvmsg. The bytes of the frame handed out stay
 * where they are until the next call.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "lua/channel.h"
#include "lua/frame.h"

#define READ_SIZE ((size_t)64 << 10)

struct channel_input {
    int descriptor;
    struct buffer in;
    size_t start; /* where the next frame begins; what is before was handed out */
    struct frame_descriptors pending;
};

struct channel_input *channel_input_new(int descriptor)
{
    struct channel_input *input = calloc(1, sizeof(*input));

    if (input)
        input->descriptor = descriptor;
    return input;
}

void channel_input_free(struct channel_input *input)
{
    if (!input)
        return;
    frame_close_all(input->pending.numbers, input->pending.count);
    buffer_free(&input->in);
    free(input);
}

/* Only frames that carry descriptors are parsed here, so that the others cost nothing twice. */
static bool take_descriptors(struct channel_input *input, struct channel_message *message)
{
    if (input->pending.count == 0) {
        message->descriptor_count = 0;
        return true;
    }
    _cleanup_(json) json_t *json =
        json_loadb(message->json, message->json_length, JSON_REJECT_DUPLICATES, NULL);

    return json && frame_take_descriptors(&input->pending, json, message->descriptors,
                                          &message->descriptor_count);
}

/* As channel_input_next, from what has been read already. */
static int next_buffered(struct channel_input *input, struct channel_message *message)
{
    const char *bytes = input->in.bytes ? input->in.bytes + input->start : NULL;
    size_t length = input->in.length - input->start;
    struct frame_head head;

    if (!frame_head_read(bytes, length, &head))
        return 2;
    if (!frame_head_valid(&head))
        return -1;
    if (length < frame_size(&head))
        return 2;
    message->json = bytes + FRAME_HEAD_SIZE;
    message->json_length = head.json_length;
    message->bytes = message->json + head.json_length;
    message->length = head.byte_length;
    input->start += frame_size(&head);
    return take_descriptors(input, message) ? 1 : -1;
}

int channel_input_next(struct channel_input *input, bool wait, struct channel_message *message)
{
    for (;;) {
        int status = next_buffered(input, message);

        if (status != 2)
            return status;
        buffer_consume(&input->in, input->start);
        input->start = 0;
        size_t room = frame_missing(&input->in, READ_SIZE);
        char *bytes = buffer_reserve(&input->in, room);

        if (!bytes)
            return -1;
        ssize_t count =
            frame_receive(input->descriptor, bytes, room, wait ? 0 : MSG_DONTWAIT, &input->pending);

        if (count > 0)
            buffer_commit(&input->in, (size_t)count);
        else if (count == 0 || errno == ECONNRESET)
            return 0;
        else
            return !wait && (errno == EAGAIN || errno == EWOULDBLOCK) ? 2 : -1;
    }
}

int channel_write(int descriptor, const char *json, size_t json_length, const void *bytes,
                  size_t length, const int *descriptors, size_t descriptor_count)
{
    char head[FRAME_HEAD_SIZE];
    struct iovec pieces[3] = {
        {.iov_base = head, .iov_len = FRAME_HEAD_SIZE},
        {.iov_base = (void *)json, .iov_len = json_length},
        {.iov_base = (void *)bytes, .iov_len = length},
    };
    size_t next = 0;

    if (json_length > CHANNEL_FRAME_MAX || length > CHANNEL_FRAME_MAX - json_length)
        return EMSGSIZE;
    frame_head_write(head, json_length, length);
    while (next < 3) {
        ssize_t sent =
            frame_send(descriptor, pieces + next, 3 - next, 0, descriptors, descriptor_count);

        if (sent < 0)
            return errno;
        descriptor_count = 0;
        for (; next < 3 && (size_t)sent >= pieces[next].iov_len; next++)
            sent -= (ssize_t)pieces[next].iov_len;
        if (next < 3) {
            pieces[next].iov_base = (char *)pieces[next].iov_base + sent;
            pieces[next].iov_len -= (size_t)sent;
        }
    }
    return 0;
}

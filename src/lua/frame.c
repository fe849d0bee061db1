/* A frame's head and the descriptors that travel with it: the part of the wire that both sides
 * share. */
#include "lua/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t read_u32(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;

    return (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
}

static void write_u32(char *bytes, size_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(unsigned char)(value >> (8 * i));
}

bool frame_head_read(const char *bytes, size_t length, struct frame_head *head)
{
    if (length < FRAME_HEAD_SIZE)
        return false;
    head->json_length = read_u32(bytes);
    head->byte_length = read_u32(bytes + 4);
    return true;
}

void frame_head_write(char bytes[FRAME_HEAD_SIZE], size_t json_length, size_t byte_length)
{
    write_u32(bytes, json_length);
    write_u32(bytes + 4, byte_length);
}

bool frame_head_valid(const struct frame_head *head)
{
    return head->json_length > 0 && head->json_length <= CHANNEL_FRAME_MAX &&
           head->byte_length <= CHANNEL_FRAME_MAX - head->json_length;
}

size_t frame_size(const struct frame_head *head)
{
    return FRAME_HEAD_SIZE + head->json_length + head->byte_length;
}

size_t frame_missing(const struct buffer *in, size_t least)
{
    struct frame_head head;

    if (!frame_head_read(in->bytes, in->length, &head) || !frame_head_valid(&head))
        return least;
    size_t size = frame_size(&head);

    return size > in->length && size - in->length > least ? size - in->length : least;
}

/* Keeps what fits; false if anything was lost. */
static bool keep_descriptors(struct msghdr *message, struct frame_descriptors *pending)
{
    bool complete = !(message->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < count; i++) {
            int number;

            memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            if (pending && pending->count < 2 * (size_t)CHANNEL_DESCRIPTORS_MAX) {
                pending->numbers[pending->count++] = number;
            } else {
                close(number);
                complete = false;
            }
        }
    }
    return complete;
}

ssize_t frame_receive(int socket, char *bytes, size_t room, int flags,
                      struct frame_descriptors *pending)
{
    union {
        char bytes[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {.iov_base = bytes, .iov_len = room};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t count;

    if (pending) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
    }
    do
        count = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count >= 0 && !keep_descriptors(&message, pending)) {
        errno = EBADMSG;
        return -1;
    }
    return count;
}

ssize_t frame_send(int socket, struct iovec *pieces, size_t count, int flags,
                   const int *descriptors, size_t descriptor_count)
{
    union {
        char bytes[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent;

    if (descriptor_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(descriptor_count * sizeof(int));
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);

        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(descriptor_count * sizeof(int));
        memcpy(CMSG_DATA(part), descriptors, descriptor_count * sizeof(int));
    }
    do
        sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

bool frame_take_descriptors(struct frame_descriptors *pending, const json_t *json,
                            int taken[CHANNEL_DESCRIPTORS_MAX], size_t *count)
{
    const json_t *named = json_object_get(json, "descriptors");
    json_int_t wanted = named ? json_integer_value(named) : 0;

    *count = 0;
    if (named && !json_is_integer(named))
        return false;
    if (wanted < 0 || wanted > CHANNEL_DESCRIPTORS_MAX || (size_t)wanted > pending->count)
        return false;
    *count = (size_t)wanted;
    for (size_t i = 0; i < *count; i++)
        taken[i] = pending->numbers[i];
    pending->count -= *count;
    memmove(pending->numbers, pending->numbers + *count, pending->count * sizeof(int));
    return true;
}

void frame_close_all(const int *descriptors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
}

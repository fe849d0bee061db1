/*
 * What both sides of a channel share: a frame's head, and messages that carry descriptors.
 * Only channel.c and channel_input.c use this.
 */
#ifndef SLUICE_LUA_FRAME_H
#define SLUICE_LUA_FRAME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/buffer.h"
#include "lua/channel.h"

#define FRAME_HEAD_SIZE ((size_t)8)

struct frame_head {
    size_t json_length;
    size_t byte_length;
};

/* Descriptors that came and were not given to a frame yet: those of a frame that is not whole, and
 * those of the next, which can share a piece of the stream with the end of the first. */
struct frame_descriptors {
    int numbers[2 * CHANNEL_DESCRIPTORS_MAX];
    size_t count;
};

/* False while fewer than FRAME_HEAD_SIZE bytes are there. */
bool frame_head_read(const char *bytes, size_t length, struct frame_head *head);
void frame_head_write(char bytes[FRAME_HEAD_SIZE], size_t json_length, size_t byte_length);

/* Whether the lengths keep the limit, alone and together, and there is any JSON. */
bool frame_head_valid(const struct frame_head *head);

/* Head and content; only of a valid head. */
size_t frame_size(const struct frame_head *head);

/* How many bytes to read next: the rest of the frame that `in` begins with, at least `least`. */
size_t frame_missing(const struct buffer *in, size_t least);

/* recvmsg over EINTR. Descriptors go to `pending`, or nowhere if that is NULL; those that are lost
 * or too many give -1 with errno EBADMSG. Else as recvmsg. */
ssize_t frame_receive(int socket, char *bytes, size_t room, int flags,
                      struct frame_descriptors *pending);

/* sendmsg over EINTR, without SIGPIPE, with `descriptors` (not closed) on the first byte. */
ssize_t frame_send(int socket, struct iovec *pieces, size_t count, int flags,
                   const int *descriptors, size_t descriptor_count);

/* Takes as many descriptors from `pending` as `json` names; false if that is no number in range or
 * more than are there. */
bool frame_take_descriptors(struct frame_descriptors *pending, const json_t *json,
                            int taken[CHANNEL_DESCRIPTORS_MAX], size_t *count);

/* Closes those that are not -1. */
void frame_close_all(const int *descriptors, size_t count);

#endif

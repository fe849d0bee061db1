/*
 * The wire between the core and a Lua process: frames over a stream socketpair.
 *
 * A frame is u32 JSON length, u32 byte length (both little-endian), the JSON (one object), the
 * bytes; at most CHANNEL_FRAME_MAX in all. JSON refers to bytes by offset, because bodies and Lua
 * strings are not always UTF-8. Descriptors travel with SCM_RIGHTS on a frame's first byte; its
 * JSON's "descriptors" says how many. Everything that a host sends is hostile input: a frame that
 * breaks a rule ends the channel, and with it the process. The core's side never blocks: what the
 * socket does not take waits in a bounded queue. A host's side blocks.
 */
#ifndef SLUICE_LUA_CHANNEL_H
#define SLUICE_LUA_CHANNEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"

#define CHANNEL_FRAME_MAX ((size_t)16 << 20)
#define CHANNEL_QUEUE_MAX \
    ((size_t)256 << 20)           /* bytes that may wait for a host that does not read */
#define CHANNEL_DESCRIPTORS_MAX 2 /* in one frame */

/* A frame that came in; valid during the callback. Descriptors not taken (set to -1) are closed
 * after it. */
struct channel_frame {
    const json_t *json;
    const char *bytes;
    size_t length;
    int *descriptors;
    size_t descriptor_count;
};

/* The core's side. */
struct channel;

/* A whole frame came. */
typedef void (*channel_received)(void *context, struct channel_frame *frame);
/* The other side is gone (error NULL) or broke the protocol (error, owned by the receiver). Comes
 * once, and nothing after it. channel_free may be called from inside either callback. */
typedef void (*channel_ended)(void *context, struct error *error);

/* `descriptor` (a non-blocking stream socket) is owned by the channel. `accepts_descriptors`:
 * whether frames may carry any. */
struct error *channel_new(uv_loop_t *loop, int descriptor, bool accepts_descriptors,
                          channel_received received, channel_ended ended, void *context,
                          struct channel **channel) __attribute__((warn_unused_result));

/* Queues a frame; written as soon as the socket takes it, many frames in one write. `descriptors`
 * are owned by the channel from here on. A frame that is too large is an error (ERROR_INTERNAL,
 * FrameTooLarge). */
struct error *channel_send(struct channel *channel, const json_t *json, const void *bytes,
                           size_t length, const int *descriptors, size_t descriptor_count)
    __attribute__((warn_unused_result));

void channel_free(struct channel *channel);

/* The host's side: blocking, over a descriptor that it was started with. */

struct channel_input; /* reads ahead; one per descriptor */

/* The JSON stays text here: hosts decode it straight into Lua values. */
struct channel_message {
    const char *json;
    size_t json_length;
    const char *bytes;
    size_t length;
    int descriptors[CHANNEL_DESCRIPTORS_MAX]; /* the reader's to close */
    size_t descriptor_count;
};

struct channel_input *channel_input_new(int descriptor); /* NULL without memory */
void channel_input_free(struct channel_input *input);

/* 1: *message is a whole frame, valid until the next call; 0: the core is gone; -1: broken. Waits
 * for a frame if `wait`, else returns 2 where none is complete yet. */
int channel_input_next(struct channel_input *input, bool wait, struct channel_message *message);

/* Writes a frame whole, waiting as long as it takes. 0, or an errno value. */
int channel_write(int descriptor, const char *json, size_t json_length, const void *bytes,
                  size_t length, const int *descriptors, size_t descriptor_count);

#endif

/*
 * YAML as kubectl reads and writes it (YAML 1.1 scalars of go-yaml v2, sigs.k8s.io/yaml), by way of
 * JSON text, which is what kubectl does too: one converter each way serves the core's manifests
 * (then read by jansson) and the Lua library (then read by its exact JSON decoder). Numbers pass as
 * text.
 */
#ifndef SLUICE_BASE_YAML_H
#define SLUICE_BASE_YAML_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Bounds on what one text may unfold to (aliases: the "billion laughs"). */
#define YAML_DEPTH_MAX 1000
#define YAML_NODES_MAX 4000000

/* One document of a stream. */
typedef struct error *(*yaml_document)(void *context, const char *json, size_t length, size_t line);

/* Calls `document` for each document of `text` in order, with its JSON and the line (from 1) where
 * it begins; empty documents count as null, and a text without any document has none. Bad YAML,
 * duplicate keys, a key that is no scalar, an unknown alias, a bound passed or bytes that are no
 * UTF-8: ERROR_CONFIGURATION, reason InvalidYAML, "line L column C: …". An error that `document`
 * returns ends the reading and is returned. */
struct error *yaml_read(const char *text, size_t length, yaml_document document, void *context)
    __attribute__((warn_unused_result));

/* The line (from 1) in `text` of the node at `path` of its document number `document` (from 0), or
 * of the nearest parent that is there. `path` is written as in messages:
 * "spec.hooks.postRequest[0].lua". With `content_line`, a block scalar counts from its first line
 * of content. 0 if the text cannot be read. */
size_t yaml_locate(const char *text, size_t length, size_t document, const char *path,
                   int content_line);

/* Appends JSON text (valid, as our own encoders write it) as one block-style YAML document without
 * a leading "---", keys in the order given; strings are quoted wherever kubectl's parser would take
 * the plain form for anything else, and multi-line strings become block literals where that is
 * exact. Invalid JSON: ERROR_INTERNAL. */
struct error *yaml_from_json(const char *json, size_t length, struct buffer *yaml)
    __attribute__((warn_unused_result));

#endif

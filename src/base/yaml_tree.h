/*
 * A YAML document as a tree of nodes: the part that reading and locating share. Private to
 * yaml_*.c.
 */
#ifndef SLUICE_BASE_YAML_TREE_H
#define SLUICE_BASE_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/error.h"

enum yaml_node_kind { YAML_NODE_SCALAR, YAML_NODE_SEQUENCE, YAML_NODE_MAPPING, YAML_NODE_ALIAS };

struct yaml_node {
    enum yaml_node_kind kind;
    bool implicit; /* a plain scalar without a tag, or with the tag "!": its type is to be resolved
                    */
    bool block;    /* a literal or folded block scalar */
    bool open;     /* being converted: meeting it again means that it contains itself */
    unsigned line; /* from 1 */
    unsigned column;                /* from 1, in characters */
    const char *tag;                /* in full, "tag:yaml.org,2002:str"; NULL without one */
    const char *text;               /* of a scalar, NUL-terminated; may hold NUL bytes */
    size_t length;                  /* of the text */
    struct yaml_node *target;       /* of an alias; may be a node that is still growing around it */
    struct yaml_node *first, *last; /* children; of a mapping: key, value, key, value, … */
    struct yaml_node *next;         /* the next child of the same parent */
};

/* A stream of documents over a text that must outlive it. */
struct yaml_stream;

/* NULL without memory. */
struct yaml_stream *yaml_stream_new(const char *text, size_t length);

/* Reads the next document; *root is valid until the next call, NULL at the end of the stream. An
 * empty document is an empty implicit scalar. Errors as yaml_read's. */
struct error *yaml_stream_next(struct yaml_stream *stream, struct yaml_node **root)
    __attribute__((warn_unused_result));

void yaml_stream_free(struct yaml_stream *stream);

/* An InvalidYAML error at the node: "line L column C: …". */
struct error *yaml_node_error(const struct yaml_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull, warn_unused_result));

/* What an alias stands for; any other node itself. */
struct yaml_node *yaml_node_follow(struct yaml_node *node);

/* Whether the node is the key of a merge, "<<". */
bool yaml_node_is_merge(const struct yaml_node *node);

CLEANUP_DEFINE(yaml_stream, struct yaml_stream *, yaml_stream_free)

#endif

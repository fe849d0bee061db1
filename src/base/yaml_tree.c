/*
 * libyaml's events made into a tree. Its one idea: everything of one document lives in one arena
 * that is dropped whole, so that no path through hostile input has anything to release; depth and
 * number of nodes are bounded while it grows.
 */
#include "base/yaml_tree.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/yaml.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define ANCHOR_SLOTS ((size_t)1 << 16)
#define TAG_BYTES_MAX 256 /* a %TAG directive can make every tag as long as itself */

struct chunk {
    struct chunk *next;
    max_align_t bytes[];
};

struct anchor {
    const char *name;
    struct yaml_node *node;
    struct anchor *next; /* in the same slot */
};

struct yaml_stream {
    const char *text;
    size_t length;
    yaml_parser_t parser;
    struct chunk *chunks; /* of the document, the newest first */
    char *free_bytes;     /* what is left of the newest */
    size_t free_count;
    struct anchor **anchors; /* of the document: ANCHOR_SLOTS lists, the newest first; NULL: none */
    size_t nodes;            /* of the document */
};

struct yaml_stream *yaml_stream_new(const char *text, size_t length)
{
    static const char mark[] = "\xEF\xBB\xBF";
    struct yaml_stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return NULL;
    if (!yaml_parser_initialize(&stream->parser)) {
        free(stream);
        return NULL;
    }
    if (length >= sizeof mark - 1 && memcmp(text, mark, sizeof mark - 1) == 0) {
        text += sizeof mark - 1;
        length -= sizeof mark - 1;
    }
    stream->text = text;
    stream->length = length;
    yaml_parser_set_encoding(&stream->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&stream->parser, (const unsigned char *)text, length);
    return stream;
}

static void drop_document(struct yaml_stream *stream)
{
    while (stream->chunks) {
        struct chunk *chunk = stream->chunks;

        stream->chunks = chunk->next;
        free(chunk);
    }
    stream->free_bytes = NULL;
    stream->free_count = 0;
    stream->anchors = NULL;
    stream->nodes = 0;
}

void yaml_stream_free(struct yaml_stream *stream)
{
    drop_document(stream);
    yaml_parser_delete(&stream->parser);
    free(stream);
}

/* Zeroed bytes that live as long as the document; NULL without memory. */
static void *allocate(struct yaml_stream *stream, size_t length)
{
    size_t rounded = (length + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    void *bytes;

    if (rounded < length)
        return NULL;
    if (rounded > stream->free_count) {
        size_t count = rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES;
        struct chunk *chunk = calloc(1, sizeof *chunk + count);

        if (!chunk)
            return NULL;
        chunk->next = stream->chunks;
        stream->chunks = chunk;
        stream->free_bytes = (char *)chunk->bytes;
        stream->free_count = count;
    }
    bytes = stream->free_bytes;
    stream->free_bytes += rounded;
    stream->free_count -= rounded;
    return bytes;
}

static const char *keep(struct yaml_stream *stream, const void *bytes, size_t length)
{
    char *copy = allocate(stream, length + 1);

    if (copy)
        memcpy(copy, bytes, length);
    return copy;
}

static struct error *__attribute__((format(printf, 3, 0)))
error_at(size_t line, size_t column, const char *format, va_list arguments)
{
    return error_wrap(error_new_v(ERROR_CONFIGURATION, "InvalidYAML", format, arguments),
                      "line %zu column %zu", line, column);
}

struct error *yaml_node_error(const struct yaml_node *node, const char *format, ...)
{
    va_list arguments;
    struct error *error;

    va_start(arguments, format);
    error = error_at(node->line, node->column, format, arguments);
    va_end(arguments);
    return error;
}

static struct error *__attribute__((format(printf, 2, 3)))
mark_error(yaml_mark_t mark, const char *format, ...)
{
    va_list arguments;
    struct error *error;

    va_start(arguments, format);
    error = error_at(mark.line + 1, mark.column + 1, format, arguments);
    va_end(arguments);
    return error;
}

/* What libyaml says went wrong, in our form. */
static struct error *parser_error(const struct yaml_stream *stream)
{
    const yaml_parser_t *parser = &stream->parser;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    yaml_mark_t mark = parser->problem_mark;

    if (parser->error == YAML_MEMORY_ERROR)
        return error_out_of_memory();
    if (parser->error == YAML_READER_ERROR) {
        size_t offset = parser->problem_offset;

        utf8_position(stream->text, offset < stream->length ? offset : stream->length, &mark.line,
                      &mark.column);
        mark.line--;
        mark.column--;
        if (parser->problem_value >= 0)
            return mark_error(mark, "%s (0x%02x)", problem, (unsigned)parser->problem_value);
    }
    if (parser->context)
        return mark_error(mark, "%s %s", parser->context, problem);
    return mark_error(mark, "%s", problem);
}

static struct error *next_event(struct yaml_stream *stream, yaml_event_t *event)
{
    return yaml_parser_parse(&stream->parser, event) ? NULL : parser_error(stream);
}

static struct yaml_node *new_node(struct yaml_stream *stream, enum yaml_node_kind kind,
                                  yaml_mark_t mark)
{
    struct yaml_node *node = allocate(stream, sizeof *node);

    if (!node)
        return NULL;
    node->kind = kind;
    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    return node;
}

/* FNV-1a that begins at an address, so that no text is prepared whose anchors share one slot. */
static struct anchor **anchor_slot(const struct yaml_stream *stream, const char *name)
{
    uint64_t hash = 14695981039346656037u ^ (uintptr_t)stream;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return &stream->anchors[(hash ^ hash >> 32) % ANCHOR_SLOTS];
}

static struct error *remember_anchor(struct yaml_stream *stream, struct yaml_node *node,
                                     const yaml_char_t *name)
{
    struct anchor *anchor, **slot;

    if (!name)
        return NULL;
    if (!stream->anchors)
        stream->anchors = allocate(stream, ANCHOR_SLOTS * sizeof(struct anchor *));
    anchor = allocate(stream, sizeof *anchor);
    if (!stream->anchors || !anchor)
        return error_out_of_memory();
    anchor->name = keep(stream, name, strlen((const char *)name));
    if (!anchor->name)
        return error_out_of_memory();
    anchor->node = node;
    slot = anchor_slot(stream, anchor->name);
    anchor->next = *slot;
    *slot = anchor;
    return NULL;
}

static struct error *make_alias(struct yaml_stream *stream, struct yaml_node *node,
                                const char *name)
{
    const struct anchor *anchor = stream->anchors ? *anchor_slot(stream, name) : NULL;

    for (; anchor; anchor = anchor->next) {
        if (strcmp(anchor->name, name) == 0) {
            node->target = anchor->node;
            return NULL;
        }
    }
    return yaml_node_error(node, "unknown alias '%s'", name);
}

static struct error *make_scalar(struct yaml_stream *stream, struct yaml_node *node,
                                 const yaml_event_t *event)
{
    yaml_scalar_style_t style = event->data.scalar.style;

    node->implicit = event->data.scalar.plain_implicit;
    node->block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    node->length = event->data.scalar.length;
    node->text = keep(stream, event->data.scalar.value, node->length);
    if (!node->text)
        return error_out_of_memory();
    if (event->data.scalar.tag) {
        const char *tag = (const char *)event->data.scalar.tag;

        node->tag = keep(stream, tag, strlen(tag));
        if (!node->tag)
            return error_out_of_memory();
    }
    return remember_anchor(stream, node, event->data.scalar.anchor);
}

static const yaml_char_t *tag_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.tag;
    default:
        return NULL;
    }
}

/* The node of an event that begins one. */
static struct error *make_node(struct yaml_stream *stream, const yaml_event_t *event,
                               struct yaml_node **made)
{
    enum yaml_node_kind kind = event->type == YAML_ALIAS_EVENT            ? YAML_NODE_ALIAS
                               : event->type == YAML_SCALAR_EVENT         ? YAML_NODE_SCALAR
                               : event->type == YAML_SEQUENCE_START_EVENT ? YAML_NODE_SEQUENCE
                                                                          : YAML_NODE_MAPPING;
    struct yaml_node *node = *made = new_node(stream, kind, event->start_mark);
    const yaml_char_t *tag = tag_of(event);

    if (!node)
        return error_out_of_memory();
    if (++stream->nodes > YAML_NODES_MAX)
        return yaml_node_error(node, "more than %d nodes", YAML_NODES_MAX);
    if (tag && strlen((const char *)tag) > TAG_BYTES_MAX)
        return yaml_node_error(node, "a tag is longer than %d bytes", TAG_BYTES_MAX);
    switch (kind) {
    case YAML_NODE_ALIAS:
        return make_alias(stream, node, (const char *)event->data.alias.anchor);
    case YAML_NODE_SCALAR:
        return make_scalar(stream, node, event);
    case YAML_NODE_SEQUENCE:
        return remember_anchor(stream, node, event->data.sequence_start.anchor);
    default:
        return remember_anchor(stream, node, event->data.mapping_start.anchor);
    }
}

static void add_child(struct yaml_node *parent, struct yaml_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

/* Takes one event into the tree under parents[*depth - 1]. */
static struct error *grow(struct yaml_stream *stream, const yaml_event_t *event,
                          struct yaml_node **parents, size_t *depth, struct yaml_node **root)
{
    struct yaml_node *node;
    struct error *error;

    if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) {
        --*depth;
        return NULL;
    }
    error = make_node(stream, event, &node);
    if (error)
        return error;
    if (*depth == 0)
        *root = node;
    else
        add_child(parents[*depth - 1], node);
    if (node->kind == YAML_NODE_SEQUENCE || node->kind == YAML_NODE_MAPPING) {
        if (*depth == YAML_DEPTH_MAX)
            return yaml_node_error(node, "nested deeper than %d levels", YAML_DEPTH_MAX);
        parents[(*depth)++] = node;
    }
    return NULL;
}

/* The events of one document's content, up to its end. `mark` is where the document begins. */
static struct error *read_content(struct yaml_stream *stream, yaml_mark_t mark,
                                  struct yaml_node **root)
{
    struct yaml_node *parents[YAML_DEPTH_MAX];
    size_t depth = 0;

    for (;;) {
        yaml_event_t event;
        struct error *error = next_event(stream, &event);
        bool ended;

        if (error)
            return error;
        ended = event.type == YAML_DOCUMENT_END_EVENT;
        if (!ended)
            error = grow(stream, &event, parents, &depth, root);
        yaml_event_delete(&event);
        if (error)
            return error;
        if (ended) {
            if ((*root)->kind == YAML_NODE_SCALAR && (*root)->implicit && (*root)->length == 0)
                (*root)->line = (unsigned)mark.line + 1; /* libyaml's mark is the next document's */
            return NULL;
        }
    }
}

struct error *yaml_stream_next(struct yaml_stream *stream, struct yaml_node **root)
{
    *root = NULL;
    drop_document(stream);
    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        yaml_mark_t mark;
        struct error *error = next_event(stream, &event);

        if (error)
            return error;
        type = event.type;
        mark = event.start_mark;
        yaml_event_delete(&event);
        if (type == YAML_DOCUMENT_START_EVENT)
            return read_content(stream, mark, root);
        if (type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT)
            return NULL;
    }
}

struct yaml_node *yaml_node_follow(struct yaml_node *node)
{
    return node->kind == YAML_NODE_ALIAS ? node->target : node;
}

bool yaml_node_is_merge(const struct yaml_node *node)
{
    return node->kind == YAML_NODE_SCALAR && node->length == 2 &&
           memcmp(node->text, "<<", 2) == 0 &&
           (node->implicit || (node->tag && strcmp(node->tag, "tag:yaml.org,2002:merge") == 0));
}

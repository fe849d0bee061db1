/*
 * YAML to JSON text, as kubectl converts it. Its one idea: aliases and merges unfold while the tree
 * is written out, under one count of nodes and one of bytes, so that a small text cannot become a
 * huge one.
 *
 * Merges work as in go-yaml v2: in the order written, so that what comes later wins, also over a
 * key that stands before "<<". A key given twice in the same mapping is an error here, which
 * kubectl leaves to the API server.
 */
#include "base/yaml.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "base/yaml_scalar.h"
#include "base/yaml_tree.h"

/* JSON bytes that one document may unfold to: this much, and as many times its stream's length. */
#define OUTPUT_BYTES_MIN ((size_t)16 << 20)
#define OUTPUT_FACTOR 16

#define TAG_PREFIX "tag:yaml.org,2002:"

struct converter {
    struct buffer json;
    size_t bytes_max;
    size_t nodes;
    size_t sources;   /* mappings whose entries were gathered */
    size_t key_bytes; /* of the keys gathered in this document, merged ones each time anew */
};

/* A member of a mapping, its own or merged into it. */
struct entry {
    size_t key_offset; /* in entries.keys */
    size_t key_length;
    size_t source;               /* which gathering of which mapping it came from */
    const struct yaml_node *key; /* for messages */
    struct yaml_node *value;     /* NULL once a later entry has replaced it */
};

struct entries {
    struct entry *items;
    size_t count;
    size_t capacity;
    struct buffer keys;
};

static struct error *convert(struct converter *converter, struct yaml_node *node, size_t depth);

static void cleanup_entries_(struct entries *entries)
{
    free(entries->items);
    buffer_free(&entries->keys);
}

static struct error *too_many_bytes(const struct converter *converter, const struct yaml_node *node)
{
    return yaml_node_error(node, "aliases unfold to more than %zu bytes", converter->bytes_max);
}

/* Enters what `node` is or stands for: against the bounds, and against what contains itself. */
static struct error *enter(struct converter *converter, struct yaml_node *node, size_t depth)
{
    if (yaml_node_follow(node)->open)
        return yaml_node_error(node, "an alias makes this value contain itself");
    if (depth > YAML_DEPTH_MAX)
        return yaml_node_error(node, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (++converter->nodes > YAML_NODES_MAX)
        return yaml_node_error(node, "aliases unfold to more than %d nodes", YAML_NODES_MAX);
    if (converter->json.length > converter->bytes_max)
        return too_many_bytes(converter, node);
    yaml_node_follow(node)->open = true;
    return NULL;
}

/* Whether a tagged scalar that resolved to `type` may carry `tag`, without its prefix. */
static bool tag_admits(const char *tag, enum yaml_type type, const struct yaml_node *node)
{
    if (strcmp(tag, "null") == 0)
        return type == YAML_TYPE_NULL;
    if (strcmp(tag, "bool") == 0)
        return type == YAML_TYPE_TRUE || type == YAML_TYPE_FALSE;
    if (strcmp(tag, "int") == 0)
        return type == YAML_TYPE_INTEGER;
    if (strcmp(tag, "float") == 0)
        return type == YAML_TYPE_INTEGER || type == YAML_TYPE_FLOAT || type == YAML_TYPE_NOT_FINITE;
    return type == YAML_TYPE_STRING && yaml_is_ambiguous(node->text, node->length);
}

static bool tag_resolves(const char *tag)
{
    static const char *const tags[] = {"null", "bool", "int", "float", "timestamp"};

    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (strcmp(tag, tags[i]) == 0)
            return true;
    }
    return false;
}

/* The type of a scalar by tag, style and text; `text` gets what a STRING, INTEGER or FLOAT is. */
static struct error *resolve(const struct yaml_node *node, enum yaml_type *type,
                             struct buffer *text)
{
    bool standard = node->tag && strncmp(node->tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0;
    const char *tag = standard ? node->tag + strlen(TAG_PREFIX) : NULL;

    *type = YAML_TYPE_STRING;
    if (tag && strcmp(tag, "binary") == 0) {
        if (!base64_decode(text, node->text, node->length))
            return yaml_node_error(node, "!!binary is not valid base64");
        if (utf8_valid_prefix(buffer_string(text), text->length) < text->length)
            return yaml_node_error(node, "!!binary holds bytes that are not UTF-8, for which JSON "
                                         "has no form");
        return buffer_error(text);
    }
    if (tag ? tag_resolves(tag) : !node->tag && node->implicit)
        *type = yaml_resolve(node->text, node->length, text);
    if (tag && tag_resolves(tag) && !tag_admits(tag, *type, node))
        return yaml_node_error(node, "'%.*s' is not a !!%s",
                               (int)utf8_clip(node->text, node->length, 40), node->text, tag);
    if (*type == YAML_TYPE_STRING)
        buffer_append(text, node->text, node->length);
    return buffer_error(text);
}

static struct error *convert_scalar(struct converter *converter, const struct yaml_node *node)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    enum yaml_type type;
    struct error *error = resolve(node, &type, &text);

    if (error)
        return error;
    switch (type) {
    case YAML_TYPE_STRING:
        json_text_string(&converter->json, buffer_string(&text), text.length);
        break;
    case YAML_TYPE_NOT_FINITE:
        return yaml_node_error(node, "'%s' is a number for which JSON has no form", node->text);
    case YAML_TYPE_NULL:
        buffer_append_string(&converter->json, "null");
        break;
    case YAML_TYPE_TRUE:
        buffer_append_string(&converter->json, "true");
        break;
    case YAML_TYPE_FALSE:
        buffer_append_string(&converter->json, "false");
        break;
    default:
        buffer_append(&converter->json, buffer_string(&text), text.length);
    }
    return NULL;
}

static struct error *convert_sequence(struct converter *converter, const struct yaml_node *node,
                                      size_t depth)
{
    buffer_append_byte(&converter->json, '[');
    for (struct yaml_node *child = node->first; child; child = child->next) {
        struct error *error = convert(converter, child, depth + 1);

        if (error)
            return error;
        if (child->next)
            buffer_append_byte(&converter->json, ',');
    }
    buffer_append_byte(&converter->json, ']');
    return NULL;
}

/* A float as a key: the shortest decimal of the nearest 32-bit float in Go's 'g' format, as
 * kubectl. */
static void append_float_key(struct buffer *keys, const char *number)
{
    double value = (double)strtof(number, NULL);
    int digits = 1;
    char text[32];
    long exponent;

    if (isinf(value)) {
        buffer_append_string(keys, value < 0 ? "-.inf" : ".inf");
        return;
    }
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, value);
    while ((double)strtof(text, NULL) != value && ++digits <= 9);
    exponent = strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 6)
        snprintf(text, sizeof text, "%.*g", digits < 6 ? 6 : digits, value);
    buffer_append_string(keys, text);
}

/* Appends the text that a key has in JSON. */
static struct error *convert_key(const struct yaml_node *key, struct buffer *keys)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    enum yaml_type type;
    struct error *error;

    if (key->kind != YAML_NODE_SCALAR)
        return yaml_node_error(key, "a key must be a scalar, this is a %s",
                               key->kind == YAML_NODE_MAPPING ? "mapping" : "sequence");
    error = resolve(key, &type, &text);
    if (error)
        return error;
    if (type == YAML_TYPE_NULL)
        return yaml_node_error(key, "a key must not be null; quote it if it is text");
    if (type == YAML_TYPE_TRUE || type == YAML_TYPE_FALSE)
        buffer_append_string(keys, type == YAML_TYPE_TRUE ? "true" : "false");
    else if (type == YAML_TYPE_NOT_FINITE)
        buffer_append_string(keys, strchr("nN", key->text[1]) ? ".nan"
                                   : key->text[0] == '-'      ? "-.inf"
                                                              : ".inf");
    else if (type == YAML_TYPE_FLOAT)
        append_float_key(keys, buffer_string(&text));
    else
        buffer_append(keys, buffer_string(&text), text.length);
    return buffer_error(keys);
}

static struct error *add_entry(struct converter *converter, struct entries *entries,
                               struct yaml_node *key, struct yaml_node *value, size_t source)
{
    struct entry *entry;
    size_t offset = entries->keys.length;
    struct error *error = convert_key(yaml_node_follow(key), &entries->keys);

    converter->key_bytes += entries->keys.length - offset;
    if (!error && converter->key_bytes > converter->bytes_max)
        error = too_many_bytes(converter, key);
    if (error)
        return error;
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? entries->capacity * 2 : 16;
        struct entry *items = reallocarray(entries->items, capacity, sizeof *items);

        if (!items)
            return error_out_of_memory();
        entries->items = items;
        entries->capacity = capacity;
    }
    entry = &entries->items[entries->count++];
    *entry = (struct entry){.key_offset = offset,
                            .key_length = entries->keys.length - offset,
                            .source = source,
                            .key = key,
                            .value = value};
    return NULL;
}

static struct error *gather(struct converter *converter, struct entries *entries,
                            struct yaml_node *mapping, size_t depth);

static struct error *merge_one(struct converter *converter, struct entries *entries,
                               struct yaml_node *value, size_t depth)
{
    struct yaml_node *mapping = yaml_node_follow(value);
    struct error *error;

    if (mapping->kind != YAML_NODE_MAPPING)
        return yaml_node_error(value, "'<<' merges a mapping or a sequence of mappings");
    error = enter(converter, value, depth);
    if (error)
        return error;
    error = gather(converter, entries, mapping, depth);
    mapping->open = false;
    return error;
}

/* Merges the mappings of a sequence from the last to the first: earlier ones take precedence. */
static struct error *merge_backwards(struct converter *converter, struct entries *entries,
                                     const struct yaml_node *sequence, size_t depth)
{
    size_t count = 0;
    _cleanup_(free) struct yaml_node **children = NULL;

    for (struct yaml_node *child = sequence->first; child; child = child->next)
        count++;
    children = calloc(count + 1, sizeof *children);
    if (!children)
        return error_out_of_memory();
    count = 0;
    for (struct yaml_node *child = sequence->first; child; child = child->next)
        children[count++] = child;
    while (count > 0) {
        struct error *error = merge_one(converter, entries, children[--count], depth);

        if (error)
            return error;
    }
    return NULL;
}

/* Adds the entries of `mapping`, those that it merges included, in the order in which they apply.
 */
static struct error *gather(struct converter *converter, struct entries *entries,
                            struct yaml_node *mapping, size_t depth)
{
    size_t source = ++converter->sources;
    struct yaml_node *value;

    for (struct yaml_node *key = mapping->first; key; key = value->next) {
        struct error *error;

        value = key->next;
        if (++converter->nodes > YAML_NODES_MAX)
            return yaml_node_error(key, "aliases unfold to more than %d nodes", YAML_NODES_MAX);
        if (!yaml_node_is_merge(key))
            error = add_entry(converter, entries, key, value, source);
        else if (value->kind == YAML_NODE_SEQUENCE)
            error = merge_backwards(converter, entries, value, depth + 1);
        else
            error = merge_one(converter, entries, value, depth + 1);
        if (error)
            return error;
    }
    return NULL;
}

static int compare_keys(const char *keys, const struct entry *a, const struct entry *b)
{
    size_t shorter = a->key_length < b->key_length ? a->key_length : b->key_length;
    int order = memcmp(keys + a->key_offset, keys + b->key_offset, shorter);

    return order ? order : (a->key_length > b->key_length) - (a->key_length < b->key_length);
}

static int compare_entries(const void *a, const void *b, void *context)
{
    const struct entry *first = *(struct entry *const *)a;
    const struct entry *second = *(struct entry *const *)b;
    int order = compare_keys(context, first, second);

    return order ? order : (first > second) - (first < second);
}

/* Of entries with the same key only the last stays. */
static struct error *settle(struct entries *entries)
{
    _cleanup_(free) struct entry **sorted = NULL;
    char *keys = entries->keys.bytes;

    if (entries->count < 2)
        return NULL;
    sorted = calloc(entries->count, sizeof *sorted);
    if (!sorted)
        return error_out_of_memory();
    for (size_t i = 0; i < entries->count; i++)
        sorted[i] = &entries->items[i];
    qsort_r(sorted, entries->count, sizeof *sorted, compare_entries, keys);
    for (size_t i = 1; i < entries->count; i++) {
        struct entry *earlier = sorted[i - 1], *later = sorted[i];

        if (compare_keys(keys, earlier, later) != 0)
            continue;
        if (earlier->source == later->source)
            return yaml_node_error(later->key, "key '%.*s' is given twice",
                                   (int)utf8_clip(keys + later->key_offset, later->key_length, 100),
                                   keys + later->key_offset);
        earlier->value = NULL;
    }
    return NULL;
}

static struct error *convert_mapping(struct converter *converter, struct yaml_node *node,
                                     size_t depth)
{
    _cleanup_(entries) struct entries entries = {.keys = BUFFER_INIT};
    struct buffer *json = &converter->json;
    const char *separator = "";
    struct error *error = gather(converter, &entries, node, depth);

    if (!error)
        error = settle(&entries);
    if (error)
        return error;
    buffer_append_byte(json, '{');
    for (size_t i = 0; i < entries.count; i++) {
        const struct entry *entry = &entries.items[i];

        if (!entry->value)
            continue;
        buffer_append_string(json, separator);
        separator = ",";
        json_text_string(json, buffer_string(&entries.keys) + entry->key_offset, entry->key_length);
        buffer_append_byte(json, ':');
        error = convert(converter, entry->value, depth + 1);
        if (error)
            return error;
    }
    buffer_append_byte(json, '}');
    return NULL;
}

static struct error *convert(struct converter *converter, struct yaml_node *node, size_t depth)
{
    struct error *error = enter(converter, node, depth);

    if (error)
        return error;
    node = yaml_node_follow(node);
    if (node->kind == YAML_NODE_SCALAR)
        error = convert_scalar(converter, node);
    else if (node->kind == YAML_NODE_SEQUENCE)
        error = convert_sequence(converter, node, depth);
    else
        error = convert_mapping(converter, node, depth);
    node->open = false;
    return error;
}

static struct error *read_documents(struct yaml_stream *stream, struct converter *converter,
                                    yaml_document document, void *context)
{
    for (;;) {
        struct yaml_node *root;
        struct error *error = yaml_stream_next(stream, &root);

        if (error || !root)
            return error;
        converter->nodes = 0;
        converter->key_bytes = 0;
        buffer_consume(&converter->json, converter->json.length);
        error = convert(converter, root, 0);
        if (!error)
            error = buffer_error(&converter->json);
        if (!error)
            error = document(context, converter->json.bytes, converter->json.length, root->line);
        if (error)
            return error;
    }
}

struct error *yaml_read(const char *text, size_t length, yaml_document document, void *context)
{
    _cleanup_(yaml_stream) struct yaml_stream *stream = yaml_stream_new(text, length);
    struct converter converter = {.json = BUFFER_INIT, .bytes_max = OUTPUT_BYTES_MIN};
    struct error *error;
    size_t scaled;

    if (!stream)
        return error_out_of_memory();
    if (!__builtin_mul_overflow(length, OUTPUT_FACTOR, &scaled) && scaled > converter.bytes_max)
        converter.bytes_max = scaled;
    error = read_documents(stream, &converter, document, context);
    buffer_free(&converter.json);
    return error;
}

/*
 * From a field's path back to its line: messages about a manifest name the place that a person
 * edits. Its one idea: go down the tree as far as the path is there, and keep the last line.
 */
#include "base/yaml.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml_tree.h"

/* Where a step of the path led. */
struct place {
    struct yaml_node *node; /* NULL: not there */
    size_t line;
    const char *rest; /* of the path */
};

static bool ends_step(char byte)
{
    return byte == '\0' || byte == '.' || byte == '[';
}

/* "KEY…": the longest key of the mapping that the path goes on with, for a key may hold dots. */
static struct place step_into_mapping(struct yaml_node *mapping, const char *path)
{
    struct place place = {NULL, 0, path};
    size_t longest = 0;
    struct yaml_node *value;

    for (struct yaml_node *key = mapping->first; key; key = value->next) {
        value = key->next;
        if (key->kind != YAML_NODE_SCALAR || key->length == 0 || key->length < longest ||
            strncmp(path, key->text, key->length) != 0 || !ends_step(path[key->length]))
            continue;
        longest = key->length;
        place = (struct place){yaml_node_follow(value), key->line, path + key->length};
    }
    return place;
}

/* "[N]…" */
static struct place step_into_sequence(struct yaml_node *sequence, const char *path)
{
    struct place place = {NULL, 0, path};
    char *end;
    unsigned long index;
    struct yaml_node *child = sequence->first;

    if (path[0] != '[')
        return place;
    index = strtoul(path + 1, &end, 10);
    if (end == path + 1 || *end != ']')
        return place;
    while (child && index-- > 0)
        child = child->next;
    if (child)
        place = (struct place){yaml_node_follow(child), child->line, end + 1};
    return place;
}

static size_t locate(struct yaml_node *node, const char *path, bool content_line)
{
    size_t line = node->line;

    while (*path != '\0') {
        struct place place = {NULL, 0, path};

        if (*path == '.')
            path++;
        if (node->kind == YAML_NODE_MAPPING)
            place = step_into_mapping(node, path);
        else if (node->kind == YAML_NODE_SEQUENCE)
            place = step_into_sequence(node, path);
        if (!place.node)
            return line;
        node = place.node;
        line = place.line;
        path = place.rest;
    }
    if (content_line && node->kind == YAML_NODE_SCALAR)
        line = node->line + (node->block ? 1 : 0);
    return line;
}

size_t yaml_locate(const char *text, size_t length, size_t document, const char *path,
                   int content_line)
{
    _cleanup_(yaml_stream) struct yaml_stream *stream = yaml_stream_new(text, length);

    if (!stream)
        return 0;
    for (size_t i = 0;; i++) {
        struct yaml_node *root;
        _cleanup_(error) struct error *error = yaml_stream_next(stream, &root);

        if (error || !root)
            return 0;
        if (i == document)
            return locate(root, path, content_line != 0);
    }
}

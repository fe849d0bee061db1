/*
 * See key.h. A key becomes a path and arrives from the network: it is taken apart into parts that
 * are each held against their own grammar, none of which has room for a slash, "..", or a NUL.
 */
#include "storage/key.h"

#include <stdlib.h>
#include <string.h>

#include "storage/storage.h"

#define LABEL_MAX 63
#define REVISION_MAX 128 /* hex digits of any digest in use */

static bool is_lower_or_digit(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* DNS-1123: a label, or labels joined by dots, whose ends are letters or digits. */
static bool dns_valid(const char *text, size_t max, bool dots)
{
    size_t length = strlen(text);

    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool at_end =
            i == 0 || i == length - 1 || (dots && (text[i - 1] == '.' || text[i + 1] == '.'));

        if (is_lower_or_digit(text[i]))
            continue;
        if (at_end || !(text[i] == '-' || (dots && text[i] == '.')))
            return false;
    }
    return true;
}

bool key_namespace_valid(const char *name)
{
    return dns_valid(name, LABEL_MAX, false);
}

bool key_name_valid(const char *name)
{
    return dns_valid(name, KEY_NAME_SIZE - 1, true);
}

bool key_file_valid(const char *file)
{
    size_t digits = strspn(file, "0123456789abcdef");

    return digits > 0 && digits <= REVISION_MAX && strcmp(file + digits, KEY_SUFFIX) == 0;
}

/* Copies what is before the next slash, or the end, and passes over the slash. False if it does not
 * fit. */
static bool take_part(const char **at, char *part, size_t size)
{
    size_t length = strcspn(*at, "/");

    if (length >= size)
        return false;
    memcpy(part, *at, length);
    part[length] = '\0';
    *at += length;
    if (**at == '/')
        (*at)++;
    return true;
}

static bool take_directories(const char **at, struct key_parts *parts)
{
    static const char root[] = KEY_ROOT "/";

    memset(parts, 0, sizeof(*parts));
    if (strncmp(*at, root, sizeof(root) - 1) != 0)
        return false;
    *at += sizeof(root) - 1;
    return take_part(at, parts->namespace_name, sizeof(parts->namespace_name)) &&
           take_part(at, parts->name, sizeof(parts->name));
}

bool key_parse(const char *key, struct key_parts *parts)
{
    const char *at = key;

    return take_directories(&at, parts) && take_part(&at, parts->file, sizeof(parts->file)) &&
           *at == '\0' && key[strlen(key) - 1] != '/' &&
           key_namespace_valid(parts->namespace_name) && key_name_valid(parts->name) &&
           key_file_valid(parts->file);
}

bool key_parse_prefix(const char *prefix, struct key_parts *parts)
{
    const char *at = prefix;

    return take_directories(&at, parts) && *at == '\0' && at[-1] == '/' && !strstr(prefix, "//") &&
           (!parts->namespace_name[0] || key_namespace_valid(parts->namespace_name)) &&
           (!parts->name[0] || key_name_valid(parts->name));
}

bool storage_key_valid(const char *key)
{
    struct key_parts parts;

    return key_parse(key, &parts);
}

struct error *key_list_add(struct key_list *list, const char *key)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        char **keys = reallocarray(list->keys, capacity, sizeof(*keys));

        if (!keys)
            return error_out_of_memory();
        list->keys = keys;
        list->capacity = capacity;
    }
    list->keys[list->count] = strdup(key);
    if (!list->keys[list->count])
        return error_out_of_memory();
    list->count++;
    return NULL;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void key_list_sort(struct key_list *list)
{
    if (list->count > 1)
        qsort(list->keys, list->count, sizeof(*list->keys), compare_keys);
}

void key_list_free(struct key_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->keys[i]);
    free(list->keys);
    *list = (struct key_list){0};
}

/* See dir_objects.h. Values are never put into a message. */
#include "catalog/dir_objects.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"

#define KEY_BYTES 32
#define SECRET_FILE_MAX ((size_t)1 << 20)

struct error *dir_objects_init(struct dir_objects *objects, const char *data_directory)
{
    memset(objects, 0, sizeof(*objects));
    objects->key_path = path_join(data_directory, "key");
    return objects->key_path ? NULL : error_out_of_memory();
}

static struct dir_object *find(const struct dir_objects *objects, const char *kind,
                               const char *namespace_name, const char *name)
{
    for (size_t i = 0; i < objects->count; i++) {
        struct dir_object *item = &objects->items[i];

        if (strcmp(item->kind, kind) == 0 && strcmp(item->namespace_name, namespace_name) == 0 &&
            strcmp(item->name, name) == 0)
            return item;
    }
    return NULL;
}

const struct dir_object *dir_objects_find(const struct dir_objects *objects, const char *kind,
                                          const char *namespace_name, const char *name)
{
    return find(objects, kind, namespace_name, name);
}

static struct error *set_value(json_t *data, const char *key, const void *bytes, size_t length)
{
    _cleanup_(buffer) struct buffer encoded = BUFFER_INIT;

    base64_encode(&encoded, bytes, length);
    if (encoded.failed ||
        json_object_set_new(data, key, json_stringn(buffer_string(&encoded), encoded.length)))
        return error_out_of_memory();
    return NULL;
}

static char *value_fault(const char *field, const char *key, const char *accepted)
{
    return format_string("%s.%s: accepted: %s", field, key, accepted);
}

/* The member `field` is there and no object of values; what is wrong then is in *fault. */
static struct error *check_values(const json_t *object, const char *field, char **fault)
{
    const json_t *values = json_object_get(object, field);

    if (!values || json_is_null(values) || json_is_object(values))
        return NULL;
    *fault = format_string("%s: found %s; accepted: an object of strings", field,
                           json_is_array(values) ? "a list" : "a single value");
    return *fault ? NULL : error_out_of_memory();
}

/* Members that are plain strings: stringData of a Secret, data of a ConfigMap. */
static struct error *add_plain(json_t *data, const json_t *object, const char *field, char **fault)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json_object_get(object, field), key, value)
    {
        if (!json_is_string(value)) {
            *fault = value_fault(field, key, "a string; quote numbers, true and false");
            return *fault ? NULL : error_out_of_memory();
        }
        struct error *error =
            set_value(data, key, json_string_value(value), json_string_length(value));
        if (error)
            return error;
    }
    return NULL;
}

/* Members in base64: data of a Secret, binaryData of a ConfigMap. */
static struct error *add_encoded(json_t *data, const json_t *object, const char *field,
                                 char **fault)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json_object_get(object, field), key, value)
    {
        _cleanup_(buffer) struct buffer bytes = BUFFER_INIT;

        if (!json_is_string(value) ||
            !base64_decode(&bytes, json_string_value(value), json_string_length(value))) {
            *fault = value_fault(field, key, "base64; plain text belongs in stringData");
            return *fault ? NULL : error_out_of_memory();
        }
        struct error *error = set_value(data, key, buffer_string(&bytes), bytes.length);
        if (error)
            return error;
    }
    return NULL;
}

static void item_clear(struct dir_object *item)
{
    free(item->kind);
    free(item->namespace_name);
    free(item->name);
    free(item->place);
    json_decref(item->data);
    free(item->uid);
    free(item->version);
}

/* Takes `data` in any case. */
static struct error *append(struct dir_objects *objects, const char *kind,
                            const char *namespace_name, const char *name, const char *place,
                            json_t *data)
{
    struct dir_object *items = reallocarray(objects->items, objects->count + 1, sizeof(*items));

    if (!items) {
        json_decref(data);
        return error_out_of_memory();
    }
    objects->items = items;
    struct dir_object *item = &items[objects->count++];
    *item = (struct dir_object){
        .kind = strdup(kind),
        .namespace_name = strdup(namespace_name),
        .name = strdup(name),
        .place = strdup(place),
        .data = data,
        .uid = format_string("dir-%s-%s-%s", kind, namespace_name, name),
    };
    return item->kind && item->namespace_name && item->name && item->place && item->uid
               ? NULL
               : error_out_of_memory();
}

static bool module_name_valid(const char *key)
{
    size_t length = strlen(key);

    return length > 4 && strcmp(key + length - 4, ".lua") == 0;
}

static struct error *add_module(struct dir_objects *objects, const char *kind, const char *origin,
                                const char *key, const char *text, size_t length)
{
    struct catalog_module *modules =
        reallocarray(objects->modules, objects->module_count + 1, sizeof(*modules));
    char *copy = malloc(length + 1); /* the text may hold NUL bytes */

    if (modules)
        objects->modules = modules;
    if (!modules || !copy) {
        free(copy);
        return error_out_of_memory();
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    struct catalog_module *module = &modules[objects->module_count++];
    *module = (struct catalog_module){
        .kind = strdup(kind),
        .name = strndup(key, strlen(key) - 4),
        .origin = format_string("%s key %s", origin, key),
        .text = copy,
        .length = length,
    };
    return module->kind && module->name && module->origin ? NULL : error_out_of_memory();
}

static void module_clear(const struct catalog_module *module)
{
    free((char *)module->kind);
    free((char *)module->name);
    free((char *)module->origin);
    free((char *)module->text);
}

/* Forgets all modules but the first `count`. */
static void keep_modules(struct dir_objects *objects, size_t count)
{
    while (objects->module_count > count)
        module_clear(&objects->modules[--objects->module_count]);
}

/* Each key NAME.lua of a labelled ConfigMap is a module. */
static struct error *add_modules(struct dir_objects *objects, const json_t *object,
                                 const char *namespace_name, const char *name, const char *kind,
                                 char **fault)
{
    static const char *const kinds[] = {"generator", "policy", "transform", "library"};
    _cleanup_(free) char *origin = format_string("ConfigMap %s/%s", namespace_name, name);
    bool known = false;
    const char *key;
    json_t *value;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        known = known || strcmp(kind, kinds[i]) == 0;
    if (!known) {
        *fault = format_string("metadata.labels['" LABEL_LUA "']: found '%s'; accepted: generator, "
                               "policy, transform or library",
                               kind);
        return *fault ? NULL : error_out_of_memory();
    }
    if (!origin)
        return error_out_of_memory();
    json_object_foreach((json_t *)json_object_get(object, "data"), key, value)
    {
        if (!module_name_valid(key)) {
            *fault = value_fault("data", key, "keys of the form NAME.lua");
            return *fault ? NULL : error_out_of_memory();
        }
        struct error *error = add_module(objects, kind, origin, key, json_string_value(value),
                                         json_string_length(value));
        if (error)
            return error;
    }
    return NULL;
}

struct error *dir_objects_add(struct dir_objects *objects, const json_t *object,
                              const char *namespace_name, const char *name, const char *place,
                              char **fault)
{
    const char *kind = json_get_string(object, "kind");
    const char *lua =
        json_get_string(json_object_get(json_object_get(object, "metadata"), "labels"), LABEL_LUA);
    const struct dir_object *other = find(objects, kind, namespace_name, name);
    bool secret = strcmp(kind, "Secret") == 0;
    size_t modules = objects->module_count;
    _cleanup_(json) json_t *data = json_object();
    struct error *error;

    *fault = NULL;
    if (other) {
        *fault = format_string("is there already, at %s", other->place);
        return *fault ? NULL : error_out_of_memory();
    }
    if (!data)
        return error_out_of_memory();
    const char *encoded = secret ? "data" : "binaryData";
    const char *plain = secret ? "stringData" : "data";
    error = check_values(object, encoded, fault);
    if (!error && !*fault)
        error = check_values(object, plain, fault);
    if (!error && !*fault)
        error = add_encoded(data, object, encoded, fault);
    if (!error && !*fault)
        error = add_plain(data, object, plain, fault);
    if (!error && !*fault && lua && !secret)
        error = add_modules(objects, object, namespace_name, name, lua, fault);
    if (error || *fault) {
        keep_modules(objects, modules);
        return error;
    }
    return append(objects, kind, namespace_name, name, place, TAKE(data));
}

#define SETTING_FORM "NS/NAME.KEY=env:VARIABLE or NS/NAME.KEY=file:PATH"

/* Never what follows '=', nor anything where there is none: it may be the value itself. */
static struct error *bad_setting(const char *setting)
{
    const char *equals = strchr(setting, '=');

    if (!equals)
        return error_new(ERROR_CONFIGURATION, "Usage",
                         "--secret: found a setting without '='; accepted: " SETTING_FORM);
    return error_new(ERROR_CONFIGURATION, "Usage",
                     "--secret: found '%.*s…'; accepted: " SETTING_FORM, (int)(equals - setting),
                     setting);
}

static struct error *read_secret(const char *setting, const char *from, struct buffer *value)
{
    if (strncmp(from, "file:", 5) == 0)
        return error_wrap(file_read(from + 5, SECRET_FILE_MAX, value), "--secret");
    if (strncmp(from, "env:", 4) != 0)
        return bad_setting(setting);
    const char *text = getenv(from + 4);
    if (!text)
        return error_new(ERROR_CONFIGURATION, "Usage",
                         "--secret: the environment has no variable '%s'", from + 4);
    buffer_append_string(value, text);
    return buffer_error(value);
}

struct error *dir_objects_set_secret(struct dir_objects *objects, const char *setting)
{
    _cleanup_(buffer) struct buffer value = BUFFER_INIT;
    _cleanup_(free) char *namespace_name = strdup(setting);
    char *equals = namespace_name ? strchr(namespace_name, '=') : NULL;
    char *name = namespace_name ? strchr(namespace_name, '/') : NULL;
    char *key = name ? strchr(name, '.') : NULL;

    if (!namespace_name)
        return error_out_of_memory();
    if (!equals || !name || !key || key > equals)
        return bad_setting(setting);
    *equals++ = *name++ = *key++ = '\0';
    if (!namespace_name_valid(namespace_name) || !object_name_valid(name) || !*key)
        return bad_setting(setting);
    struct error *error = read_secret(setting, equals, &value);
    if (!error && !find(objects, "Secret", namespace_name, name))
        error = append(objects, "Secret", namespace_name, name, "--secret", json_object());
    if (error)
        return error;
    return set_value(find(objects, "Secret", namespace_name, name)->data, key,
                     buffer_string(&value), value.length);
}

/* Reads the key, or makes it: 32 random bytes in hex, readable by us only. */
static struct error *load_key(struct dir_objects *objects)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    unsigned char random[KEY_BYTES];
    struct error *error = file_read(objects->key_path, 2 * KEY_BYTES, &text);

    if (!error && text.length == 2 * KEY_BYTES) {
        objects->key = buffer_steal(&text);
        return objects->key ? NULL : error_out_of_memory();
    }
    error_free(error);
    buffer_free(&text);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_new(ERROR_INTERNAL, "RandomFailed", "cannot get random bytes");
    for (size_t i = 0; i < sizeof(random); i++)
        buffer_appendf(&text, "%02x", random[i]);
    _cleanup_(fd) int descriptor =
        open(objects->key_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0 || file_write_all(descriptor, buffer_string(&text), text.length) != 0)
        return error_new(ERROR_STORAGE, "FileWriteFailed", "%s: cannot write", objects->key_path);
    objects->key = buffer_steal(&text);
    return objects->key ? NULL : error_out_of_memory();
}

static struct error *set_version(const struct dir_objects *objects, struct dir_object *item)
{
    _cleanup_(buffer) struct buffer canonical = BUFFER_INIT;
    _cleanup_(buffer) struct buffer hex = BUFFER_INIT;
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    json_write(&canonical, item->data);
    if (canonical.failed ||
        !HMAC(EVP_sha256(), objects->key, (int)strlen(objects->key),
              (const unsigned char *)buffer_string(&canonical), canonical.length, code, &length))
        return error_out_of_memory();
    for (unsigned i = 0; i < length; i++)
        buffer_appendf(&hex, "%02x", code[i]);
    item->version = buffer_steal(&hex);
    return item->version ? NULL : error_out_of_memory();
}

struct error *dir_objects_finish(struct dir_objects *objects)
{
    struct error *error = objects->count > 0 ? load_key(objects) : NULL;

    for (size_t i = 0; !error && i < objects->count; i++)
        error = set_version(objects, &objects->items[i]);
    return error;
}

void dir_objects_free(struct dir_objects *objects)
{
    for (size_t i = 0; i < objects->count; i++)
        item_clear(&objects->items[i]);
    keep_modules(objects, 0);
    free(objects->items);
    free(objects->modules);
    free(objects->key);
    free(objects->key_path);
    memset(objects, 0, sizeof(*objects));
}

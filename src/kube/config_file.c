/*
 * Kubeconfigs. The one idea: what this client cannot do is refused by name, where it stands, rather
 * than left out: a user who is silently somebody else, or a proxy passed by, would be found late.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/yaml.h"
#include "http/url.h"
#include "kube/config_sources.h"

#define FILES_MAX 64

struct file {
    char *path;
    json_t *document;
};

struct files {
    struct file items[FILES_MAX];
    size_t count;
};

/* One entry of clusters, users or contexts: for reading and for messages. */
struct entry {
    const struct file *file;
    const char *list; /* "clusters" */
    const char *name;
    const json_t *body; /* of "cluster" */
};

static void files_free(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].path);
        json_decref(files->items[i].document);
    }
}

static inline void cleanup_files_(struct files *files)
{
    files_free(files);
}

static struct error *invalid(const char *format, ...)
    __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));

static struct error *invalid(const char *format, ...)
{
    struct error *error;
    va_list arguments;

    va_start(arguments, format);
    error = error_new_v(ERROR_CONFIGURATION, "InvalidKubeconfig", format, arguments);
    va_end(arguments);
    return error;
}

/* Turns any error about a file into ours. */
static struct error *restate(struct error *cause, const char *where)
{
    _cleanup_(error) struct error *taken = cause;

    if (taken->kind == ERROR_INTERNAL)
        return TAKE(taken);
    return invalid("%s%s", where, taken->message);
}

static struct error *take_document(void *context, const char *json, size_t length, size_t line)
{
    json_t **document = context;

    (void)line;
    return *document ? NULL : json_parse(json, length, document);
}

static struct error *parse_file(const char *path, const struct buffer *text, json_t **document)
{
    _cleanup_(free) char *where = format_string("%s: ", path);
    struct error *error = yaml_read(buffer_string(text), text->length, take_document, document);

    if (!where) {
        error_free(error);
        return error_out_of_memory();
    }
    if (error)
        return restate(error, where);
    if (!json_is_object(*document))
        return invalid("%s: is no kubeconfig; accepted: a document with clusters, users, contexts "
                       "and current-context",
                       path);
    return NULL;
}

static struct error *read_file(struct files *files, const char *path, bool may_be_missing)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    _cleanup_(json) json_t *document = NULL;
    struct error *error = file_read(path, KUBE_CONFIG_FILE_MAX, &text);

    if (error && may_be_missing && strcmp(error->reason, "FileNotFound") == 0) {
        error_free(error);
        return NULL;
    }
    if (error)
        return restate(error, "kubeconfig ");
    error = parse_file(path, &text, &document);
    if (error)
        return error;
    if (files->count == FILES_MAX)
        return invalid("KUBECONFIG names more than %d files", FILES_MAX);
    files->items[files->count] = (struct file){strdup(path), NULL};
    if (!files->items[files->count].path)
        return error_out_of_memory();
    files->items[files->count++].document = TAKE(document);
    return NULL;
}

static struct error *read_files(const char *paths, struct files *files)
{
    _cleanup_(free) char *copy = strdup(paths);
    bool several = strchr(paths, ':') != NULL;
    char *left = copy;
    char *path;

    if (!copy)
        return error_out_of_memory();
    while ((path = strsep(&left, ":"))) {
        struct error *error = *path ? read_file(files, path, several) : NULL;

        if (error)
            return error;
    }
    if (files->count == 0)
        return invalid("%s: no such file; accepted: kubeconfig files, separated by ':'", paths);
    return NULL;
}

/* The first entry called `name`, searched in the order of the files. */
static const json_t *search(const struct files *files, const char *list, const char *name,
                            const struct file **file)
{
    for (size_t i = 0; i < files->count; i++) {
        const json_t *items = json_object_get(files->items[i].document, list);
        const json_t *item;
        size_t index;

        json_array_foreach(items, index, item)
        {
            const char *found = json_get_string(item, "name");

            if (found && strcmp(found, name) == 0) {
                *file = &files->items[i];
                return item;
            }
        }
    }
    return NULL;
}

static struct error *not_found(const struct files *files, const struct entry *entry,
                               const char *named_by)
{
    _cleanup_(buffer) struct buffer names = BUFFER_INIT;

    for (size_t i = 0; i < files->count; i++) {
        const json_t *items = json_object_get(files->items[i].document, entry->list);
        const json_t *item;
        size_t index;

        json_array_foreach(items, index, item)
        {
            const char *name = json_get_string(item, "name");

            if (name)
                buffer_appendf(&names, "%s'%s'", names.length > 0 ? ", " : "", name);
        }
    }
    return invalid("%s: %s: found '%s', which is not in %s; accepted: %s", files->items[0].path,
                   named_by, entry->name, entry->list,
                   names.length > 0 ? buffer_string(&names) : "none, for the list is empty");
}

/* `member` is "cluster" for the list "clusters". */
static struct error *find(const struct files *files, const char *list, const char *member,
                          const char *name, const char *named_by, struct entry *entry)
{
    const json_t *item;

    *entry = (struct entry){.list = list, .name = name};
    item = search(files, list, name, &entry->file);
    if (!item)
        return not_found(files, entry, named_by);
    entry->body = json_object_get(item, member);
    if (!json_is_object(entry->body))
        return invalid("%s: %s['%s'].%s: missing, or no object", entry->file->path, list, name,
                       member);
    return NULL;
}

/* *text is borrowed; NULL where the field is missing or empty. */
static struct error *get_text(const struct entry *entry, const char *field, const char **text)
{
    const json_t *value = json_object_get(entry->body, field);
    _cleanup_(buffer) struct buffer found = BUFFER_INIT;

    *text = NULL;
    if (!value || json_is_null(value))
        return NULL;
    if (!json_is_string(value)) {
        json_describe(&found, value);
        return invalid("%s: %s['%s'].%s: found %s; accepted: a string", entry->file->path,
                       entry->list, entry->name, field, buffer_string(&found));
    }
    if (strlen(json_string_value(value)) != json_string_length(value))
        return invalid("%s: %s['%s'].%s: holds a NUL character", entry->file->path, entry->list,
                       entry->name, field);
    if (json_string_length(value) > 0)
        *text = json_string_value(value);
    return NULL;
}

/* A path in a kubeconfig counts from its directory. */
static char *resolve(const struct entry *entry, const char *path)
{
    const char *slash = strrchr(entry->file->path, '/');

    if (*path == '/' || !slash)
        return strdup(path);
    return format_string("%.*s/%s", (int)(slash - entry->file->path), entry->file->path, path);
}

static struct error *decode(const struct entry *entry, const char *field, const char *data,
                            struct buffer *bytes)
{
    if (!base64_decode(bytes, data, strlen(data)))
        return invalid("%s: %s['%s'].%s: is not valid base64", entry->file->path, entry->list,
                       entry->name, field);
    if (bytes->length == 0 || strlen(bytes->bytes) != bytes->length)
        return invalid("%s: %s['%s'].%s: is not PEM encoded in base64", entry->file->path,
                       entry->list, entry->name, field);
    return NULL;
}

static struct error *read_named(const struct entry *entry, const char *field, const char *path,
                                struct buffer *bytes)
{
    _cleanup_(free) char *resolved = resolve(entry, path);
    _cleanup_(free) char *where =
        format_string("%s: %s['%s'].%s: ", entry->file->path, entry->list, entry->name, field);
    struct error *error;

    if (!resolved || !where)
        return error_out_of_memory();
    error = file_read(resolved, KUBE_CONFIG_FILE_MAX, bytes);
    return error ? restate(error, where) : NULL;
}

/* PEM from FIELD-data, which wins, or from the file that FIELD names; NULL without either. */
static struct error *get_pem(const struct entry *entry, const char *field, char **pem)
{
    _cleanup_(free) char *data_field = format_string("%s-data", field);
    struct buffer bytes = BUFFER_INIT;
    const char *data = NULL;
    const char *path = NULL;
    struct error *error;

    if (!data_field)
        return error_out_of_memory();
    error = get_text(entry, data_field, &data);
    if (!error)
        error = get_text(entry, field, &path);
    if (!error && data)
        error = decode(entry, data_field, data, &bytes);
    else if (!error && path)
        error = read_named(entry, field, path, &bytes);
    if (!error && (data || path)) {
        *pem = buffer_steal(&bytes);
        error = *pem ? NULL : error_out_of_memory();
    }
    if (bytes.bytes)
        explicit_bzero(bytes.bytes, bytes.length);
    buffer_free(&bytes);
    return error;
}

static struct error *refuse_fields(const struct entry *entry, const char *const *fields,
                                   size_t count, const char *accepted)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(entry->body, fields[i]);
        bool empty =
            json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);

        if (value && !empty)
            return invalid("%s: %s['%s'].%s: is not supported; accepted: %s", entry->file->path,
                           entry->list, entry->name, fields[i], accepted);
    }
    return NULL;
}

static struct error *read_server(const struct entry *cluster, struct kube_config *config)
{
    _cleanup_(url) struct url url = URL_INIT;
    const char *server = NULL;
    struct error *error = get_text(cluster, "server", &server);
    size_t length;

    if (error)
        return error;
    if (!server)
        server = "";
    error = url_parse(server, NULL, &url);
    if (error) {
        _cleanup_(error) struct error *cause = error;

        return invalid("%s: clusters['%s'].server: %s; accepted: one such as "
                       "https://10.0.0.1:6443",
                       cluster->file->path, cluster->name, cause->message);
    }
    /* As curl reads it: what looks like https may be http ("http:/h"), where nothing secret goes.
     */
    length = strlen(url.text);
    while (length > 0 && url.text[length - 1] == '/')
        length--;
    config->server = strndup(url.text, length);
    return config->server ? NULL : error_out_of_memory();
}

static struct error *read_cluster(const struct entry *cluster, struct kube_config *config)
{
    static const char *const refused[] = {"proxy-url", "tls-server-name"};
    struct error *error = refuse_fields(cluster, refused, 2,
                                        "server, certificate-authority, "
                                        "certificate-authority-data, insecure-skip-tls-verify");

    if (!error)
        error = read_server(cluster, config);
    if (!error)
        error = get_pem(cluster, "certificate-authority", &config->ca_bundle);
    if (error)
        return error;
    config->insecure_skip_verify =
        json_get_boolean(cluster->body, "insecure-skip-tls-verify", false);
    if (config->insecure_skip_verify && config->ca_bundle)
        return invalid("%s: clusters['%s'].insecure-skip-tls-verify: found true beside a "
                       "certificate-authority; accepted: one of them",
                       cluster->file->path, cluster->name);
    config->ca_name = format_string("certificate-authority-data of cluster '%s' in %s",
                                    cluster->name, cluster->file->path);
    return config->ca_name ? NULL : error_out_of_memory();
}

static struct error *read_token(const struct entry *user, struct kube_config *config)
{
    const char *token = NULL;
    const char *path = NULL;
    struct error *error = get_text(user, "token", &token);
    _cleanup_(buffer) struct buffer found = BUFFER_INIT;

    if (!error)
        error = get_text(user, "tokenFile", &path);
    if (!error && path)
        error = read_named(user, "tokenFile", path, &found);
    if (found.bytes)
        explicit_bzero(found.bytes, found.length);
    if (error)
        return error;
    config->token = token ? strdup(token) : NULL;
    config->token_file = path ? resolve(user, path) : NULL;
    if ((token && !config->token) || (path && !config->token_file))
        return error_out_of_memory();
    return NULL;
}

static struct error *read_user(const struct entry *user, struct kube_config *config)
{
    static const char *const refused[] = {
        "exec", "auth-provider", "username",  "password",
        "as",   "as-uid",        "as-groups", "as-user-extra",
    };
    struct error *error =
        refuse_fields(user, refused, sizeof(refused) / sizeof(refused[0]),
                      "token, tokenFile, client-certificate and client-key, also with -data");

    if (!error)
        error = get_pem(user, "client-certificate", &config->client_certificate);
    if (!error)
        error = get_pem(user, "client-key", &config->client_key);
    if (!error && !config->client_certificate != !config->client_key)
        error = invalid("%s: users['%s']: found %s; accepted: client-certificate and client-key "
                        "together",
                        user->file->path, user->name,
                        config->client_key ? "client-key alone" : "client-certificate alone");
    return error ? error : read_token(user, config);
}

static struct error *no_text(const struct file *file, const json_t *found)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;

    json_describe(&text, found);
    return invalid("%s: current-context: found %s; accepted: a string", file->path,
                   buffer_string(&text));
}

static struct error *find_context(const struct files *files, struct entry *context)
{
    for (size_t i = 0; i < files->count; i++) {
        const json_t *current = json_object_get(files->items[i].document, "current-context");

        if (current && !json_is_null(current) && !json_is_string(current))
            return no_text(&files->items[i], current);
        if (json_string_length(current) > 0)
            return find(files, "contexts", "context", json_string_value(current), "current-context",
                        context);
    }
    return invalid("%s: current-context: missing; accepted: the name of one of the contexts",
                   files->items[0].path);
}

static struct error *read_context(const struct files *files, const struct entry *context,
                                  struct kube_config *config)
{
    _cleanup_(free) char *by_cluster = format_string("contexts['%s'].cluster", context->name);
    _cleanup_(free) char *by_user = format_string("contexts['%s'].user", context->name);
    const char *cluster_name = NULL;
    const char *user_name = NULL;
    const char *namespace_name = NULL;
    struct entry cluster = {0};
    struct entry user = {0};
    struct error *error = get_text(context, "cluster", &cluster_name);

    if (!error)
        error = get_text(context, "user", &user_name);
    if (!error)
        error = get_text(context, "namespace", &namespace_name);
    if (error)
        return error;
    config->namespace_name = strdup(namespace_name ? namespace_name : "default");
    if (!config->namespace_name || !by_cluster || !by_user)
        return error_out_of_memory();
    error =
        find(files, "clusters", "cluster", cluster_name ? cluster_name : "", by_cluster, &cluster);
    if (!error)
        error = read_cluster(&cluster, config);
    if (!error && user_name)
        error = find(files, "users", "user", user_name, by_user, &user);
    if (!error && user_name)
        error = read_user(&user, config);
    return error;
}

struct error *config_read_files(const char *paths, struct kube_config *config)
{
    _cleanup_(files) struct files files = {.count = 0};
    struct entry context = {0};
    struct error *error = read_files(paths, &files);

    if (!error)
        error = find_context(&files, &context);
    return error ? error : read_context(&files, &context, config);
}

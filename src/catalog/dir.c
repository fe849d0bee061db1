/*
 * The directory catalog behaves as an API server would: reads answer from memory, writes go to disk
 * on the thread pool and count once they are durable, and a write for a version that is past is a
 * conflict.
 */
#include "catalog/dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/work.h"
#include "catalog/dir_catalog.h"
#include "catalog/dir_child.h"

static struct dir_catalog *dir_of(struct catalog *catalog)
{
    return (struct dir_catalog *)catalog;
}

/* What an operation of ours does, by the rule of base/operation.h: `run` on the pool if there is
 * anything to do there, `deliver` on the loop. */
struct dir_work {
    struct work work; /* first: see base/work.h */
    struct dir_catalog *dir;
    struct dir_entry *entry; /* a reference, or NULL */
    char *names[3];          /* of what is asked for */
    json_t *object;          /* to be written; NULL: the file is removed */
    bool written;
    struct error *error; /* of run */
    union {
        catalog_source_done source;
        catalog_object_done object;
        catalog_done plain;
        catalog_version_done version;
    } done;
    void *context;
};

static void work_nothing(struct work *work)
{
    (void)work;
}

static void work_free(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    dir_entry_unref(work->entry);
    for (size_t i = 0; i < 3; i++)
        free(work->names[i]);
    json_decref(work->object);
    error_free(work->error);
    free(work);
}

static struct dir_work *work_new(struct dir_catalog *dir, struct dir_entry *entry, void *context)
{
    struct dir_work *work = calloc(1, sizeof(*work));

    if (!work)
        return NULL;
    work->dir = dir;
    work->entry = entry ? dir_entry_ref(entry) : NULL;
    work->context = context;
    return work;
}

/* Starts a look-up by up to three names. */
static struct error *start_lookup(struct dir_work *work, const struct work_ops *ops,
                                  const char *const names[3], struct operation **operation)
{
    struct dir_catalog *dir = work->dir;

    for (size_t i = 0; i < 3; i++) {
        work->names[i] = strdup(names[i]);
        if (!work->names[i]) {
            work_free(&work->work);
            return error_out_of_memory();
        }
    }
    return work_start(dir->loop, &work->work, ops, operation);
}

static void deliver_source(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;
    struct dir_entry *entry = dir_find_entry(work->dir, work->names[0], work->names[1]);
    struct source *source = NULL;
    struct error *error = entry ? dir_entry_snapshot(entry, &source) : NULL;

    work->done.source(work->context, error, source);
}

static const struct work_ops get_ops = {work_nothing, deliver_source, work_free};

static struct error *dir_get(struct catalog *catalog, const char *namespace_name, const char *name,
                             catalog_source_done done, void *context, struct operation **operation)
{
    struct dir_work *work = work_new(dir_of(catalog), NULL, context);

    if (!work)
        return error_out_of_memory();
    work->done.source = done;
    return start_lookup(work, &get_ops, (const char *const[]){namespace_name, name, ""}, operation);
}

static void deliver_object(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;
    const struct dir_object *found =
        dir_objects_find(&work->dir->objects, work->names[0], work->names[1], work->names[2]);
    struct catalog_object object;

    if (found)
        object = (struct catalog_object){found->uid, found->version, found->data};
    work->done.object(work->context, NULL, found ? &object : NULL);
}

static const struct work_ops get_object_ops = {work_nothing, deliver_object, work_free};

static struct error *dir_get_object(struct catalog *catalog, const char *kind,
                                    const char *namespace_name, const char *name,
                                    catalog_object_done done, void *context,
                                    struct operation **operation)
{
    struct dir_work *work = work_new(dir_of(catalog), NULL, context);

    if (!work)
        return error_out_of_memory();
    work->done.object = done;
    return start_lookup(work, &get_object_ops, (const char *const[]){kind, namespace_name, name},
                        operation);
}

static void run_declare(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    work->error = dir_child_check(work->entry->child_path);
}

static void run_publish(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    work->error = dir_child_write(work->entry->child_path, work->object);
}

static void run_remove_child(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    work->error = dir_child_remove(work->entry->child_path);
}

static void deliver_plain(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    work->done.plain(work->context, TAKE(work->error));
}

static const struct work_ops declare_ops = {run_declare, deliver_plain, work_free};
static const struct work_ops publish_ops = {run_publish, deliver_plain, work_free};
static const struct work_ops withdraw_ops = {run_remove_child, deliver_plain, work_free};

static struct error *source_moved_on(const struct source *source)
{
    return error_new(ERROR_CONFLICT, "Conflict", "%s/%s has changed meanwhile",
                     source->namespace_name, source->name);
}

/* Starts `ops` on the source's ExternalArtifact file; `object` (taken) is what it is to say. */
static struct error *start_child_work(struct catalog *catalog, const struct source *source,
                                      json_t *object, const struct work_ops *ops, catalog_done done,
                                      void *context, struct operation **operation)
{
    struct dir_catalog *dir = dir_of(catalog);
    struct dir_entry *entry = dir_find_entry(dir, source->namespace_name, source->name);
    struct dir_work *work = entry ? work_new(dir, entry, context) : NULL;

    if (!work) {
        json_decref(object);
        return entry ? error_out_of_memory() : source_moved_on(source);
    }
    work->object = object;
    work->done.plain = done;
    return work_start(dir->loop, &work->work, ops, operation);
}

/* Nobody looks for an ExternalArtifact file without an artifact; but the name must be free. */
static struct error *dir_declare(struct catalog *catalog, const struct source *source,
                                 catalog_done done, void *context, struct operation **operation)
{
    return start_child_work(catalog, source, NULL, &declare_ops, done, context, operation);
}

static struct error *dir_publish(struct catalog *catalog, const struct source *source,
                                 const struct artifact_record *record, catalog_done done,
                                 void *context, struct operation **operation)
{
    json_t *object = dir_child_object(source, record, clock_wall_ms(dir_of(catalog)->clock));

    return object
               ? start_child_work(catalog, source, object, &publish_ops, done, context, operation)
               : error_out_of_memory();
}

static struct error *dir_withdraw(struct catalog *catalog, const struct source *source,
                                  catalog_done done, void *context, struct operation **operation)
{
    return start_child_work(catalog, source, NULL, &withdraw_ops, done, context, operation);
}

/* Writes of the source itself: on disk first, then in memory, also if nobody waits for it any more.
 */
static void run_write(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;

    if (work->object)
        work->error = dir_write_object(work->entry->state_path, work->object);
    else if (unlink(work->entry->state_path) != 0 && errno != ENOENT)
        work->error = error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno, "%s: cannot remove",
                                       work->entry->state_path);
    work->written = !work->error;
}

static void adopt_write(struct dir_work *work)
{
    struct dir_entry *entry = work->entry;

    entry->writing = false;
    if (!work->written)
        return;
    work->written = false;
    if (!work->object) {
        entry->gone = true;
        return;
    }
    json_decref(entry->object);
    entry->object = json_incref(work->object);
}

static void deliver_write(struct work *base)
{
    struct dir_work *work = (struct dir_work *)base;
    struct dir_entry *entry = work->entry;
    const struct catalog_listener *listener = &work->dir->listener;
    struct error *error = TAKE(work->error);
    bool ok = !error;

    adopt_write(work);
    work->done.version(work->context, error, ok ? dir_entry_version(entry) : NULL);
    if (entry->gone && listener->source_gone)
        listener->source_gone(listener->context, entry->namespace_name, entry->name);
}

static void free_write(struct work *base)
{
    adopt_write((struct dir_work *)base);
    work_free(base);
}

static const struct work_ops write_ops = {run_write, deliver_write, free_write};

/* Writes `object` (taken; NULL to remove the state) for a source that still has `version`. */
static struct error *start_write(struct dir_catalog *dir, struct dir_entry *entry, json_t *object,
                                 catalog_version_done done, void *context,
                                 struct operation **operation)
{
    struct dir_work *work = work_new(dir, entry, context);

    if (!work) {
        json_decref(object);
        return error_out_of_memory();
    }
    work->object = object;
    work->done.version = done;
    entry->writing = true;
    struct error *error = work_start(dir->loop, &work->work, &write_ops, operation);
    return error;
}

/* The entry if it still has `version` and nobody writes it. */
static struct dir_entry *entry_at(struct dir_catalog *dir, const struct source *source,
                                  const char *version)
{
    struct dir_entry *entry = dir_find_entry(dir, source->namespace_name, source->name);

    return entry && !entry->writing && strcmp(dir_entry_version(entry), version) == 0 ? entry
                                                                                      : NULL;
}

static struct error *dir_patch_status(struct catalog *catalog, const struct source *source,
                                      const char *resource_version,
                                      const struct source_status *status, catalog_version_done done,
                                      void *context, struct operation **operation)
{
    struct dir_catalog *dir = dir_of(catalog);
    struct dir_entry *entry = entry_at(dir, source, resource_version);

    if (!entry)
        return source_moved_on(source);
    json_t *object = dir_entry_with_status(entry, source_status_to_json(status));
    if (!object)
        return error_out_of_memory();
    return start_write(dir, entry, object, done, context, operation);
}

static struct error *dir_patch_finalizer(struct catalog *catalog, const struct source *source,
                                         bool present, catalog_version_done done, void *context,
                                         struct operation **operation)
{
    struct dir_catalog *dir = dir_of(catalog);
    struct dir_entry *entry = entry_at(dir, source, source->resource_version);

    if (!entry)
        return source_moved_on(source);
    if (!present && source->deleting)
        return start_write(dir, entry, NULL, done, context, operation);
    json_t *object = dir_entry_with_finalizer(entry, present);
    if (!object)
        return error_out_of_memory();
    return start_write(dir, entry, object, done, context, operation);
}

/* There is nobody to tell but whoever reads the log. */
static void dir_event(struct catalog *catalog, const struct source *source,
                      const struct catalog_event *event)
{
    const struct log_subject subject = {source->namespace_name, source->name, NULL};

    log_info(dir_of(catalog)->log, &subject, event->message, "event",
             event->severity == CATALOG_WARNING ? "Warning" : "Normal", "reason", event->reason,
             "revision", event->revision, NULL);
}

static const struct catalog_module *dir_modules(struct catalog *catalog, size_t *count)
{
    const struct dir_objects *objects = &dir_of(catalog)->objects;

    *count = objects->module_count;
    return objects->modules;
}

static char *dir_locate(struct catalog *catalog, const struct source *source, const char *path,
                        bool content_line)
{
    const struct dir_entry *entry =
        dir_find_entry(dir_of(catalog), source->namespace_name, source->name);

    return entry && entry->file ? manifest_locate(&entry->place, path, content_line) : NULL;
}

static void deliver_announcement(struct work *base)
{
    struct dir_catalog *dir = ((struct dir_work *)base)->dir;
    const struct catalog_listener *listener = &dir->listener;

    dir->announcing = NULL;
    for (size_t i = 0; i < dir->entry_count; i++) {
        if (!dir->entries[i]->gone && listener->source_changed)
            listener->source_changed(listener->context, dir->entries[i]->namespace_name,
                                     dir->entries[i]->name, false);
    }
    if (listener->synced)
        listener->synced(listener->context);
}

static const struct work_ops announce_ops = {work_nothing, deliver_announcement, work_free};

static struct error *dir_start(struct catalog *catalog, const struct catalog_listener *listener)
{
    struct dir_catalog *dir = dir_of(catalog);
    struct dir_work *work = work_new(dir, NULL, NULL);

    if (!work)
        return error_out_of_memory();
    dir->listener = *listener;
    return work_start(dir->loop, &work->work, &announce_ops, &dir->announcing);
}

static void dir_free(struct catalog *catalog)
{
    struct dir_catalog *dir = dir_of(catalog);

    operation_cancel(&dir->announcing);
    for (size_t i = 0; i < dir->entry_count; i++)
        dir_entry_unref(dir->entries[i]);
    for (size_t i = 0; i < dir->fault_count; i++) {
        free((char *)dir->faults[i].place);
        free((char *)dir->faults[i].message);
    }
    dir_objects_free(&dir->objects);
    free(dir->entries);
    free(dir->faults);
    free(dir->data_directory);
    free(dir);
}

static const struct catalog_ops dir_ops = {
    .name = "dir",
    .start = dir_start,
    .get = dir_get,
    .get_object = dir_get_object,
    .declare = dir_declare,
    .publish = dir_publish,
    .withdraw = dir_withdraw,
    .patch_status = dir_patch_status,
    .patch_finalizer = dir_patch_finalizer,
    .event = dir_event,
    .modules = dir_modules,
    .locate = dir_locate,
    .free = dir_free,
};

struct error *dir_catalog_new(const struct dir_catalog_options *options, struct catalog **catalog)
{
    struct dir_catalog *dir = calloc(1, sizeof(*dir));

    *catalog = NULL;
    if (!dir)
        return error_out_of_memory();
    dir->catalog.ops = &dir_ops;
    dir->loop = options->loop;
    dir->log = options->log;
    dir->clock = options->clock;
    dir->data_directory = strdup(options->data_directory);
    struct error *error = dir->data_directory ? dir_load(dir, options) : error_out_of_memory();
    if (error) {
        dir_free(&dir->catalog);
        return error;
    }
    *catalog = &dir->catalog;
    return NULL;
}

const struct dir_catalog_fault *dir_catalog_faults(struct catalog *catalog, size_t *count)
{
    *count = dir_of(catalog)->fault_count;
    return dir_of(catalog)->faults;
}

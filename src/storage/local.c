/*
 * See local.h. Every operation is one job with copies of what it needs and a reference to the
 * storage, so that one that was cancelled may outlive both its caller and storage_free.
 */
#include "storage/local.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/work.h"

struct local {
    struct storage storage;
    struct storage_ops ops;
    const struct local_backend *backend;
    void *state;
    uv_loop_t *loop;
    atomic_uint references; /* the owner's and one for each job */
};

struct job;

struct job_kind {
    const char *verb; /* "put", for messages */
    struct error *(*run)(struct job *job);
    void (*deliver)(struct job *job, struct error *error);
};

struct job {
    struct work work;
    const struct job_kind *kind;
    struct local *local;
    char *key; /* or prefix */
    struct key_parts parts;
    struct blob *blob; /* of put */
    union {
        storage_object_done object;
        storage_done done;
        storage_list_done list;
    } done;
    void *context;
    struct error *error;
    bool found;
    struct storage_object object;
    struct key_list keys;
};

static void unref(struct local *local)
{
    if (atomic_fetch_sub(&local->references, 1) != 1)
        return;
    local->backend->free(local->state);
    free(local);
}

static struct error *explain(const struct local *local, const char *verb, const char *key,
                             struct error *error)
{
    return error_wrap(error, "%s storage: %s '%s'", local->backend->name, verb, key);
}

static void run_job(struct work *work)
{
    struct job *job = (struct job *)work;

    job->error = explain(job->local, job->kind->verb, job->key, job->kind->run(job));
}

static void deliver_job(struct work *work)
{
    struct job *job = (struct job *)work;

    job->kind->deliver(job, TAKE(job->error));
}

static void free_job(struct work *work)
{
    struct job *job = (struct job *)work;

    error_free(job->error);
    blob_unref(job->blob);
    key_list_free(&job->keys);
    free(job->key);
    unref(job->local);
    free(job);
}

static const struct work_ops job_ops = {
    .run = run_job,
    .deliver = deliver_job,
    .free = free_job,
};

static struct error *run_put(struct job *job)
{
    job->found = true;
    return job->local->backend->put(job->local->state, job->key, &job->parts, job->blob,
                                    &job->object);
}

static struct error *run_stat(struct job *job)
{
    return job->local->backend->stat(job->local->state, job->key, &job->parts, &job->found,
                                     &job->object);
}

static struct error *run_remove(struct job *job)
{
    return job->local->backend->remove(job->local->state, job->key, &job->parts);
}

static struct error *run_list(struct job *job)
{
    struct error *error =
        job->local->backend->list(job->local->state, job->key, &job->parts, &job->keys);

    key_list_sort(&job->keys);
    return error;
}

static void deliver_object(struct job *job, struct error *error)
{
    job->done.object(job->context, error, !error && job->found ? &job->object : NULL);
}

static void deliver_done(struct job *job, struct error *error)
{
    job->done.done(job->context, error);
}

static void deliver_list(struct job *job, struct error *error)
{
    job->done.list(job->context, error, error ? NULL : (const char *const *)job->keys.keys,
                   error ? 0 : job->keys.count);
}

static const struct job_kind put_kind = {"put", run_put, deliver_object};
static const struct job_kind stat_kind = {"stat", run_stat, deliver_object};
static const struct job_kind remove_kind = {"remove", run_remove, deliver_done};
static const struct job_kind list_kind = {"list", run_list, deliver_list};

/* NULL without memory. The caller has checked the key: which parts it has depends on the kind. */
static struct job *job_new(struct storage *storage, const struct job_kind *kind, const char *key,
                           void *context)
{
    struct local *local = (struct local *)storage;
    struct job *job = calloc(1, sizeof(*job));
    char *copy = strdup(key);

    if (!job || !copy) {
        free(job);
        free(copy);
        return NULL;
    }
    job->kind = kind;
    job->key = copy;
    job->context = context;
    job->local = local;
    atomic_fetch_add(&local->references, 1);
    if (kind == &list_kind)
        key_parse_prefix(key, &job->parts);
    else
        key_parse(key, &job->parts);
    return job;
}

static struct error *job_start(struct job *job, struct operation **operation)
{
    return work_start(job->local->loop, &job->work, &job_ops, operation);
}

static struct error *local_put(struct storage *storage, const char *key, struct blob *blob,
                               storage_object_done done, void *context,
                               struct operation **operation)
{
    struct job *job = job_new(storage, &put_kind, key, context);

    if (!job)
        return error_out_of_memory();
    job->blob = blob_ref(blob);
    job->done.object = done;
    return job_start(job, operation);
}

static struct error *local_stat(struct storage *storage, const char *key, storage_object_done done,
                                void *context, struct operation **operation)
{
    struct job *job = job_new(storage, &stat_kind, key, context);

    if (!job)
        return error_out_of_memory();
    job->done.object = done;
    return job_start(job, operation);
}

static struct error *local_remove(struct storage *storage, const char *key, storage_done done,
                                  void *context, struct operation **operation)
{
    struct job *job = job_new(storage, &remove_kind, key, context);

    if (!job)
        return error_out_of_memory();
    job->done.done = done;
    return job_start(job, operation);
}

static struct error *local_list(struct storage *storage, const char *prefix, storage_list_done done,
                                void *context, struct operation **operation)
{
    struct job *job = job_new(storage, &list_kind, prefix, context);

    if (!job)
        return error_out_of_memory();
    job->done.list = done;
    return job_start(job, operation);
}

static struct error *local_open(struct storage *storage, const char *key, struct blob **blob)
{
    struct local *local = (struct local *)storage;
    struct key_parts parts;

    if (!key_parse(key, &parts))
        return NULL;
    return explain(local, "open", key, local->backend->open(local->state, key, &parts, blob));
}

static void local_free(struct storage *storage)
{
    unref((struct local *)storage);
}

struct error *storage_local_new(uv_loop_t *loop, const struct local_backend *backend, void *state,
                                struct storage **storage)
{
    struct local *local = calloc(1, sizeof(*local));

    *storage = NULL;
    if (!local) {
        backend->free(state);
        return error_out_of_memory();
    }
    local->ops = (struct storage_ops){
        .name = backend->name,
        .persistent = backend->persistent,
        .served = true,
        .put = local_put,
        .stat = local_stat,
        .remove = local_remove,
        .list = local_list,
        .open = local_open,
        .free = local_free,
    };
    local->storage.ops = &local->ops;
    local->backend = backend;
    local->state = state;
    local->loop = loop;
    atomic_init(&local->references, 1);
    *storage = &local->storage;
    return NULL;
}

struct error *storage_object_of(struct blob *blob, struct storage_object *object)
{
    const char *hex;
    _cleanup_(error) struct error *cause = blob_sha256(blob, &hex);

    if (cause)
        return error_new(ERROR_STORAGE, "StorageOperationFailed", "%s", cause->message);
    memcpy(object->digest, hex, SHA256_HEX_SIZE);
    object->size = blob_length(blob);
    return NULL;
}

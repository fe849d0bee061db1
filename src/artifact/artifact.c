/*
 * See artifact.h. One pipeline serves both steps: the tar is written chunk by chunk into a sink
 * that hashes it and, when packing, also compresses it into a blob whose bytes are hashed on their
 * way. The same function runs on the thread pool and, for the bench, on the caller's thread.
 */
#include "artifact/artifact.h"

#include <stdlib.h>
#include <string.h>

#include "artifact/gzip.h"
#include "artifact/tar.h"
#include "base/buffer.h"
#include "base/work.h"

_Static_assert(TAR_CHUNK == GZIP_CHUNK, "tar's chunks go through gzip without a copy");

struct pipeline {
    struct work *work;          /* looked at for cancellation; may be NULL */
    struct sha256 *tar_digest;  /* of the uncompressed tar */
    struct gzip *gzip;          /* NULL when only the revision is wanted, as are the next two */
    struct sha256 *gzip_digest; /* of the tar.gz */
    struct blob_writer *writer;
};

static struct error *take_tar(void *context, const void *bytes, size_t length)
{
    struct pipeline *pipeline = context;

    if (pipeline->work && work_cancelled(pipeline->work))
        return error_new(ERROR_INTERNAL, "Cancelled", "packing was cancelled");
    sha256_update(pipeline->tar_digest, bytes, length);
    return pipeline->gzip ? gzip_write(pipeline->gzip, bytes, length) : NULL;
}

static struct error *take_gzip(void *context, const void *bytes, size_t length)
{
    struct pipeline *pipeline = context;

    sha256_update(pipeline->gzip_digest, bytes, length);
    return blob_writer_write(pipeline->writer, bytes, length);
}

/* Writes the directories of `path` that those of `previous` (NULL for none) do not contain. Files
 * come sorted, so that everything below a directory comes together, and each is written once. */
static struct error *write_directories(struct tar *tar, const char *previous, const char *path)
{
    _cleanup_(free) char *directory = strdup(path);
    size_t shared = 0; /* the length of the last directory that both are in, with its slash */
    struct error *error = NULL;

    if (!directory)
        return error_out_of_memory();
    for (size_t i = 0; previous && path[i] && path[i] == previous[i]; i++) {
        if (path[i] == '/')
            shared = i + 1;
    }
    for (char *slash = strchr(directory + shared, '/'); slash && !error;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        error = tar_directory(tar, directory);
        *slash = '/';
    }
    return error;
}

static bool is_top(const char *destination)
{
    return destination[0] == '\0' || strcmp(destination, ".") == 0;
}

static struct error *write_single(struct tar *tar, const struct payload *payload,
                                  const char *destination)
{
    if (is_top(destination))
        return error_about_field(
            error_new(ERROR_CONFIGURATION, "InvalidSpec",
                      "spec.destinationPath: found '%s', a directory; accepted: the path of a "
                      "file, because the result is one run of bytes",
                      destination),
            "spec.destinationPath");

    struct error *error = write_directories(tar, NULL, destination);
    return error ? error : tar_file(tar, destination, payload->files[0].blob);
}

/* The destination directory is there even if no file is: consumers are pointed at it. */
static struct error *write_files(struct tar *tar, const struct payload *payload,
                                 const char *destination)
{
    _cleanup_(free) char *previous =
        is_top(destination) ? strdup("") : format_string("%s/", destination);
    struct error *error = NULL;

    if (!previous)
        return error_out_of_memory();
    size_t top = strlen(previous);
    error = write_directories(tar, NULL, previous);
    for (size_t i = 0; !error && i < payload->count; i++) {
        const struct payload_file *file = &payload->files[i];
        char *path = format_string("%.*s%s", (int)top, previous, file->path);

        if (!path)
            return error_out_of_memory();
        error = write_directories(tar, previous, path);
        if (!error)
            error = tar_file(tar, path, file->blob);
        free(previous);
        previous = path;
    }
    return error;
}

static struct error *write_tar(const struct payload *payload, const char *destination,
                               struct pipeline *pipeline)
{
    _cleanup_(tar) struct tar *tar = tar_new((struct tar_sink){take_tar, pipeline});

    pipeline->tar_digest = sha256_new();
    if (!tar || !pipeline->tar_digest)
        return error_out_of_memory();

    struct error *error = payload->single ? write_single(tar, payload, destination)
                                          : write_files(tar, payload, destination);
    return error ? error : tar_finish(tar);
}

static struct error *write_tar_gz(const struct payload *payload, const char *destination,
                                  struct pipeline *pipeline)
{
    struct error *error =
        gzip_new(gzip_codecs[0], (struct gzip_sink){take_gzip, pipeline}, &pipeline->gzip);

    if (error)
        return error;
    pipeline->gzip_digest = sha256_new();
    if (!pipeline->gzip_digest)
        return error_out_of_memory();
    error = write_tar(payload, destination, pipeline);
    return error ? error : gzip_finish(pipeline->gzip);
}

static void pipeline_free(struct pipeline *pipeline)
{
    sha256_free(pipeline->tar_digest);
    gzip_free(pipeline->gzip);
    sha256_free(pipeline->gzip_digest);
    blob_writer_free(pipeline->writer);
}

static struct error *hash(const struct payload *payload, const char *destination, struct work *work,
                          char revision[SHA256_HEX_SIZE])
{
    struct pipeline pipeline = {.work = work};
    struct error *error = write_tar(payload, destination, &pipeline);

    if (!error)
        sha256_final(pipeline.tar_digest, revision);
    pipeline_free(&pipeline);
    return error;
}

static struct error *pack(struct blob_store *blobs, const struct payload *payload,
                          const char *destination, struct work *work,
                          struct artifact_packed *packed)
{
    struct pipeline pipeline = {.work = work, .writer = blob_writer_new(blobs, UINT64_MAX)};
    struct error *error = NULL;

    memset(packed, 0, sizeof(*packed));
    if (!pipeline.writer)
        error = error_out_of_memory();
    if (!error)
        error = write_tar_gz(payload, destination, &pipeline);
    if (!error) {
        sha256_final(pipeline.tar_digest, packed->revision);
        sha256_final(pipeline.gzip_digest, packed->digest);
        error = blob_writer_seal(TAKE(pipeline.writer), &packed->blob);
    }
    pipeline_free(&pipeline);
    return error;
}

struct error *artifact_pack_now(struct blob_store *blobs, const struct payload *payload,
                                const struct artifact_layout *layout,
                                struct artifact_packed *packed)
{
    return pack(blobs, payload, layout->destination_path, NULL, packed);
}

/* Either step on the thread pool, with references of its own to all that it reads. */
struct job {
    struct work work;
    struct payload *payload;
    char *destination;
    struct blob_store *blobs; /* NULL when only the revision is wanted */
    artifact_revision_done revision_done;
    artifact_pack_done pack_done;
    void *context;
    struct error *error;
    struct artifact_packed packed;
};

static void run_job(struct work *work)
{
    struct job *job = (struct job *)work;

    if (job->blobs)
        job->error = pack(job->blobs, job->payload, job->destination, work, &job->packed);
    else
        job->error = hash(job->payload, job->destination, work, job->packed.revision);
}

static void deliver_job(struct work *work)
{
    struct job *job = (struct job *)work;
    struct error *error = TAKE(job->error);

    if (job->blobs)
        job->pack_done(job->context, error, error ? NULL : &job->packed);
    else
        job->revision_done(job->context, error, error ? NULL : job->packed.revision);
}

static void free_job(struct work *work)
{
    struct job *job = (struct job *)work;

    blob_unref(job->packed.blob);
    error_free(job->error);
    payload_free(job->payload);
    free(job->destination);
    free(job);
}

static const struct work_ops job_ops = {
    .run = run_job,
    .deliver = deliver_job,
    .free = free_job,
};

static struct error *job_new(const struct payload *payload, const struct artifact_layout *layout,
                             void *context, struct job **result)
{
    struct job *job = calloc(1, sizeof(*job));

    *result = NULL;
    if (!job)
        return error_out_of_memory();
    job->context = context;
    job->destination = strdup(layout->destination_path);
    struct error *error =
        job->destination ? payload_copy(payload, &job->payload) : error_out_of_memory();
    if (error) {
        free_job(&job->work);
        return error;
    }
    *result = job;
    return NULL;
}

struct error *artifact_revision(uv_loop_t *loop, const struct payload *payload,
                                const struct artifact_layout *layout, artifact_revision_done done,
                                void *context, struct operation **operation)
{
    struct job *job;
    struct error *error = job_new(payload, layout, context, &job);

    if (error)
        return error;
    job->revision_done = done;
    return work_start(loop, &job->work, &job_ops, operation);
}

struct error *artifact_pack(uv_loop_t *loop, struct blob_store *blobs,
                            const struct payload *payload, const struct artifact_layout *layout,
                            artifact_pack_done done, void *context, struct operation **operation)
{
    struct job *job;
    struct error *error = job_new(payload, layout, context, &job);

    if (error)
        return error;
    job->blobs = blobs;
    job->pack_done = done;
    return work_start(loop, &job->work, &job_ops, operation);
}

/*
 * See work.h. libuv calls back exactly once for every request that it took, also for one that
 * uv_cancel got out of the queue; so the work is always freed there, and a cancel only says that
 * nobody listens.
 */
#include "base/work.h"

#include "base/cleanup.h"

static void run(uv_work_t *request)
{
    struct work *work = request->data;

    if (!work_cancelled(work))
        work->ops->run(work);
}

static void after(uv_work_t *request, int status)
{
    struct work *work = request->data;

    (void)status;
    if (!work_cancelled(work))
        work->ops->deliver(work);
    work->ops->free(work);
}

static void cancel(struct operation *operation)
{
    struct work *work = (struct work *)operation;

    atomic_store(&work->cancelled, true);
    uv_cancel((uv_req_t *)&work->request);
}

struct error *work_start(uv_loop_t *loop, struct work *work, const struct work_ops *ops,
                         struct operation **operation)
{
    work->operation.cancel = cancel;
    work->ops = ops;
    work->request.data = work;
    atomic_init(&work->cancelled, false);
    int status = uv_queue_work(loop, &work->request, run, after);
    if (status != 0) {
        ops->free(work);
        return error_new(ERROR_INTERNAL, "WorkFailed", "cannot queue work: %s",
                         uv_strerror(status));
    }
    *operation = &work->operation;
    return NULL;
}

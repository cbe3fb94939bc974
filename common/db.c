/* Theory of operation.
 *
 * Two threads, each with a connection and a queue of its own: the writer takes
 * what waits, up to PD_DB_BATCH_MAX jobs, into one transaction; while it waits
 * for the disk the next batch gathers, so that the more there is to do, the less
 * each pays for the fsync. Jobs that have ended go to one list, which the loop
 * empties when the async handle wakes it.
 *
 * When the disk fails, the transaction is undone as a whole. Jobs that are not
 * to be kept are told; those that are go to the front of a list of their own,
 * which joins the next batch when PD_DB_RETRY_MS have passed or when a batch
 * without them has succeeded. While nothing is to be written, a page is, every
 * PD_DB_RETRY_MS, so that it is known when the disk is back. */
#include "common/db.h"

#include <assert.h>
#include <string.h>

#include "common/db_conn.h"
#include "common/db_jobs.h"
#include "common/mem.h"
#include "common/time.h"

#define STACK_BYTES (512u * 1024)

struct worker {
    struct pd_db *db;
    struct pd_db_conn *conn;
    uv_thread_t thread;
    uv_cond_t wake;
    struct pd_db_jobs queue;
    struct pd_db_jobs kept; /* the thread's own */
    uint64_t retry_at_ns;   /* the thread's own; when kept ones are tried again */
    uint64_t probe_at_ns;   /* likewise; when writing is tried while it is bad */
    size_t bytes;
    size_t urgent; /* in the queue: of those that do not wait for company */
    bool sleeping; /* waits for anything at all */
    bool ended;
};

struct pd_db {
    uv_mutex_t mutex; /* over the queues, the list below, and the flags */
    struct worker writer, reader;
    struct pd_db_jobs ended;
    uv_async_t async;
    bool closing;
    bool bad;              /* the disk failed not long ago, or still does */
    uint64_t failed_at_ns; /* its newest failure */
    struct pd_err bad_err; /* why */
    bool told_bad;         /* what `trouble` was told last; the loop's own */
    char sentence[PD_ERR_MSG_MAX];
    void (*trouble)(void *arg, const struct pd_err *err);
    void *arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- on a thread: between batches ---- */

static void job_end(struct pd_db *db, struct pd_db_job *job)
{
    if (job->waiter)
        uv_sem_post(job->waiter);
    else
        pd_db_jobs_add(&db->ended, job);
}

/* With the mutex held. Between large jobs that fail small ones may succeed: it is
 * well only after a while without failure. */
static void note_health(struct worker *worker, const struct pd_err *err)
{
    struct pd_db *db = worker->db;
    uint64_t now = uv_hrtime();

    if (err) {
        db->bad = true;
        db->bad_err = *err;
        db->failed_at_ns = now;
    } else if (now - db->failed_at_ns >= PD_DB_CALM_MS * (uint64_t)PD_NS_PER_MS &&
               !pd_db_conn_is_damaged(worker->conn)) {
        db->bad = false;
    }
    worker->probe_at_ns = now + PD_DB_RETRY_MS * (uint64_t)PD_NS_PER_MS;
}

/* With the mutex held: what becomes of a batch. */
static void settle(struct worker *worker, struct pd_db_jobs *batch, const struct pd_err *err)
{
    struct pd_db *db = worker->db;
    struct pd_db_jobs kept = {0};
    struct pd_db_job *job;

    while ((job = pd_db_jobs_take(batch))) {
        if (err && (job->keep || job->retry) && !db->closing) {
            pd_db_jobs_add(&kept, job);
            continue;
        }
        if (err)
            pd_db_job_fail(job, err);
        worker->bytes -= job->bytes;
        job_end(db, job);
    }
    if (err) {
        pd_db_jobs_move(&kept, &worker->kept, SIZE_MAX); /* those of the batch are older */
        pd_db_jobs_move(&worker->kept, &kept, SIZE_MAX);
        worker->retry_at_ns = uv_hrtime() + PD_DB_RETRY_MS * (uint64_t)PD_NS_PER_MS;
    } else {
        worker->retry_at_ns = 0;
    }
    if (worker == &db->writer)
        note_health(worker, err);
}

/* With the mutex held. */
static bool is_bad(const struct worker *worker)
{
    return worker == &worker->db->writer && worker->db->bad;
}

static bool is_probe_due(const struct worker *worker)
{
    return is_bad(worker) && !worker->db->closing && uv_hrtime() >= worker->probe_at_ns;
}

/* With the mutex held: nanoseconds until there is something to do; 0: now. */
static uint64_t idle_ns(const struct worker *worker)
{
    uint64_t now = uv_hrtime();
    uint64_t least = UINT64_MAX;

    if (worker->urgent > 0 || worker->queue.count >= PD_DB_BATCH_MAX || worker->db->closing)
        return 0;
    if (worker->queue.first) {
        uint64_t due = worker->queue.first->since_ns + PD_DB_LAZY_MS * (uint64_t)PD_NS_PER_MS;
        least = due > now ? due - now : 0;
    }
    if (worker->kept.first) {
        uint64_t wait = worker->retry_at_ns > now ? worker->retry_at_ns - now : 0;
        least = wait < least ? wait : least;
    }
    if (is_bad(worker)) {
        uint64_t wait = worker->probe_at_ns > now ? worker->probe_at_ns - now : 0;
        least = wait < least ? wait : least;
    }
    return least;
}

/* With the mutex held. */
static void wait_for_work(struct worker *worker)
{
    uint64_t ns;

    while ((ns = idle_ns(worker)) > 0) {
        worker->sleeping = true;
        if (ns == UINT64_MAX)
            uv_cond_wait(&worker->wake, &worker->db->mutex);
        else
            uv_cond_timedwait(&worker->wake, &worker->db->mutex, ns);
        worker->sleeping = false;
    }
}

static void gather(struct worker *worker, struct pd_db_jobs *batch)
{
    if (worker->db->closing || uv_hrtime() >= worker->retry_at_ns)
        pd_db_jobs_move(batch, &worker->kept, PD_DB_BATCH_MAX);
    while (batch->count < PD_DB_BATCH_MAX && worker->queue.first) {
        struct pd_db_job *job = pd_db_jobs_take(&worker->queue);
        worker->urgent -= job->kind != PD_DB_LAZY;
        pd_db_jobs_add(batch, job);
    }
}

static bool is_finished(const struct worker *worker)
{
    return worker->db->closing && !worker->queue.first && !worker->kept.first;
}

static void work(void *arg)
{
    struct worker *worker = arg;
    struct pd_db *db = worker->db;
    struct pd_err err;

    uv_mutex_lock(&db->mutex);
    while (wait_for_work(worker), !is_finished(worker)) {
        struct pd_db_jobs batch = {0};
        int rc = 0;
        gather(worker, &batch);
        if (batch.count == 0 && !is_probe_due(worker))
            continue;
        uv_mutex_unlock(&db->mutex);
        if (worker == &db->reader)
            pd_db_jobs_read(worker->conn, &batch);
        else if (batch.count == 0)
            rc = pd_db_conn_probe(worker->conn, &err);
        else
            rc = pd_db_jobs_write(worker->conn, &batch, &err);
        uv_mutex_lock(&db->mutex);
        settle(worker, &batch, rc < 0 ? &err : NULL);
        uv_async_send(&db->async);
    }
    uv_mutex_unlock(&db->mutex);
    pd_db_conn_close(PD_STEAL(worker->conn)); /* the last to close makes a checkpoint */
    uv_mutex_lock(&db->mutex);
    worker->ended = true;
    uv_async_send(&db->async);
    uv_mutex_unlock(&db->mutex);
}

/* ---- on the loop ---- */

static void tell_trouble(struct pd_db *db, bool bad, const struct pd_err *err)
{
    if (bad == db->told_bad)
        return;
    db->told_bad = bad;
    pd_strcpy(db->sentence, sizeof db->sentence, bad ? err->msg : "");
    if (db->trouble)
        db->trouble(db->arg, bad ? err : NULL);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct pd_db *db = handle->data;
    void (*closed)(void *arg) = db->closed;
    void *arg = db->closed_arg;

    uv_cond_destroy(&db->writer.wake);
    uv_cond_destroy(&db->reader.wake);
    uv_mutex_destroy(&db->mutex);
    free(db);
    if (closed)
        closed(arg);
}

static void on_async(uv_async_t *async)
{
    struct pd_db *db = async->data;
    struct pd_db_jobs ended;
    struct pd_db_job *job;
    struct pd_err err;
    bool bad;
    bool over;

    uv_mutex_lock(&db->mutex);
    ended = db->ended;
    db->ended = (struct pd_db_jobs){0};
    bad = db->bad;
    if (bad)
        err = db->bad_err;
    over = db->writer.ended && db->reader.ended;
    uv_mutex_unlock(&db->mutex);
    tell_trouble(db, bad, &err);
    while ((job = pd_db_jobs_take(&ended))) {
        pd_autofree struct pd_err *failure = PD_STEAL(job->failure);
        job->done(job, failure);
    }
    if (over && !uv_is_closing((uv_handle_t *)&db->async)) {
        uv_thread_join(&db->writer.thread);
        uv_thread_join(&db->reader.thread);
        uv_close((uv_handle_t *)&db->async, on_async_closed);
    }
}

bool pd_db_is_healthy(const struct pd_db *db, const char **ret_sentence)
{
    *ret_sentence = db->told_bad ? db->sentence : NULL;
    return !db->told_bad;
}

static struct worker *worker_for(struct pd_db *db, enum pd_db_kind kind)
{
    return kind == PD_DB_READ ? &db->reader : &db->writer;
}

int pd_db_submit(struct pd_db *db, enum pd_db_kind kind, struct pd_db_job *job, struct pd_err *err)
{
    struct worker *worker = worker_for(db, kind);
    int rc = 0;

    job->kind = kind;
    job->failure = NULL;
    job->since_ns = uv_hrtime();
    uv_mutex_lock(&db->mutex);
    if (worker->ended)
        rc = pd_err_set(err, PD_CANCELED, "the database is closed");
    else if (!job->keep && (worker->queue.count >= PD_DB_JOBS_MAX ||
                            worker->bytes + job->bytes > PD_DB_BYTES_MAX))
        rc = pd_err_set(err, PD_LIMIT, "too much waits for the disk");
    if (rc == 0) {
        bool first = !worker->queue.first;
        pd_db_jobs_add(&worker->queue, job);
        worker->bytes += job->bytes;
        worker->urgent += kind != PD_DB_LAZY;
        if (worker->sleeping &&
            (first || kind != PD_DB_LAZY || worker->queue.count == PD_DB_BATCH_MAX))
            uv_cond_signal(&worker->wake);
    }
    uv_mutex_unlock(&db->mutex);
    return rc;
}

int pd_db_now(struct pd_db *db, enum pd_db_kind kind, struct pd_db_job *job, struct pd_err *err)
{
    pd_autofree struct pd_err *failure = NULL;
    uv_sem_t waiter;
    int rc;

    if (uv_sem_init(&waiter, 0) < 0)
        abort();
    job->waiter = &waiter;
    rc = pd_db_submit(db, kind, job, err);
    if (rc == 0)
        uv_sem_wait(&waiter);
    uv_sem_destroy(&waiter);
    job->waiter = NULL;
    if (rc < 0 || !job->failure)
        return rc;
    failure = PD_STEAL(job->failure);
    if (err)
        *err = *failure;
    return failure->kind;
}

/* ---- life ---- */

static void start_worker(struct pd_db *db, struct worker *worker)
{
    const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, STACK_BYTES};

    worker->db = db;
    if (uv_cond_init(&worker->wake) < 0 ||
        uv_thread_create_ex(&worker->thread, &options, work, worker) < 0)
        abort(); /* no memory for a thread */
}

int pd_db_open(const struct pd_db_config *config, struct pd_db **ret_db, struct pd_err *err)
{
    struct pd_db *db = PD_NEW(struct pd_db);
    int rc = pd_db_conn_open(config, true, &db->writer.conn, err);

    if (rc == 0)
        rc = pd_db_conn_open(config, false, &db->reader.conn, err);
    if (rc < 0) {
        pd_db_conn_close(db->writer.conn);
        free(db);
        return rc;
    }
    db->trouble = config->trouble;
    db->arg = config->arg;
    if (uv_mutex_init(&db->mutex) < 0 || uv_async_init(config->loop, &db->async, on_async) < 0)
        abort();
    db->async.data = db;
    start_worker(db, &db->writer);
    start_worker(db, &db->reader);
    *ret_db = db;
    return 0;
}

void pd_db_close(struct pd_db *db, void (*closed)(void *arg), void *arg)
{
    db->closed = closed;
    db->closed_arg = arg;
    uv_mutex_lock(&db->mutex);
    db->closing = true;
    uv_cond_signal(&db->writer.wake);
    uv_cond_signal(&db->reader.wake);
    uv_mutex_unlock(&db->mutex);
}

#include "tests/lib/failing_disk.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

struct file {
    sqlite3_file base;
    bool is_log;
    sqlite3_file *real; /* follows in the same block */
};

static struct {
    pthread_mutex_t mutex;
    enum disk_fault fault;
    int after;
    bool once;
    bool log_dirty;
    int log_syncs;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static sqlite3_vfs vfs;
static sqlite3_vfs *real_vfs;

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)(void *)base;
}

/* SQLITE_OK, or how this operation fails. */
static int fate(bool is_sync)
{
    int code = SQLITE_OK;

    pthread_mutex_lock(&disk.mutex);
    if (disk.fault != DISK_WORKS && (disk.fault == DISK_SYNC_FAILS) == is_sync &&
        disk.after-- <= 0) {
        code = disk.fault == DISK_FULL     ? SQLITE_FULL
               : disk.fault == DISK_BROKEN ? SQLITE_IOERR_WRITE
                                           : SQLITE_IOERR_FSYNC;
        if (disk.once)
            disk.fault = DISK_WORKS;
    }
    pthread_mutex_unlock(&disk.mutex);
    return code;
}

static int on_close(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *data, int len, sqlite3_int64 at)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xRead(real, data, len, at);
}

static int on_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    int code = fate(false);

    if (code != SQLITE_OK)
        return code;
    pthread_mutex_lock(&disk.mutex);
    disk.log_dirty = disk.log_dirty || file->is_log;
    pthread_mutex_unlock(&disk.mutex);
    return file->real->pMethods->xWrite(file->real, data, len, at);
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xTruncate(real, size);
}

static int on_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    int code = fate(true);

    if (code == SQLITE_OK)
        code = file->real->pMethods->xSync(file->real, flags);
    if (code == SQLITE_OK && file->is_log) {
        pthread_mutex_lock(&disk.mutex);
        disk.log_dirty = false;
        disk.log_syncs++;
        pthread_mutex_unlock(&disk.mutex);
    }
    return code;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *size)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xFileSize(real, size);
}

static int on_lock(sqlite3_file *base, int level)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xLock(real, level);
}

static int on_unlock(sqlite3_file *base, int level)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xUnlock(real, level);
}

static int on_check(sqlite3_file *base, int *out)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xCheckReservedLock(real, out);
}

static int on_control(sqlite3_file *base, int op, void *arg)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xFileControl(real, op, arg);
}

static int on_sector(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xSectorSize(real);
}

static int on_traits(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xDeviceCharacteristics(real);
}

static int on_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **out)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmMap(real, page, size, extend, out);
}

static int on_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmLock(real, offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    real->pMethods->xShmBarrier(real);
}

static int on_shm_unmap(sqlite3_file *base, int remove)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmUnmap(real, remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check,
    .xFileControl = on_control,
    .xSectorSize = on_sector,
    .xDeviceCharacteristics = on_traits,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static int on_open(sqlite3_vfs *self, const char *name, sqlite3_file *base, int flags,
                   int *out_flags)
{
    struct file *file = file_of(base);
    int code;

    (void)self;
    file->real = (sqlite3_file *)(void *)(file + 1);
    file->is_log = flags & SQLITE_OPEN_WAL;
    code = real_vfs->xOpen(real_vfs, name, file->real, flags, out_flags);
    base->pMethods = file->real->pMethods ? &methods : NULL;
    return code;
}

void failing_disk_register(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = FAILING_DISK;
    vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
    vfs.xOpen = on_open;
    vfs.pNext = NULL;
    sqlite3_vfs_register(&vfs, 0);
}

static void set(enum disk_fault fault, int after, bool once)
{
    pthread_mutex_lock(&disk.mutex);
    disk.fault = fault;
    disk.after = after;
    disk.once = once;
    pthread_mutex_unlock(&disk.mutex);
}

void failing_disk_set(enum disk_fault fault, int after)
{
    set(fault, after, false);
}

void failing_disk_once(enum disk_fault fault, int after)
{
    set(fault, after, true);
}

int failing_disk_log_is_synced(void)
{
    bool dirty;

    pthread_mutex_lock(&disk.mutex);
    dirty = disk.log_dirty;
    pthread_mutex_unlock(&disk.mutex);
    return !dirty;
}

int failing_disk_log_syncs(void)
{
    int syncs;

    pthread_mutex_lock(&disk.mutex);
    syncs = disk.log_syncs;
    pthread_mutex_unlock(&disk.mutex);
    return syncs;
}

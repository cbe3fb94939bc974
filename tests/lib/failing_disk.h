/* A disk that fails on demand, for the database: an SQLite VFS over the
 * system's, which counts what is done to files and lets writes, syncs and
 * growth fail. Safe to steer from any thread. */
#ifndef PD_TESTS_LIB_FAILING_DISK_H
#define PD_TESTS_LIB_FAILING_DISK_H

#define FAILING_DISK "failing"

enum disk_fault {
    DISK_WORKS,
    DISK_FULL,       /* writes: no space */
    DISK_BROKEN,     /* writes: I/O error */
    DISK_SYNC_FAILS, /* syncs: I/O error */
};

/* Once per process, before the first use. */
void failing_disk_register(void);
/* From the operation number `after` (0: the next) on, everything of that kind fails. */
void failing_disk_set(enum disk_fault fault, int after);
/* Just one operation fails, then the disk works again. */
void failing_disk_once(enum disk_fault fault, int after);
/* Whether every write to the log so far was followed by a sync. */
int failing_disk_log_is_synced(void);
int failing_disk_log_syncs(void);

#endif

/* Artifacts: files that a run leaves in its workspace and that were asked for.
 *
 * Read by the cell's init, inside the cell, after everything else in it has
 * been killed: nobody can swap a path under its hands, and a symbolic link is
 * never followed (openat2). What it finds travels over the init's socket. */
#ifndef PD_AGENT_ARTIFACT_H
#define PD_AGENT_ARTIFACT_H

#include <stddef.h>
#include <stdint.h>

#define ARTIFACT_FILES_MAX 64
#define ARTIFACT_FILE_BYTES_MAX (8u * 1024 * 1024)
#define ARTIFACT_TOTAL_BYTES_MAX (16u * 1024 * 1024)
#define ARTIFACT_PATH_MAX 256
#define ARTIFACT_DEPTH_MAX 16
#define ARTIFACT_ENTRIES_MAX 10000
#define ARTIFACT_GLOBS_BYTES_MAX 4096

/* Messages on the socket. To the init: 'A' and NUL-terminated globs. Back, for
 * each file: 'F' path, any number of 'D' bytes (at most ARTIFACT_PIECE_MAX), 'E';
 * or 'X' path NUL reason; at the end 'Z'. */
#define ARTIFACT_PIECE_MAX 32000

/* The init's life: answer requests until the socket ends. */
void artifact_serve(int sock);

/* The same collection from `dirfd`, without killing anybody, for isolations
 * without an init: runs in a forked child. */
void artifact_collect(int sock, int dirfd, char *globs, size_t len);

#endif

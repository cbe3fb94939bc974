/* `agent install DIR`: the init container of a task copies the agent, and what
 * it brings for interpreters, into the volume that the sandbox's container mounts
 * read-only. The image of the agent holds nothing else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ecs/ecs.h"

#define FOLDER_BYTES 512
#define PATH_BYTES (FOLDER_BYTES + 256)

static int fail(const char *path)
{
    fprintf(stderr, "paddock-agent: install: %s: %s\n", path, strerror(errno));
    return 1;
}

static int copy_bytes(int from, int to)
{
    static char bytes[65536];
    ssize_t n;

    while ((n = read(from, bytes, sizeof bytes)) > 0) {
        for (ssize_t at = 0, m; at < n; at += m) {
            m = write(to, bytes + at, (size_t)(n - at));
            if (m < 0)
                return -1;
        }
    }
    return n < 0 ? -1 : 0;
}

static int copy_file(const char *from, const char *to, mode_t mode)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out, rc;

    if (in < 0)
        return fail(from);
    unlink(to);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0) {
        close(in);
        return fail(to);
    }
    rc = copy_bytes(in, out);
    rc |= fchmod(out, mode) | fsync(out) | close(out);
    close(in);
    return rc ? fail(to) : 0;
}

static int copy_folder(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    struct dirent *entry;
    int rc = 0;

    if (!dir)
        return fail(from);
    if (mkdir(to, 0755) < 0 && errno != EEXIST) {
        closedir(dir);
        return fail(to);
    }
    chmod(to, 0755);
    while (rc == 0 && (entry = readdir(dir))) {
        char source[PATH_BYTES], target[PATH_BYTES];
        const char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.')
            continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        rc = copy_file(source, target, dot && strcmp(dot, ".so") == 0 ? 0755 : 0644);
    }
    closedir(dir);
    return rc;
}

int ecs_install(const char *to)
{
    char agent[FOLDER_BYTES], spares[FOLDER_BYTES];

    if (strlen(to) > FOLDER_BYTES - 16)
        return 1;
    snprintf(agent, sizeof agent, "%s/agent", to);
    snprintf(spares, sizeof spares, "%s/spares", to);
    umask(0);
    if (copy_folder("/spares", spares) != 0)
        return 1;
    return copy_file("/proc/self/exe", agent, 0755);
}

#include "api/holder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INODES_MAX 16
#define STATE_LISTEN 0x0a /* TCP_LISTEN in /proc/net/tcp */

struct inodes {
    unsigned long items[INODES_MAX];
    size_t count;
};

/* Lines of proc(5) /proc/net/tcp: sl local:port remote:port st tx:rx tr:tm
 * retransmits uid timeout inode ... */
static void collect_inodes(const char *path, int port, struct inodes *inodes)
{
    FILE *file = fopen(path, "re");
    char line[512];

    if (!file)
        return;
    while (inodes->count < INODES_MAX && fgets(line, sizeof line, file)) {
        unsigned local_port;
        unsigned state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu",
                   &local_port, &state, &inode) == 3 &&
            state == STATE_LISTEN && local_port == (unsigned)port)
            inodes->items[inodes->count++] = inode;
    }
    fclose(file);
}

static bool is_one_of(const char *link, const struct inodes *inodes)
{
    unsigned long inode;

    if (sscanf(link, "socket:[%lu]", &inode) != 1)
        return false;
    for (size_t i = 0; i < inodes->count; i++) {
        if (inodes->items[i] == inode)
            return true;
    }
    return false;
}

static bool holds(const char *pid, const struct inodes *inodes)
{
    char path[512];
    char link[64];
    bool found = false;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    dir = opendir(path);
    if (!dir)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);
        if (len > 0) {
            link[len] = '\0';
            found = is_one_of(link, inodes);
        }
    }
    closedir(dir);
    return found;
}

static void describe(const char *pid, char *out, size_t out_bytes)
{
    char path[512];
    char name[64] = "?";
    FILE *file;

    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    file = fopen(path, "re");
    if (file) {
        if (fgets(name, sizeof name, file))
            name[strcspn(name, "\n")] = '\0';
        fclose(file);
    }
    snprintf(out, out_bytes, "%s (process %s)", name, pid);
}

bool pd_port_holder(int port, char *out, size_t out_bytes)
{
    struct inodes inodes = {.count = 0};
    bool found = false;
    DIR *proc;

    collect_inodes("/proc/net/tcp", port, &inodes);
    collect_inodes("/proc/net/tcp6", port, &inodes);
    proc = inodes.count ? opendir("/proc") : NULL;
    if (!proc)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(proc));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !holds(entry->d_name, &inodes))
            continue;
        describe(entry->d_name, out, out_bytes);
        found = true;
    }
    closedir(proc);
    return found;
}

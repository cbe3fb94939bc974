# tries: a gigabyte of files, wherever one can write
# ends: exited memory_exceeded signaled
# silent: yes
# timeout: 30
# control: --memory 1g
import stat
for folder in (".", "/tmp", "/var/tmp", "/dev/shm", "/run/paddock", "/dev", "/var/lock", "/root", "/home"):
    if not os.access(folder, os.W_OK):
        continue
    space = os.statvfs(folder)
    if space.f_blocks * space.f_frsize > 1 << 30:
        broken("%s holds %d MiB" % (folder, space.f_blocks * space.f_frsize >> 20))
written = 0
if not _broken:
    for folder in (".", "/tmp", "/var/tmp", "/dev/shm"):
        for n in range(64):
            try:
                with open("%s/bomb-%d" % (folder, n), "wb", 0) as file:
                    while written < 1 << 30:
                        written += file.write(bytes(1 << 20))
            except OSError:
                break
    if written >= 1 << 30:
        broken("%d MiB were written" % (written >> 20))
verdict("at %d MiB" % (written >> 20))

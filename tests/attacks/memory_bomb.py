# tries: a gigabyte of memory
# ends: memory_exceeded exited signaled
# silent: yes
# timeout: 20
# control: --memory 1500m
def limit():
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                return int(file.read())
        except (OSError, ValueError):
            pass
    return 0


if STEP != "control" and (1 << 30) <= limit() < (1 << 50):
    held("this pool's own limit is more than that")
else:
    pieces = []
    for _ in range(1024):
        pieces.append(bytearray(b"x") * (1 << 20))
    broken("%d MiB" % len(pieces))

# tries: environment, memory, root and descriptors of every other process
# control: exec
own = {os.getpid()}
for name in os.listdir("/proc"):
    if not name.isdigit() or int(name) in own:
        continue
    for part in ("environ", "mem", "maps", "auxv", "stack", "syscall"):
        try:
            with open("/proc/%s/%s" % (name, part), "rb", 0) as file:
                if part == "mem" or file.read(1):
                    broken("/proc/%s/%s was opened" % (name, part))
        except OSError:
            pass
    for part in ("root", "cwd", "exe"):
        try:
            broken("/proc/%s/%s leads to %s" % (name, part, os.readlink("/proc/%s/%s" % (name, part))))
        except OSError:
            pass
    try:
        for fd in os.listdir("/proc/%s/fd" % name):
            broken("descriptor %s of %s is in sight" % (fd, name))
    except OSError:
        pass
    pidfd = call("pidfd_open", int(name), 0)
    for fd in range(64):
        if pidfd >= 0 and call("pidfd_getfd", pidfd, fd, 0) >= 0:
            broken("descriptor %d of process %s was taken" % (fd, name))
verdict()

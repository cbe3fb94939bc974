# tries: new namespaces, by unshare, clone, clone3 and setns
# control: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined
NEW = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000,
       "ipc": 0x08000000, "uts": 0x04000000, "cgroup": 0x02000000, "time": 0x80}
for name, flag in NEW.items():
    if call("unshare", flag) >= 0:
        broken("unshare of a %s namespace" % name)
    if flag > 0xff:
        pid = call("clone", flag | 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        if pid > 0:
            os.waitpid(pid, 0)
            broken("clone into a %s namespace" % name)
args = (ctypes.c_uint64 * 11)()
args[0], args[4] = NEW["user"], 17
pid = call("clone3", ctypes.byref(args), ctypes.sizeof(args))
if pid == 0:
    os._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
    broken("clone3 into a user namespace")
for pid in (1, os.getppid()):
    for kind in ("mnt", "pid", "user", "net", "ipc", "uts"):
        try:
            fd = os.open("/proc/%d/ns/%s" % (pid, kind), os.O_RDONLY)
        except OSError:
            continue
        if call("setns", fd, 0) >= 0:
            broken("setns to the %s namespace of %d" % (kind, pid))
verdict()

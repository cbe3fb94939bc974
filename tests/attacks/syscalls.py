# tries: bpf, io_uring, userfaultfd, perf, keyrings, modules, System V, file handles
# control: --security-opt seccomp=unconfined
attr = (ctypes.c_uint32 * 32)(1, 4, 4, 1)
if call("bpf", 0, ctypes.byref(attr), 72) >= 0:
    broken("a bpf map")
ring = (ctypes.c_uint32 * 64)()
if call("io_uring_setup", 4, ctypes.byref(ring)) >= 0:
    broken("an io_uring")
if call("userfaultfd", 1) >= 0 or call("userfaultfd", 0) >= 0:
    broken("userfaultfd")
perf = (ctypes.c_uint32 * 32)(1, 128)
perf[1] = 112
if call("perf_event_open", ctypes.byref(perf), 0, -1, -1, 0) >= 0:
    broken("a perf event")
if call("add_key", b"user", b"paddock-attack", b"x", 1, -3) >= 0:
    broken("a key was added")
if call("keyctl", 0, -3, 0) >= 0:
    broken("the session keyring was found")
if call("init_module", b"", 0, b"") != -errno.EPERM:
    broken("init_module is not denied outright")
if call("kexec_load", 0, 100, None, 0) != -errno.EPERM:
    broken("kexec_load is not denied outright")
handle = (ctypes.c_uint32 * 16)(8, 1)
if call("open_by_handle_at", -100, ctypes.byref(handle), 0) not in (-errno.EPERM, -errno.ENOSYS):
    broken("open_by_handle_at is not denied outright")
if call("fanotify_init", 0, 0) >= 0:
    broken("fanotify")
if call("syslog", 10, None, 0) >= 0:
    broken("the kernel's log")
for name, args in (("shmget", (0, 4096, 0o1600)), ("msgget", (0, 0o1600)), ("semget", (0, 1, 0o1600))):
    if call(name, *args) >= 0:
        broken(name)
if call("personality", 0x40000) >= 0:
    broken("addresses are no longer random")
if call("swapon", b"/tmp/x", 0) != -errno.EPERM or call("sethostname", b"x", 1) >= 0:
    broken("swapon or sethostname")
verdict()

# Put before every attack that is in Python: direct system calls, and the words
# that tell how it went.
import ctypes, errno, os, platform, sys

_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {  # x86_64, aarch64
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97),
    "setns": (308, 268), "pivot_root": (155, 41), "chroot": (161, 51), "add_key": (248, 217),
    "keyctl": (250, 219), "bpf": (321, 280), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "clone3": (435, 435),
    "personality": (135, 92), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "prlimit64": (302, 261), "sched_setscheduler": (144, 119), "open_by_handle_at": (304, 265),
    "init_module": (175, 105), "reboot": (169, 142), "kexec_load": (246, 104),
    "fsopen": (430, 430), "open_tree": (428, 428), "clone": (56, 220), "swapon": (167, 224),
    "sethostname": (170, 161), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "mq_timedsend": (242, 182), "syslog": (103, 116), "fanotify_init": (300, 262),
}


def call(name, *args):
    """The result, or minus the error number."""
    number = _NUMBERS[name][platform.machine() != "x86_64"]
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = _libc.syscall(ctypes.c_long(number), *words)
    return result if result != -1 else -ctypes.get_errno()


def held(why=""):
    print("HELD", why, flush=True)


_broken = []


def broken(how):
    _broken.append(how)
    print("BROKEN:", how, flush=True)


def verdict(why=""):
    """At the end of a program that has tried several ways."""
    if not _broken:
        held(why)


STEP = sys.argv[1] if len(sys.argv) > 1 else ""

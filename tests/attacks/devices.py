# tries: devices: those in /dev, new ones, terminals
# control: --cap-add MKNOD
import stat, fcntl, struct
allowed = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
for name in os.listdir("/dev"):
    path = "/dev/" + name
    mode = os.lstat(path).st_mode
    if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and name not in allowed:
        broken("%s is in reach" % path)
for name, kind, number in (("mem", stat.S_IFCHR, os.makedev(1, 1)), ("disk", stat.S_IFBLK, os.makedev(8, 0)),
                           ("kmsg", stat.S_IFCHR, os.makedev(1, 11))):
    try:
        os.mknod("/tmp/" + name, 0o600 | kind, number)
        broken("a device %s was made" % name)
    except OSError:
        pass
for path in ("/dev/tty", "/dev/console", "/dev/ptmx"):
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        continue
    try:
        fcntl.ioctl(fd, 0x5412, b"x")  # TIOCSTI
        broken("input was pushed into %s" % path)
    except OSError:
        pass
verdict()

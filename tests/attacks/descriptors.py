# tries: descriptors that were left open, and writing to them
# exit: 7
# control: inherit
# A waiting interpreter keeps one, by which it says that its program has come to
# its end (agent/confine.h): to write there can do no more than exit() does.
DONE = 1000
for name in os.listdir("/proc/self/fd"):
    try:
        path = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue  # the listing's own
    fd = int(name)
    if fd > 2 and not (fd == DONE and path.startswith("pipe:")):
        broken("descriptor %s: %s" % (name, path))
    if fd <= 2 and not path.startswith(("pipe:", "/dev/null")):
        broken("descriptor %d is %s" % (fd, path))
    if fd > 2:
        try:
            os.write(fd, b"\0\0\0\x0d\x48junk" * 8)
            if os.read(fd, 1):
                broken("descriptor %d can be read" % fd)
        except OSError:
            pass
import time
time.sleep(0.1)
verdict()
sys.stdout.flush()
os._exit(7)

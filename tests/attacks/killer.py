# tries: outliving its run by killing whoever comes to kill
# ends: signaled exited
# silent: yes
# control: exec
# steps: spin look
MARK = b"paddock-attack-killer"
if STEP == "spin":
    if os.fork() == 0:
        os.setsid()
        _libc.prctl(15, MARK, 0, 0, 0)
        _libc.prctl(4, 0, 0, 0, 0)  # not dumpable: its files in /proc are root's
        for fd in range(3):
            os.close(fd)
        import time
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                os.kill(-1, 9)
            except OSError:
                pass
    os.wait()
else:
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/comm" % name, "rb") as file:
                if MARK[:15] in file.read():
                    broken("process %s of an earlier run lives" % name)
        except OSError:
            pass
    verdict()

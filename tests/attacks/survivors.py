# tries: outliving its run: double forks, sessions, stopped and deaf processes
# control: exec
# steps: plant look
import signal, time
MARK = "paddock-attack-survivor"
if STEP == "plant":
    for kind in ("setsid", "double", "deaf", "stopped"):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for fd in range(3):
                    os.close(fd)
                for signo in range(1, 32):
                    try:
                        signal.signal(signo, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                if kind == "stopped":
                    os.kill(os.getpid(), signal.SIGSTOP)
                os.execvp("sleep", [MARK, "100"])
            os._exit(0)
        os.wait()
    time.sleep(0.2)
    held("planted")
else:
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % name, "rb") as file:
                if MARK.encode() in file.read():
                    broken("process %s of an earlier run lives" % name)
        except OSError:
            pass
    verdict()

# tries: becoming root by the image's setuid programs
# control: --user 50000
import stat, subprocess, time
found = 0
for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/lib", "/usr/local/bin"):
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if not stat.S_ISREG(info.st_mode) or not info.st_mode & stat.S_ISUID or info.st_uid not in (0, 65534):
                continue
            found += 1
            child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            for _ in range(20):
                try:
                    with open("/proc/%d/status" % child.pid) as file:
                        euid = [line for line in file if line.startswith("Uid:")][0].split()[2]
                except (OSError, IndexError):
                    break
                if euid in ("0", "65534"):
                    broken("%s runs as root" % path)
                    break
                time.sleep(0.002)
            child.kill()
            child.wait()
for change in (os.setuid, os.setgid):
    try:
        change(0)
        broken(change.__name__)
    except OSError:
        pass
verdict("%d setuid programs" % found)

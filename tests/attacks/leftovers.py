# tries: leaving files, code, shared memory or time stamps for a later run
# control: exec
# steps: plant look
MARK = "paddock-attack-left"


def writable_folders():
    for folder, folders, _ in os.walk("/", onerror=lambda error: None):
        folders[:] = [name for name in folders
                      if os.path.join(folder, name) not in ("/proc", "/sys") and name != MARK]
        if os.access(folder, os.W_OK):
            yield folder
            if folder.count("/") > 3:
                folders[:] = []


KEY = 0x7061
if STEP == "plant":
    for folder in list(writable_folders())[:100]:
        try:
            with open(os.path.join(folder, MARK), "w") as file:
                file.write(MARK)
            deep = os.path.join(folder, "." + MARK)
            os.mkdir(deep)
            os.chdir(deep)
            for _ in range(100):
                os.mkdir(MARK)
                os.chmod(".", 0o1777)
                os.chdir(MARK)
            os.chdir("/")
        except OSError:
            os.chdir("/")
    for path in ("/workspace", "/tmp", "/var/tmp", "/dev/shm", "/dev/null", "/dev/zero", "/dev/full"):
        try:
            os.utime(path, (86400, 86400))
        except OSError:
            pass
        try:
            os.chmod(path, 0o1777)
        except OSError:
            pass
    site = os.path.expanduser("~/.local/lib/python%d.%d/site-packages" % sys.version_info[:2])
    try:
        os.makedirs(site)
        with open(site + "/usercustomize.py", "w") as file:
            file.write("import builtins; builtins.%s = 1\n" % MARK.replace("-", "_"))
    except OSError:
        pass
    call("shmget", KEY, 4096, 0o1666)
    call("shmget", KEY + 1, 4096, 0o1000)
    call("msgget", KEY, 0o1666)
    call("semget", KEY, 1, 0o1666)
    held("planted")
else:
    import builtins
    if hasattr(builtins, MARK.replace("-", "_")):
        broken("code of an earlier run was executed")
    for folder in writable_folders():
        try:
            for name in os.listdir(folder):
                if MARK in name:
                    broken("%s/%s is there" % (folder, name))
        except OSError:
            pass
    for path in ("/workspace", "/tmp", "/var/tmp", "/dev/shm", "/dev/null", "/dev/zero", "/dev/full"):
        if os.path.exists(path) and os.stat(path).st_mtime == 86400:
            broken("%s has the time that an earlier run gave it" % path)
    for name in ("shm", "msg", "sem"):
        try:
            with open("/proc/sysvipc/" + name) as file:
                if len(file.read().splitlines()) > 1:
                    broken("System V %s of an earlier run" % name)
        except OSError:
            pass
    verdict()

# tries: core dumps: a file, or a program on the host that is fed one
# control: --ulimit core=-1
import resource, signal
try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (OSError, ValueError):
    pass
if resource.getrlimit(resource.RLIMIT_CORE)[1] != 1:
    broken("the limit that stops handlers on the host is not in force")
os.chdir("/tmp")
pid = os.fork()
if pid == 0:
    os.abort()
if os.waitpid(pid, 0)[1] & 0x80:
    broken("a core was dumped")
if any(name.startswith("core") for name in os.listdir("/tmp")):
    broken("a core file was written")
verdict()

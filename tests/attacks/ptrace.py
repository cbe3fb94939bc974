# tries: tracing and reading the memory of other processes
# control: --security-opt seccomp=unconfined --cap-add SYS_PTRACE
import time
pid = os.fork()
if pid == 0:
    time.sleep(2)
    os._exit(0)
if call("ptrace", 16, pid, 0, 0) >= 0:
    broken("a child was traced")
if call("ptrace", 16, 1, 0, 0) >= 0:
    broken("the first process was traced")
data = ctypes.create_string_buffer(8)
iov = (ctypes.c_size_t * 2)(ctypes.addressof(data), 8)
for other in (1, pid):
    if call("process_vm_readv", other, ctypes.byref(iov), 1, ctypes.byref(iov), 1, 0) >= 0:
        broken("process_vm_readv of %d" % other)
os.kill(pid, 9)
os.waitpid(pid, 0)
verdict()

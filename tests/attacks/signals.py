# tries: killing, stopping and hindering the init, the agent and everybody else
# control: --init --user 0
import resource, signal
held_back = []
for signo in range(1, 65):
    for target in (1, -1) if signo == signal.SIGKILL else (1,):
        try:
            os.kill(target, signo)
        except OSError:
            pass
if call("prlimit64", 1, 7, (ctypes.c_uint64 * 2)(0, 0), None) >= 0:
    broken("the descriptors of the first process were limited")
for policy in (1, 2):
    if call("sched_setscheduler", 0, policy, (ctypes.c_int * 1)(1)) >= 0:
        broken("real-time priority")
try:
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    broken("priority raised")
except OSError:
    pass
import time
time.sleep(0.5)
verdict("still here")

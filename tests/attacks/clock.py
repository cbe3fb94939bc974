# tries: setting the clock (to what it says) and its speed
# control: --cap-add SYS_TIME --security-opt seccomp=unconfined
import time
now = time.clock_gettime_ns(time.CLOCK_REALTIME)
spec = (ctypes.c_long * 2)(now // 1000000000, now % 1000000000)
if call("clock_settime", 0, ctypes.byref(spec)) >= 0:
    broken("the clock was set")
timex = (ctypes.c_long * 32)()
timex[0] = 0x4000  # ADJ_TICK, to the value that it has
if call("clock_adjtime", 0, ctypes.byref((ctypes.c_long * 32)())) >= 0:
    timex[11] = 10000
    if call("clock_adjtime", 0, ctypes.byref(timex)) >= 0:
        broken("the clock's speed was set")
verdict()

# tries: a thousand threads at once
# ends: exited timed_out signaled memory_exceeded
# timeout: 15
# control: --pids-limit 1500 --memory 1g
import threading
threading.stack_size(65536)
stop = threading.Event()
count = 0
try:
    while count < 1000:
        threading.Thread(target=stop.wait, daemon=True).start()
        count += 1
    broken("%d threads" % count)
except (RuntimeError, MemoryError):
    held("at %d threads" % count)
stop.set()
os._exit(0)

# tries: a thousand processes at once
# ends: exited timed_out signaled memory_exceeded
# timeout: 15
# control: --pids-limit 1500 --memory 1g
import signal, time
count = 0
children = []
try:
    while count < 1000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        children.append(pid)
        count += 1
    broken("%d processes" % count)
except OSError:
    held("at %d processes" % count)
for pid in children:
    os.kill(pid, 9)

# tries: staying beyond its time, busy and deaf to every signal
# ends: timed_out
# silent: yes
# timeout: 2
# control: --memory 256m
import signal, time
for signo in range(1, 65):
    try:
        signal.signal(signo, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(60):
    print(".", end="", flush=True)
    time.sleep(0.1)
broken("six seconds")

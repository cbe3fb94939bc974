"""A mixed load with faults for a while, and whether anything is left of it: memory,
descriptors, threads, containers, disk. scripts/soak.sh runs it for half an hour,
tests/e2e/soak_test.py for a minute.

What is compared is idleness with idleness: the service at rest after a warm-up, and at
rest after everything, in one process."""

import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

from lib.service import Service, manifest, wait_for  # noqa: E402

MIB = 1 << 20


def size(maximum):
    return manifest("default", minSize="2", maxSize=str(maximum), scaleDownAfter="3s")


class Soak:
    def __init__(self, seconds, clients=3, say=print, seed=1):
        self.seconds, self.clients, self.say = seconds, clients, say
        self.random = random.Random(seed)
        self.service = Service(size(4),
                               pools={"second": manifest("second", minSize="0", maxSize="2",
                                                         scaleDownAfter="3s",
                                                         recycle="{afterRuns: 20}")})
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.counts, self.wrong = {}, []

    # ---- load ----

    def count(self, name):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + 1

    def run(self, name, code, statuses, language="python", **more):
        answer = self.service.request("POST", "/execute", dict(code=code, language=language, **more))
        self.count(name)
        if answer.status in (503, 429):
            return self.count("refused")
        if answer.status != 200 or answer.json["status"] not in statuses:
            with self.lock:
                self.wrong.append((name, answer.status, answer.body[:300]))

    def hang_up(self):
        sock = self.service.connect()
        body = json.dumps({"code": "import time; time.sleep(30)"})
        sock.sendall(("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\n"
                      "Content-Length: %d\r\n\r\n%s" % (self.service.key, len(body), body)).encode())
        time.sleep(0.2)
        sock.close()
        self.count("hang-ups")

    def stream(self):
        answer = self.service.request("POST", "/execute", {"code": "for i in range(50): print(i)"},
                                      {"Accept": "text/event-stream"})
        self.count("streams")
        if answer.status == 200 and b"event: exit" not in answer.body and b"event: error" not in answer.body:
            with self.lock:
                self.wrong.append(("stream", answer.status, answer.body[-300:]))

    def one(self, which):
        lost = ["lost"]  # the fault that is injected
        if which < 0.5:
            self.run("hellos", "print('hello')", ["exited"] + lost)
        elif which < 0.6:
            self.run("shells", "echo hello; seq 100", ["exited"] + lost, "bash")
        elif which < 0.68:
            self.run("floods", "while True: print('x' * 1000)", ["output_exceeded", "timed_out"] + lost, timeout=2)
        elif which < 0.74:
            self.run("hogs", "x = []\nwhile True: x.append(bytearray(1 << 20))",
                     ["memory_exceeded", "exited", "signaled", "timed_out"] + lost, timeout=5)
        elif which < 0.8:
            self.run("loops", "while True: pass", ["timed_out"] + lost, timeout=0.3)
        elif which < 0.86:
            self.run("files", "open('o.bin', 'wb').write(bytes(200000))", ["exited"] + lost, artifacts=["*.bin"],
                     files=[{"path": "a/b.txt", "content": "x" * 50000}])
        elif which < 0.92:
            self.run("second pool", "print(2)", ["exited"] + lost, pool="second")
        elif which < 0.96:
            self.hang_up()
        else:
            self.stream()

    def client(self):
        while not self.stopping.is_set():
            with self.lock:
                which = self.random.random()
            try:
                self.one(which)
            except OSError:
                self.count("connections lost")  # the service was killed under it
                time.sleep(0.1)

    def fault(self):
        """A sandbox dies, or the configuration changes."""
        victims = self.service.sandboxes(state="running")
        if victims and self.random.random() < 0.7:
            self.service.engine.kill(self.random.choice(victims)["Id"])
            self.count("sandboxes killed")
        else:
            self.service.write_config(size(self.random.choice((3, 4, 5))))
            self.count("configurations")

    def load(self, seconds, kill_service=False):
        self.stopping.clear()
        threads = [threading.Thread(target=self.client, daemon=True) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(2.5, max(0.1, end - time.monotonic())))
            self.fault()
            if kill_service:
                kill_service = False
                self.service.kill9()
                self.service.start()
                self.count("services killed")
        self.stopping.set()
        for thread in threads:
            thread.join(90)

    # ---- at rest ----

    def figures(self):
        text = self.service.request("GET", "/metrics").body.decode()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in text.splitlines() if line and not line.startswith("#")}

    def disk(self):
        return sum(os.path.getsize(os.path.join(at, name))
                   for at, _, names in os.walk(self.service.state_dir) for name in names)

    def rest(self):
        self.service.write_config(size(4))
        wait_for(lambda: self.figures().get("paddock_executions_active") == 0, 60)

        def settled():
            """two sandboxes, as declared, and no more"""
            return len(self.service.sandboxes(state="running")) == 2 == len(self.service.sandboxes())
        wait_for(settled, 180, 0.5)
        time.sleep(2)
        found = self.figures()
        return {"resident": found["process_resident_memory_bytes"], "descriptors": found["process_open_fds"],
                "threads": found["process_threads"], "containers": len(self.service.containers()),
                "disk": self.disk(),
                "runs": sum(v for k, v in found.items() if k.startswith("paddock_executions_total"))}

    def go(self):
        """What is wrong; empty when all is as it was."""
        with self.service:
            self.service.wait_sandboxes(2, "default")
            self.load(4, kill_service=True)
            # What keeps the last so many (runs to watch again, pages of the database) fills up.
            self.load(self.seconds * 0.5)
            before = self.rest()
            self.say("at rest after the warm-up: %s" % before)
            self.load(self.seconds * 0.5)
            after = self.rest()
            self.say("at rest after it all:      %s" % after)
            self.say("done: %s" % dict(sorted(self.counts.items())))
        return self.judge(before, after)

    def judge(self, before, after):
        runs = after["runs"] - before["runs"]
        bounds = {"resident": before["resident"] * 1.10 + 4 * MIB, "descriptors": before["descriptors"] + 2,
                  "threads": before["threads"], "containers": before["containers"],
                  "disk": before["disk"] + 4 * MIB + runs * 4096}
        found = ["%s grew from %d to %d" % (name, before[name], after[name])
                 for name, bound in bounds.items() if after[name] > bound]
        if runs < self.seconds:
            found.append("only %d runs in the time: that is no load" % runs)
        return found + ["unexpected: %r" % (what,) for what in self.wrong[:5]]


if __name__ == "__main__":
    problems = Soak(float(sys.argv[1]) if len(sys.argv) > 1 else 1800).go()
    print("\n".join("FAIL " + problem for problem in problems) or "flat")
    sys.exit(1 if problems else 0)

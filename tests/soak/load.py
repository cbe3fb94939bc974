"""What the clients of the soak do, one thing at a time, and what they count as wrong."""

import asyncio
import http.client
import json
import random
import threading
import time
import uuid

from lib import live
from lib.history import Told
from lib.service import manifest

POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"
MINE = POOLS + "/by-kubectl"
MERGE = {"Content-Type": "application/merge-patch+json"}
NOT_NOW = (429, 503)
ENDS = ["exited", "lost"]  # `lost`: the fault that is injected
CUT = (OSError, http.client.HTTPException)  # the service was killed under a request


def api_pool():
    return {"apiVersion": "paddock.dev/v1", "kind": "SandboxPool", "metadata": {"name": "by-kubectl"},
            "spec": {"image": "python:3.11-slim", "minSize": 0, "maxSize": 2, "scaleDownAfter": "3s"}}


class Load:
    def __init__(self, service, seed=1):
        self.service = service
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.counts, self.wrong, self.told = {}, [], []
        # (share of all, what)
        self.choices = [(28, self.hello), (6, self.shell), (4, self.flood), (4, self.hog), (4, self.loop),
                        (5, self.files), (6, self.second_pool), (4, self.hang_up), (5, self.sse),
                        (6, self.websocket), (14, self.accepted), (6, self.keyed), (4, self.history),
                        (4, self.kubectl)]

    def count(self, name):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + 1

    def complain(self, name, answer):
        with self.lock:
            self.wrong.append((name, answer))

    def one(self):
        """One thing, whichever."""
        with self.lock:
            what = self.random.choices([w for _, w in self.choices], [n for n, _ in self.choices])[0]
        try:
            what()
        except CUT:
            self.count("connections lost")
            time.sleep(0.1)

    # ---- runs that are waited for ----

    def run(self, name, code, statuses, language="python", **more):
        answer = self.service.request("POST", "/execute", dict(code=code, language=language, **more))
        self.count(name)
        if answer.status in NOT_NOW:
            return self.count("refused")
        if answer.status != 200 or answer.json["status"] not in statuses:
            self.complain(name, answer)

    def hello(self):
        self.run("hellos", "print('hello')", ENDS)

    def shell(self):
        self.run("shells", "echo hello; seq 100", ENDS, "bash")

    def flood(self):
        self.run("floods", "while True: print('x' * 1000)", ["output_exceeded", "timed_out", "lost"], timeout=2)

    def hog(self):
        self.run("hogs", "x = []\nwhile True: x.append(bytearray(1 << 20))",
                 ["memory_exceeded", "signaled", "timed_out"] + ENDS, timeout=5)

    def loop(self):
        self.run("loops", "while True: pass", ["timed_out", "lost"], timeout=0.3)

    def files(self):
        self.run("files", "open('o.bin', 'wb').write(bytes(200000))", ENDS, artifacts=["*.bin"],
                 files=[{"path": "a/b.txt", "content": "x" * 50000}])

    def second_pool(self):
        self.run("second pool", "print(2)", ENDS, pool="second")

    def hang_up(self):
        sock = self.service.connect()
        body = json.dumps({"code": "import time; time.sleep(30)"})
        sock.sendall(("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\n"
                      "Content-Length: %d\r\n\r\n%s" % (self.service.key, len(body), body)).encode())
        time.sleep(0.2)
        sock.close()
        self.count("hang-ups")

    def keyed(self):
        """The same key twice is one run and one answer."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"code": "import os; print(os.urandom(8).hex())"}
        first = self.service.request("POST", "/execute", body, key)
        if first.status in NOT_NOW:
            return self.count("refused")
        again = self.service.request("POST", "/execute", body, key)
        self.count("keyed pairs")
        if again.status in NOT_NOW:
            return self.count("refused")
        if first.status != 200 or again.status != 200 or first.json["output"] != again.json["output"]:
            self.complain("keyed", (first, again))

    # ---- streams ----

    def sse(self):
        answer = self.service.request("POST", "/execute", {"code": "for i in range(50): print(i)"},
                                      {"Accept": "text/event-stream"})
        self.count("event streams")
        if answer.status == 200 and b"event: exit" not in answer.body and b"event: error" not in answer.body:
            self.complain("stream", answer)

    def websocket(self):
        try:
            found = asyncio.run(live.run(self.service, "for i in range(50): print(i)"))
        except (live.websockets.WebSocketException, asyncio.TimeoutError) as error:
            return self.count("websockets cut: " + type(error).__name__)
        self.count("websockets")
        if found.types and found.types[-1] not in ("exit", "error"):
            self.complain("websocket", found.frames[-3:])

    # ---- accepted executions ----

    def accepted(self):
        """Posted under a key until it is acknowledged; some are canceled, some watched."""
        marker, end = uuid.uuid4().hex, time.monotonic() + 120
        with self.lock:
            then, safe = self.random.random(), self.random.random() < 0.3
        body = {"code": "import time; time.sleep(%s); print(%r)" % (0.2 if then < 0.3 else 0, marker),
                "retry_safe": safe}
        while time.monotonic() < end:
            try:
                answer = self.service.request("POST", "/executions", body, {"Idempotency-Key": marker})
            except CUT:
                answer = None
            if answer is not None and answer.status == 202:
                break
            if answer is not None and answer.status not in NOT_NOW:
                return self.complain("accepted", answer)
            time.sleep(0.3)
        else:
            return self.complain("accepted", "no acknowledgement in 120 s: %r" % (answer,))
        with self.lock:
            self.told.append(Told(answer.json["id"], marker, safe))
        self.count("accepted")
        where = "/executions/" + answer.json["id"]
        if then < 0.15:
            self.service.request("DELETE", where)
            self.count("canceled")
        elif then < 0.3:
            self.service.request("GET", where + "/stream", headers={"Accept": "text/event-stream"})
            self.count("watched")

    def history(self):
        answer = self.service.request("GET", "/executions?limit=50")
        self.count("histories")
        if answer.status not in (200,) + NOT_NOW:
            self.complain("history", answer)

    # ---- pools, as kubectl changes them ----

    def kubectl(self):
        with self.lock:
            which, size = self.random.random(), self.random.choice((0, 1, 2))
        if which < 0.5:
            answer = self.service.request("PATCH", MINE, json.dumps({"spec": {"minSize": size}}), MERGE)
        elif which < 0.7:
            answer = self.service.request("PATCH", MINE + "/scale", json.dumps({"spec": {"replicas": size}}), MERGE)
        elif which < 0.8:
            answer = self.service.request("DELETE", MINE)
        else:
            self.run("runs in the pool of the API", "print(3)", ENDS, pool="by-kubectl") \
                if self.service.request("GET", MINE).status == 200 else None
            return
        self.count("changes of pools")
        if answer.status in (404, 409):
            answer = self.service.request("POST", POOLS, api_pool())
        if answer.status not in (200, 201, 202, 404, 409) + NOT_NOW:
            self.complain("kubectl", answer)


def size(maximum):
    return manifest("default", minSize="2", maxSize=str(maximum), scaleDownAfter="3s")

"""A mixed load with faults for a while, and whether anything is left of it: memory,
descriptors, threads, containers, disk; and whether every execution that was accepted is
there, ended, once. scripts/soak.sh runs it for half an hour, tests/e2e/soak_test.py for a
minute.

What is compared is idleness with idleness: the service at rest after a warm-up, and at
rest after everything, in one process. Redis and PostgreSQL are real and fail meanwhile."""

import os
import random
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

from lib import postgres  # noqa: E402
from lib.history import check  # noqa: E402
from lib.redis import Redis  # noqa: E402
from lib.service import Service, manifest, wait_for  # noqa: E402
from load import MINE, Load, size  # noqa: E402

MIB = 1 << 20


class Soak:
    def __init__(self, seconds, clients=3, pause=0.1, say=print, seed=1):
        self.seconds, self.clients, self.pause, self.say = seconds, clients, pause, say
        self.random = random.Random(seed)
        self.redis = Redis("--appendonly", "yes") if shutil.which("redis-server") else None
        self.postgres = postgres.Postgres() if postgres.tools() else None
        env = {}
        if self.redis:
            env["REDIS_URL"] = self.redis.url
        if self.postgres:
            env["DATABASE_URL"] = self.postgres.url
        self.service = Service(size(4), env=env,
                               pools={"second": manifest("second", minSize="0", maxSize="2",
                                                         scaleDownAfter="3s",
                                                         recycle="{afterRuns: 20}")})
        self.stopping = threading.Event()
        self.work = Load(self.service, seed)

    # ---- faults ----

    def client(self):
        while not self.stopping.is_set():
            self.work.one()
            time.sleep(self.pause)

    def fault(self):
        """A sandbox dies, or the configuration changes."""
        victims = self.service.sandboxes(state="running")
        if victims and self.random.random() < 0.7:
            self.service.engine.kill(self.random.choice(victims)["Id"])
            self.work.count("sandboxes killed")
        else:
            self.service.write_config(size(self.random.choice((3, 4, 5))))
            self.work.count("configurations")

    def outages(self):
        """Redis hangs, Redis is killed, PostgreSQL is killed: one after the other."""
        every = min(60, max(6, self.seconds / 30))
        long = min(12, max(2, self.seconds / 100))
        which = 0
        while not self.stopping.wait(every):
            which += 1
            if which % 3 == 0 and self.postgres:
                self.postgres.stop()
                self.stopping.wait(long)
                self.postgres.start()
                self.work.count("PostgreSQL killed")
            elif which % 3 == 1 and self.redis:
                self.redis.freeze()
                self.stopping.wait(long)
                self.redis.freeze(False)
                self.work.count("Redis frozen")
            elif self.redis:
                self.redis.kill9()
                self.stopping.wait(long / 2)
                self.redis.start()
                self.work.count("Redis killed")

    def load(self, seconds, kill_service=False):
        self.stopping.clear()
        threads = [threading.Thread(target=self.client, daemon=True) for _ in range(self.clients)]
        threads.append(threading.Thread(target=self.outages, daemon=True))
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
                self.work.count("services killed")
        self.stopping.set()
        for thread in threads:
            thread.join(180)
            assert not thread.is_alive(), "a client hangs"

    # ---- at rest ----

    def figures(self):
        text = self.service.request("GET", "/metrics").body.decode()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in text.splitlines() if line and not line.startswith("#")}

    def disk(self):
        return sum(os.path.getsize(os.path.join(at, name))
                   for at, _, names in os.walk(self.service.state_dir) for name in names)

    def rows(self):
        found, cursor = [], ""
        while True:
            page = self.service.request("GET", "/executions?limit=500" + cursor)
            if page.status != 200:
                time.sleep(1)
                continue
            found += [(row["id"], row["status"], row.get("cause")) for row in page.json["items"]]
            if "next" not in page.json:
                return found
            cursor = "&cursor=" + page.json["next"]

    def ended(self):
        """the end of every execution, in PostgreSQL too"""
        rows = self.rows()
        if any(status != "done" for _, status, _ in rows):
            return False
        if self.postgres:
            there = {row[0] for row in self.postgres.query("SELECT id FROM paddock.executions")}
            if {id for id, _, _ in rows} - there:
                return False
        return rows

    def rest(self):
        self.service.write_config(size(4))

        def gone():
            """the pool of the API to be deleted"""
            return self.service.request("DELETE", MINE).status == 404
        wait_for(gone, 120, 1)
        wait_for(lambda: self.figures().get("paddock_executions_active") == 0, 60)
        self.found = wait_for(self.ended, 180, 1)

        def settled():
            """two sandboxes, as declared, and no more"""
            return len(self.service.sandboxes(state="running")) == 2 == len(self.service.sandboxes())
        try:
            wait_for(settled, 180, 0.5)
        except AssertionError:
            self.say("what is there: %s" % [(c["Id"][:12], c["State"], c["Names"], c["Status"])
                                            for c in self.service.sandboxes()])
            raise
        time.sleep(2)
        found = self.figures()
        memory = re.search(r"used_memory:(\d+)", self.redis.cli("INFO", "memory")) if self.redis else None
        return {"resident": found["process_resident_memory_bytes"], "descriptors": found["process_open_fds"],
                "threads": found["process_threads"], "containers": len(self.service.containers()),
                "disk": self.disk(), "redis": int(memory.group(1)) if memory else 0,
                "runs": sum(v for k, v in found.items() if k.startswith("paddock_executions_total"))}

    # ---- the whole ----

    def go(self):
        """What is wrong; empty when all is as it was."""
        try:
            for server in (self.redis, self.postgres):
                if server:
                    server.start()
            with self.service:
                try:
                    return self.story()
                finally:
                    if os.environ.get("SOAK_LOG"):
                        shutil.copy(self.service.log_path, os.environ["SOAK_LOG"])
        finally:
            for server in (self.redis, self.postgres):
                if server:
                    server.__exit__(None, None, None)

    def story(self):
        self.service.wait_sandboxes(2, "default")
        for _ in range(max(1, min(5, int(self.seconds / 300)))):
            self.load(4, kill_service=True)
        # What keeps the last so many (runs to watch again, pages of the database) fills up.
        self.load(self.seconds * 0.5)
        before = self.rest()
        self.say("at rest after the warm-up: %s" % before)
        self.load(self.seconds * 0.5)
        after = self.rest()
        self.say("at rest after it all:      %s" % after)
        self.say("done: %s" % dict(sorted(self.work.counts.items())))
        return self.judge(before, after) + self.judge_history()

    def judge(self, before, after):
        runs = after["runs"] - before["runs"]
        bounds = {"resident": before["resident"] * 1.10 + 4 * MIB, "descriptors": before["descriptors"] + 2,
                  "threads": before["threads"], "containers": before["containers"],
                  "disk": before["disk"] + 18 * MIB + runs * 4096,  # SQLite keeps 16 MiB of log
                  "redis": before["redis"] + 2 * MIB + runs * 4096}
        found = ["%s grew from %d to %d" % (name, before[name], after[name])
                 for name, bound in bounds.items() if after[name] > bound]
        if runs < self.seconds / 2:
            found.append("only %d runs in the time: that is no load" % runs)
        return found + ["unexpected: %r" % (what,) for what in self.work.wrong[:5]]

    def judge_history(self):
        """Everything acknowledged is there, and ended once. (That nothing ran twice takes the
        log at level debug: records_test.py.)"""
        ran = {item.marker: 1 for item in self.work.told}
        return check(self.work.told, self.found, ran)[:5]


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    problems = Soak(seconds, pause=float(os.environ.get("SOAK_PAUSE", "0.1"))).go()
    print("\n".join("FAIL " + problem for problem in problems) or "flat")
    sys.exit(1 if problems else 0)

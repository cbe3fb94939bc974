"""What replicas and Redis cost, each beside its floor in the same run:

- the steps of an accepted execution (accepted, begun by its one owner, finished) a second
  through Redis, beside redis-benchmark's scripts that do nothing and SETs at the same width;
- what durability adds to one accepted execution, in SQLite and in Redis, beside
  fdatasync on the same file system;
- three replicas beside one, with and without Redis, on the same processors."""

import os
import statistics
import subprocess
import tempfile
import threading
import time

from lib.cluster import AOF, Cluster
from lib.redis import Redis
from lib.service import ROOT, Service, manifest, wait_for

LEDGER = os.path.join(ROOT, "build", "release", "tests", "bench_ledger")
STEPS = ("accept", "begin", "finish")
WIDTH = 64  # outstanding at a time
SANDBOXES = 6  # in all, however many replicas have them
CONNECTIONS = 12  # in all


class Runs:
    """Medians of what several rounds found."""

    def __init__(self):
        self.rows = {}

    def add(self, what, found):
        for name, value in found.items():
            self.rows.setdefault((what, name), []).append(value)

    def median(self, what, name):
        return statistics.median(self.rows[what, name])


def ledger(parse, folder, count, width, *url):
    out = subprocess.run([LEDGER, folder, str(count), str(width), *url], check=True, timeout=900,
                         stdout=subprocess.PIPE, text=True).stdout
    return parse(out)


def redis_benchmark(redis, count, width, *command):
    """Commands a second of one connection with so many outstanding."""
    out = subprocess.run(["redis-benchmark", "-p", str(redis.port), "-c", "1", "-P", str(width),
                          "-n", str(count), "--csv", *command], check=True, timeout=300,
                         stdout=subprocess.PIPE, text=True).stdout
    return float(out.strip().split("\n")[-1].split(",")[1].strip('"'))


def claims(parse, verdict, quick):
    """Each step is a script: the second is the claim of an execution by its one owner."""
    rounds, count = (1, 5000) if quick else (5, 20000)
    found = Runs()
    with Redis(*AOF) as redis:
        noop = redis.cli("SCRIPT", "LOAD", "return ARGV[1]")
        for _ in range(rounds):
            found.add("floor", {
                "evalsha": redis_benchmark(redis, count, WIDTH, "EVALSHA", noop, "0", "x"),
                "set": redis_benchmark(redis, count, WIDTH, "SET", "paddock-bench", "x")})
            found.add("ledger", ledger(parse, redis.dir, count, WIDTH, redis.url))
            redis.cli("FLUSHALL")
    print("\nexecutions through Redis, %d outstanding           per second" % WIDTH)
    print("  %-44s %9.0f" % ("redis-benchmark: a script that does nothing",
                             found.median("floor", "evalsha")))
    print("  %-44s %9.0f" % ("redis-benchmark: SET", found.median("floor", "set")))
    print("  %-44s %9.0f" % ("paddock's client: a script that does nothing",
                             found.median("ledger", "noop_s")))
    for step in STEPS:
        print("  %-44s %9.0f" % (step, found.median("ledger", step + "_s")))
    whole = 1 / sum(1 / found.median("ledger", step + "_s") for step in STEPS)
    print("  %-44s %9.0f" % ("whole executions (the three, one after another)", whole))
    verdict("claims (begin) / scripts that do nothing", found.median("ledger", "begin_s")
            / found.median("floor", "evalsha"), 0.1, better_low=False)
    verdict("claims (begin) / SET", found.median("ledger", "begin_s")
            / found.median("floor", "set"), 0.1, better_low=False)


def durability(parse, verdict, quick):
    """One execution at a time, all on one file system. SQLite syncs each step, Redis with
    `always` likewise; with `everysec` no step waits for the disk."""
    rounds, count = (1, 200) if quick else (5, 1000)
    found, folder = Runs(), tempfile.mkdtemp(prefix="paddock-bench-", dir="/var/tmp")
    try:
        with Redis(*AOF, folder=folder) as redis:
            for _ in range(rounds):
                found.add("SQLite", ledger(parse, folder, count, 1))
                for often in ("everysec", "always"):
                    redis.cli("CONFIG", "SET", "appendfsync", often)
                    found.add("Redis, appendfsync " + often,
                              ledger(parse, folder, count, 1, redis.url))
                    redis.cli("FLUSHALL")
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
    kinds = ("SQLite", "Redis, appendfsync everysec", "Redis, appendfsync always")
    print("\n%-46s %9s %9s %9s %9s" % (("durability of one execution, p50 in us",) + STEPS
                                       + ("together",)))
    sums = {}
    for kind in kinds:
        each = [found.median(kind, step + "_p50") for step in STEPS]
        sums[kind] = sum(each)
        print("  %-44s %9.0f %9.0f %9.0f %9.0f" % ((kind,) + tuple(each) + (sums[kind],)))
    floor = statistics.median(found.median(kind, "fdatasync_p50") for kind in kinds)
    script = found.median(kinds[1], "noop_p50")
    print("  %-44s %9.0f" % ("floor: fdatasync of 4 KiB", floor))
    print("  %-44s %9.0f" % ("floor: a script that does nothing", script))
    for kind in (kinds[0], kinds[2]):
        verdict("%s / three fdatasyncs" % kind, sums[kind] / (3 * floor), 2)
    verdict("%s / three scripts" % kinds[1], sums[kinds[1]] / (3 * script), 6)


def together(client, services, runs, connections):
    """Runs a second of all of them at once."""
    took, each = [], runs // len(services)

    def load(service):
        took.append(client(service, each, connections // len(services)))

    threads = [threading.Thread(target=load, args=(service,)) for service in services]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert len(took) == len(services), "a load client failed"
    return each * len(services) / (time.monotonic() - began)


def warm(services):
    def all_there():
        """every sandbox"""
        return sum(len(s.sandboxes(state="running")) for s in services) == SANDBOXES
    wait_for(all_there, 120)
    for service in services:
        service.hello()


def measure_replicas(client, found, what, services, quick):
    warm(services)
    together(client, services, 300, CONNECTIONS)
    for _ in range(1 if quick else 3):
        found.add(what, {"runs_s": together(client, services, 900 if quick else 6000,
                                            CONNECTIONS)})
        time.sleep(1)  # every spare is there
        found.add(what, {"p50": client(services[0], 50 if quick else 300, 1, pause_ms=20)["p50"]})


def replicas(client, verdict, quick):
    """Plain runs, the same number of sandboxes in all. afterRuns is high: what recycling
    costs is the word saturation's."""
    config = manifest("default", minSize=SANDBOXES, maxSize=SANDBOXES, targetIdle=0,
                      recycle="{afterRuns: 100000}")
    found = Runs()
    for number in range(1 if quick else 2):  # in turn, so that both orders are there
        alone = lambda: Service(config)  # noqa: E731
        for what, count in (("one, without Redis", 0), ("one", 1), ("three", 3))[::1 - 2 * number]:
            if count == 0:
                with alone() as service:
                    measure_replicas(client, found, what, [service], quick)
            else:
                with Cluster(count, config) as cluster:
                    measure_replicas(client, found, what, cluster.replicas, quick)
    print("\n%-46s %9s %9s" % ("replicas, %d sandboxes in all" % SANDBOXES, "runs/s", "p50 ms"))
    for what in ("one, without Redis", "one", "three"):
        print("  %-44s %9.1f %9.2f" % (what, found.median(what, "runs_s"),
                                       found.median(what, "p50") / 1e3))
    verdict("one with Redis / without, runs/s", found.median("one", "runs_s")
            / found.median("one, without Redis", "runs_s"), 0.9, better_low=False)
    verdict("three / one, runs/s on the same processors", found.median("three", "runs_s")
            / found.median("one", "runs_s"), 0.8, better_low=False)
    verdict("three / one, p50", found.median("three", "p50") / found.median("one", "p50"), 1.25)


def measure(parse, client, verdict, quick):
    claims(parse, verdict, quick)
    durability(parse, verdict, quick)
    replicas(client, verdict, quick)

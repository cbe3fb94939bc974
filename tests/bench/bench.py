"""Measures paddock beside the floors of this machine. Run by scripts/bench.sh.

Floors and paddock take turns within every round, so that whatever else the
machine does meets all of them alike; medians over the rounds are what counts."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import durability  # noqa: E402
import ecs  # noqa: E402
import shared  # noqa: E402
import stream  # noqa: E402
from lib.engine import Engine  # noqa: E402
from lib.service import IMAGE, ROOT, Service, manifest, short_form, wait_for  # noqa: E402

TESTS = os.path.join(ROOT, "build", "release", "tests")
PYTHON = ["python3", "-c", "print('{}')"]
NODE = ["node", "-e", "console.log('{}')"]
CPUS = os.cpu_count() or 1
# Time for a spare interpreter to be made again between two runs of a person's
# pace; runs back to back are measured too.
PAUSE_MS = {"python": 20, "javascript": 250}


def parse(line):
    return {name: float(value) for name, value in
            (pair.split("=") for pair in line.split() if "=" in pair)}


def spawn(root, runs, parallel, argv):
    out = subprocess.run([os.path.join(TESTS, "bench_spawn"), root, str(runs), str(parallel)]
                         + argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    return parse(out)


def client(service, runs, connections, language="python", pause_ms=0):
    out = subprocess.run([os.path.join(TESTS, "bench_client"), "127.0.0.1", str(service.port),
                          service.key, language, str(runs), str(connections), str(pause_ms)],
                         stdout=subprocess.PIPE, text=True,
                         stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
                         ).stdout
    if not out.strip():
        raise SystemExit("the load client failed; the service said:\n" + service.log()[-3000:])
    found = parse(out)
    if found["failed"]:
        raise SystemExit("%d wrong answers" % found["failed"])
    return found


class Root:
    """An image's files in a folder, for chroot."""

    def __init__(self, image):
        self.path = tempfile.mkdtemp(prefix="paddock-bench-", dir="/var/tmp")
        made = subprocess.run(["docker", "create", image, "true"], stdout=subprocess.PIPE,
                              text=True, check=True).stdout.strip()
        export = subprocess.Popen(["docker", "export", made], stdout=subprocess.PIPE)
        subprocess.run(["tar", "x", "-C", self.path], stdin=export.stdout, check=True)
        export.wait()
        subprocess.run(["docker", "rm", made], stdout=subprocess.DEVNULL, check=True)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Table:
    def __init__(self):
        self.rows = {}

    def add(self, what, found):
        self.rows.setdefault(what, []).append(found)

    def median(self, what, field):
        return statistics.median(found[field] for found in self.rows[what])

    def show(self, title):
        print("\n%-46s %9s %9s %9s %9s  %s"
              % (title, "p50 ms", "p90 ms", "p99 ms", "runs/s", "started from"))
        for what in self.rows:
            print("  %-44s %9.2f %9.2f %9.2f %9.1f  %s"
                  % (what, self.median(what, "p50") / 1e3, self.median(what, "p90") / 1e3,
                     self.median(what, "p99") / 1e3, self.median(what, "runs_s"),
                     self.starts(what)))

    def starts(self, what):
        """How many runs began from which kind of start, over all rounds."""
        return ", ".join("%s %d" % (kind, sum(found.get(kind, 0) for found in self.rows[what]))
                         for kind in ("zygote", "spare", "cell", "cold")
                         if any(found.get(kind) for found in self.rows[what]))


def verdict(what, value, target, better_low=True, unit=""):
    met = value <= target if better_low else value >= target
    print("  %-44s %9.3f%s  target %s %.3f%s  %s"
          % (what, value, unit, "<=" if better_low else ">=", target, unit,
             "met" if met else "NOT met"))


def bubblewrap(root, argv):
    return ["bwrap", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
            "--unshare-all", "--die-with-parent"] + argv


def floors(table, root, language, argv, size):
    table.add("floor: %s, chroot, 1 at a time" % argv[0], spawn(root.path, size, 1, argv))
    table.add("floor: %s, chroot, %d in parallel" % (argv[0], CPUS),
              spawn(root.path, size * 2, CPUS, argv))
    if language == "python" and shutil.which("bwrap"):
        table.add("bubblewrap, 1 at a time", spawn("/", size, 1, bubblewrap(root.path, argv)))
        table.add("bubblewrap, %d in parallel" % CPUS,
                  spawn("/", size * 2, CPUS, bubblewrap(root.path, argv)))


def docker_floors(table, size):
    held = subprocess.run(["docker", "run", "-d", "--network", "none", IMAGE, "sleep", "3600"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        table.add("docker exec", spawn("/", size, 1, ["docker", "exec", held] + PYTHON))
    finally:
        subprocess.run(["docker", "rm", "-f", held], stdout=subprocess.DEVNULL, check=True)
    table.add("docker run", spawn("/", max(size // 2, 3), 1,
                                  ["docker", "run", "--rm", "--network", "none", IMAGE] + PYTHON))


def bench_execute(quick):
    rounds, size = (2, 40) if quick else (5, 150)
    node = manifest("node", image='"node:20-slim"', languages="[javascript]", minSize=3)
    python_root, node_root = Root(IMAGE), Root("node:20-slim")
    table = Table()
    try:
        with Service(short_form(3, 10), pools={"node": node}) as service:
            service.wait_sandboxes(6)
            for language in ("python", "javascript"):
                client(service, 20, 1, language)
            for number in range(rounds):
                print("round %d of %d" % (number + 1, rounds), flush=True)
                floors(table, python_root, "python", PYTHON, size)
                for language in ("python", "javascript"):
                    if language == "javascript":
                        floors(table, node_root, language, NODE, max(size // 3, 10))
                    runs = size * 2 if language == "python" else size // 2
                    time.sleep(1)  # every spare is there
                    table.add("POST /execute, %s, %d ms apart" % (language, PAUSE_MS[language]),
                              client(service, runs, 1, language, PAUSE_MS[language]))
                    table.add("POST /execute, %s, back to back" % language,
                              client(service, runs, 1, language))
                docker_floors(table, max(size // 10, 4))
    finally:
        python_root.remove()
        node_root.remove()
    table.show("hello, warm, sequential")
    print()
    for language, program, share in (("python", "python3", 8), ("javascript", "node", 6)):
        floor = table.median("floor: %s, chroot, 1 at a time" % program, "p50")
        mine = "POST /execute, %s, %d ms apart" % (language, PAUSE_MS[language])
        verdict("%s p50 / floor" % language, table.median(mine, "p50") / floor, 1 / share)
        if language == "python":
            verdict("python p99 / floor p50", table.median(mine, "p99") / floor, 1 / 3)


def bench_saturation(quick):
    rounds, runs = (1, 2000) if quick else (3, 10000)
    widths = (4, 8) if quick else (4, 8, 16)
    root = Root(IMAGE)
    table = Table()
    try:
        with Service(short_form(4, 4)) as service:
            service.wait_sandboxes(4)
            client(service, 200, 4)
            best = max(widths, key=lambda w: client(service, 500, w)["runs_s"])
            for number in range(rounds):
                print("round %d of %d (%d connections)" % (number + 1, rounds, best), flush=True)
                table.add("floor: python3, chroot, %d in parallel" % CPUS,
                          spawn(root.path, 400, CPUS, PYTHON))
                if shutil.which("bwrap"):
                    table.add("bubblewrap, %d in parallel" % CPUS,
                              spawn("/", 200, CPUS, bubblewrap(root.path, PYTHON)))
                table.add("POST /execute, %d connections" % best, client(service, runs, best))
    finally:
        root.remove()
    table.show("%d runs at saturation, a fresh cell each" % runs)
    print()
    verdict("runs/s / floor on all cores",
            table.median("POST /execute, %d connections" % best, "runs_s")
            / table.median("floor: python3, chroot, %d in parallel" % CPUS, "runs_s"),
            1.5, better_low=False)


def plain_container(engine):
    """Created and started as barely as a sandbox could be."""
    status, made = engine.call("POST", "/containers/create", {
        "Image": IMAGE, "Cmd": ["sleep", "600"],
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}, "CapDrop": ["ALL"],
                       "ReadonlyRootfs": True, "Memory": 256 << 20, "PidsLimit": 64}})
    assert status == 201, made
    assert engine.call("POST", "/containers/%s/start" % made["Id"])[0] == 204
    return made["Id"]


def engine_rate(count, parallel):
    """Containers a second that the engine itself creates and starts."""
    engine, left, made = Engine(), list(range(count)), []
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not left:
                    return
                left.pop()
            made.append(plain_container(engine))
    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    for container in made:
        engine.remove(container)
    return count / took


def fill_rate(count):
    """Sandboxes a second from the moment that one is wanted to the last that is warm."""
    pool = manifest("fill", minSize=count, maxSize=count)
    with Service(short_form(0, 1)) as service:
        service.request("GET", "/livez")
        service.write_pool("fill", pool)
        wait_for(lambda: "pool=fill" in service.log(), 30, 0.001)
        began = time.time()
        wait_for(lambda: service.log().count("sandbox ready") >= count, 180, 0.01)
        took = time.time() - began
    return count / took


def bench_fill(quick):
    count, rounds = (6, 1) if quick else (20, 3)
    mine, floor = [], {1: [], 2: [], 4: [], 8: []}
    for _ in range(rounds):
        for parallel in floor:
            floor[parallel].append(engine_rate(count, parallel))
        mine.append(fill_rate(count))
    print("\npool fill, %d sandboxes                         per second" % count)
    for parallel, rates in floor.items():
        print("  engine's own create+start, %d at a time %12.2f" % (parallel, statistics.median(rates)))
    print("  paddock, from first wanted to all warm   %12.2f" % statistics.median(mine))
    verdict("fill / engine's best", statistics.median(mine)
            / max(statistics.median(rates) for rates in floor.values()), 0.9, better_low=False)


def memory_of(pid):
    """(resident, proportional) KiB"""
    found = {}
    with open("/proc/%d/smaps_rollup" % pid) as file:
        for line in file:
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                found[words[0]] = int(words[1])
    return found["Rss:"], found["Pss:"]


def processes_of(engine, container):
    titles, rows = (engine.call("GET", "/containers/%s/top?ps_args=-eo%%20pid,args" % container)[1][k]
                    for k in ("Titles", "Processes"))
    return [(int(row[titles.index("PID")]), row[-1]) for row in rows]


def shim_of(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(next(l for l in file if l.startswith("PPid:")).split()[1])


def bench_memory(quick):
    del quick
    with Service(short_form(10, 10)) as service:
        service.wait_sandboxes(10)
        wait_for(lambda: service.log().count("sandbox ready") >= 10, 60)
        client(service, 200, 2)
        time.sleep(2)
        rss, pss = memory_of(service.process.pid)
        print("\nmemory")
        verdict("service with 10 sandboxes, resident MiB", rss / 1024, 24)
        print("  %-44s %9.3f" % ("  of that its share (Pss)", pss / 1024))
        sandbox = service.sandboxes(state="running")[0]["Id"]
        main = service.engine.inspect(sandbox)["State"]["Pid"]
        total = 0
        for pid, args in processes_of(service.engine, sandbox):
            rss, pss = memory_of(pid)
            total += pss
            print("  idle sandbox: %-30.30s %9.2f MiB resident, %.2f MiB its share"
                  % (args, rss / 1024, pss / 1024))
        rss, pss = memory_of(shim_of(main))
        print("  the whole idle sandbox: %.2f MiB; the engine's shim beside it: %.2f MiB resident, "
              "%.2f MiB its share" % (total / 1024, rss / 1024, pss / 1024))


def bench_cells(quick):
    """Where cells are made, what each part of one costs: in a container like a sandbox's."""
    program = os.path.join(TESTS, "bench_cell_cost")
    tmpfs = [a for path, more in (("/workspace", ""), ("/tmp", ""), ("/var/tmp", ""),
                                  ("/run/paddock", "")) for a in ("--tmpfs", path + ":uid=50000" + more)]
    print("\na cell, part by part", flush=True)
    subprocess.run(["docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL",
                    "--security-opt", "no-new-privileges",
                    "--security-opt", "seccomp=" + os.path.join(ROOT, "conf", "seccomp.json"),
                    "--security-opt", "systempaths=unconfined", "--user", "50000:50000", *tmpfs,
                    "--volume", os.path.dirname(program) + ":/bench:ro",
                    "--entrypoint", "/bench/bench_cell_cost", IMAGE, "60" if quick else "300"],
                   check=True)


def bench_stream(quick):
    with Service(short_form(2, 2)) as service:
        service.wait_sandboxes(2)
        service.hello()
        stream.measure(service, quick)


def bench_records(quick):
    durability.measure(quick)


def bench_redis(quick):
    shared.measure(parse, client, verdict, quick)


def bench_ecs(quick):
    ecs.measure(client, Table(), verdict, quick)


BENCHES = {"cells": bench_cells, "execute": bench_execute, "saturation": bench_saturation, "fill": bench_fill,
           "memory": bench_memory, "stream": bench_stream, "records": bench_records, "redis": bench_redis, "ecs": bench_ecs}


def main():
    words = sys.argv[1:]
    quick = "quick" in words
    chosen = [w for w in words if w != "quick"] or list(BENCHES)
    print("%s, %d CPUs, engine %s" % (os.uname().release, CPUS,
                                      Engine().call("GET", "/version")[1]["Version"]))
    for word in chosen:
        if word not in BENCHES:
            raise SystemExit("unknown bench '%s'; there are: %s" % (word, " ".join(BENCHES)))
        BENCHES[word](quick)


if __name__ == "__main__":
    main()

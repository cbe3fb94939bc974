"""Several replicas on one real Redis and one engine, and a load on them."""

import shutil
import threading

from lib.redis import Redis
from lib.service import Service, wait_for

AOF = ("--appendonly", "yes", "--appendfsync", "everysec")


def last_of(service):
    """The end of its log, without the requests that were answered."""
    lines = [line for line in service.log().splitlines() if "comp=http msg=answered" not in line]
    return "\n".join(lines)[-6000:]


class Cluster:
    """A Redis and so many replicas; at the end nothing of any of them is left."""

    def __init__(self, count, config, args=(), env=None, redis=None):
        self.args, self.env = args, env or {}
        self.redis = redis or Redis(*AOF)
        self.config = config
        self.replicas = []
        self.count = count
        self.instances = set()

    def __enter__(self):
        self.redis.start()
        try:
            for _ in range(self.count):
                self.add()
        except BaseException:
            self.sweep()
            raise
        return self

    def add(self, what="serve", config=None, pools=None):
        service = Service(config or self.config, pools, args=self.args, what=what,
                          env=dict(self.env, REDIS_URL=self.redis.url))
        self.prepare(service)
        service.start()
        self.replicas.append(service)
        self.instances.add(service.instance)
        return service

    def prepare(self, service):
        """Before its first start; for those who have more to say about it."""

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for service in self.replicas:
                print("---- the log of %s ----\n%s" % (service.instance, last_of(service)))
        problems, logs = [], []
        for service in self.replicas:  # all of them, whatever becomes of one
            try:
                service.stop()
                logs.append(last_of(service))
                service.close()
            except AssertionError as problem:
                problems.append(str(problem))
        if problems:
            print("\n----\n".join(logs))
        left = self.live() if kind is None and self.replicas else []
        self.sweep()
        if left:
            problems.append("left behind: %s" % left)
        if problems and kind is None:
            raise AssertionError("\n".join(problems))
        for problem in problems:
            print(problem)

    def sweep(self):
        engine = self.replicas[0].engine if self.replicas else None
        for instance in self.instances:
            engine.sweep(instance)
        self.redis.close()

    def live(self):
        """Every container of every replica, whatever its state."""
        found = []
        for instance in sorted(self.instances):
            found += [c["Id"][:12] for c in self.replicas[0].engine.containers(instance)
                      if c["Labels"].get("paddock.dev/sandbox")]
        return found

    def key(self, name):
        keys = self.redis.cli("--raw", "KEYS", "paddock:*:%s" % name).split()
        return keys[0] if keys else "none"

    def leader(self):
        """The replica that leads, or None."""
        held = self.redis.cli("--raw", "GET", self.key("lease"), check=False)
        for service in self.replicas:
            if service.process and service.process.poll() is None and \
                    held.endswith(":" + service.instance):
                return service
        return None

    def wait_leader(self, other_than=None, timeout=30):
        def led():
            leader = self.leader()
            return leader if leader is not other_than else None
        led.__doc__ = "a leader"
        return wait_for(led, timeout)

    def token(self):
        return int(self.redis.cli("GET", self.key("fence")))

    def kill(self, service):
        """kill -9; its folder stays for the sweep."""
        service.kill9()
        service.process = None

    def forget(self, service):
        """It is not among those that are closed at the end."""
        self.replicas.remove(service)
        service.process = None
        shutil.rmtree(service.dir, ignore_errors=True)

    def wait_all_warm(self, each=1):
        for service in self.replicas:
            def warm(service=service):
                return len(service.sandboxes(state="running")) >= each
            warm.__doc__ = "%d sandboxes of %s" % (each, service.instance)
            wait_for(warm, 60)


class Load:
    """Callers who keep running something; what went wrong, by status."""

    def __init__(self, services, callers=2):
        self.done, self.bad = 0, []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(s,), daemon=True)
                         for s in services for _ in range(callers)]

    def _call(self, service):
        n = 0
        while not self._stop.is_set():
            n += 1
            text = "%d-%d" % (threading.get_ident(), n)
            try:
                answer = service.request("POST", "/execute", {"code": "print('%s')" % text})
            except OSError as problem:
                answer = problem
            with self._lock:
                if getattr(answer, "status", 0) == 200 and answer.json["output"] == text + "\n":
                    self.done += 1
                else:
                    self.bad.append((service.instance, repr(answer)))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

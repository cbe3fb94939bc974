"""What replicas share through a real Redis: accepted executions, their history, answers
to retries, and what becomes of all that when one of them is killed or only paused."""

import os
import random
import re
import signal
import threading
import time
import unittest

from lib.history import Told, check
from lib.redis import Redis
from lib.service import Service, is_sanitized, manifest, short_form, wait_for
from replicas_test import Cluster

# What a kill -9 of Redis may not lose.
AOF = ("--appendonly", "yes", "--appendfsync", "always")
BURST = 12 if is_sanitized() else 30


class Shared(Cluster):
    """Replicas that accept by now, and log what they send to sandboxes."""

    def __init__(self, count, config):
        super().__init__(count, config)
        self.redis.settings = list(AOF)

    def add(self, env=None):
        service = Service(self.config, env=dict({"REDIS_URL": self.redis.url}, **(env or {})),
                          args=("--log-level", "debug")).start()
        self.replicas.append(service)
        self.instances.add(service.instance)
        return service

    def wait_ready(self):
        self.wait_all_warm()
        for service in self.replicas:
            wait_for(lambda service=service: accepts(service), 60)

    def sent(self, dead=()):
        """How often each execution was sent to a sandbox, by id, over all replicas."""
        times = {}
        for service in list(self.replicas) + list(dead):
            for id in re.findall(r'msg="run sent" run=(\S+)', service.log()):
                times[id] = times.get(id, 0) + 1
        return times


    def story(self, id):
        """Everything that is known of one."""
        lines = ["%s %s" % (s.instance, line) for s in self.replicas
                 for line in s.log().splitlines()
                 if id in line or "comp=ledger" in line or "comp=book" in line]
        lines.append(self.redis.cli("HMGET", "paddock:x:r:" + id, "owner", "state", "by", "safe"))
        lines.append(self.redis.cli("ZRANGE", "paddock:x:seen", "0", "-1", "WITHSCORES"))
        for key in self.redis.cli("--raw", "KEYS", "paddock:x:of:*").split():
            lines.append(key + " " + self.redis.cli("--raw", "ZRANGE", key, "0", "-1"))
        return "\n".join(lines)


def post(service, body, key=None):
    headers = {"Idempotency-Key": key} if key else {}
    return service.request("POST", "/executions", body, headers)


def accepts(service):
    return post(service, {"code": "print(0)"}).status == 202


def get(service, id):
    return service.request("GET", "/executions/" + id)


def reaches(service, id, *states):
    def reached():
        answer = get(service, id)
        reached.__doc__ = "%s to be %s: %s" % (id, " or ".join(states), answer.body[:300])
        return answer.json if answer.status == 200 and answer.json["status"] in states else None
    return wait_for(reached, 120)


def done(service, id):
    return reaches(service, id, "done")


class AcrossReplicas(unittest.TestCase):
    def test_any_replica_answers(self):
        with Shared(2, short_form(2, 4)) as cluster:
            cluster.wait_ready()
            a, b = cluster.replicas
            id = post(a, {"code": "print(6 * 7)"}).json["id"]
            end = done(b, id)
            self.assertEqual(end["result"]["output"], "42\n")
            self.assertEqual(end, done(a, id))
            plain = a.execute("print(1)")["id"]
            def listed():
                items = b.request("GET", "/executions?limit=100").json["items"]
                return {plain, id} <= {item["id"] for item in items} and items
            items = wait_for(listed)
            self.assertEqual({i["id"]: i["kind"] for i in items}[plain], "plain")
            accepted = [item["accepted"] for item in items]
            self.assertEqual(accepted, sorted(accepted, reverse=True))
            # Filters and cursors go over what all of them did.
            failed = post(b, [{"code": "exit(3)"}, {"code": "exit(4)"}]).json["items"]
            codes = sorted(done(a, item["id"])["exit_code"] for item in failed)
            self.assertEqual(codes, [3, 4])
            seen, cursor = [], ""
            while True:
                page = a.request("GET", "/executions?limit=2&status=exited" + cursor).json
                seen += [item["id"] for item in page["items"]]
                if "next" not in page:
                    break
                cursor = "&cursor=" + page["next"]
            self.assertEqual(len(seen), len(set(seen)))
            self.assertTrue({id, plain} | {item["id"] for item in failed} <= set(seen))
            # Its events, from the one that did not see it.
            replay = b.request("GET", "/executions/%s/stream" % id,
                               headers={"Accept": "text/event-stream"})
            self.assertEqual(replay.status, 200, replay)
            self.assertIn(b"42", replay.body)
            self.assertEqual(get(b, "run_none").status, 404)
            self.assertEqual(b.request("DELETE", "/executions/" + id).status, 409)
            self.assertEqual(b.request("DELETE", "/executions/run_none").status, 404)

    def test_a_result_too_large_for_redis(self):
        """It is done, without its result; it used to be told again and again, and never done."""
        config = manifest("default", minSize=1, maxSize=1, run="{maxOutput: 48Mi}")
        with Shared(1, config) as cluster:
            cluster.wait_ready()
            service, = cluster.replicas
            large = post(service, {"code": "print('x' * 34000000)"}).json["id"]
            end = done(service, large)
            self.assertEqual(end["cause"], "exited")
            self.assertEqual(end["stdout_bytes"], 34000001)
            self.assertNotIn("result", end)
            small = post(service, {"code": "print('x' * 1000000)"}).json["id"]
            self.assertEqual(len(done(service, small)["result"]["output"]), 1000001)

    def test_cancel_at_another(self):
        with Shared(2, short_form(2, 2)) as cluster:
            cluster.wait_ready()
            a, b = cluster.replicas
            runs = [post(a, {"code": "import time; time.sleep(300)", "timeout": 300}).json["id"]
                    for _ in range(3)]
            for id in runs:
                self.assertEqual(b.request("DELETE", "/executions/" + id).status, 202)
            for id in runs:
                self.assertEqual(done(b, id)["cause"], "canceled")

    def test_one_key_one_run(self):
        code = {"code": "import random, time; time.sleep(1); print(random.random())"}
        with Shared(3, short_form(3, 6)) as cluster:
            cluster.wait_ready()
            answers = []
            def call(service):
                answers.append(service.request("POST", "/execute", code,
                                               {"Idempotency-Key": "one"}))
            threads = [threading.Thread(target=call, args=(s,))
                       for s in cluster.replicas for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            self.assertEqual({answer.status for answer in answers}, {200}, answers)
            self.assertEqual(len({answer.body for answer in answers}), 1)
            replayed = [a for a in answers if a.headers.get("Idempotent-Replayed") == "true"]
            self.assertEqual(len(replayed), 8)
            self.assertEqual(sorted(cluster.sent().values())[-1], 1)
            for service in cluster.replicas:
                self.assertEqual(service.request("POST", "/execute", {"code": "print(1)"},
                                                 {"Idempotency-Key": "one"}).status, 422)
            # As a batch, at another.
            batch = [{"code": "print(%d)" % i} for i in range(3)]
            first = post(cluster.replicas[0], batch, "many")
            again = post(cluster.replicas[1], batch, "many")
            self.assertEqual([i["id"] for i in first.json["items"]],
                             [i["id"] for i in again.json["items"]])


class Faults(unittest.TestCase):
    def test_a_replica_is_killed(self):
        with Shared(2, short_form(2, 2)) as cluster:
            cluster.wait_ready()
            a, b = cluster.replicas
            running = post(a, {"code": "import time; time.sleep(300)", "timeout": 300}).json["id"]
            reaches(b, running, "running")
            queued = [post(a, {"code": "print(%d)" % i}).json["id"] for i in range(BURST)]
            cluster.kill(a)
            self.assertEqual(done(b, running)["cause"], "lost")
            for i, id in enumerate(queued):
                end = done(b, id)
                if end["cause"] == "exited":
                    self.assertEqual(end["result"]["output"], "%d\n" % i)
                else: # it was between its beginning and its end
                    self.assertEqual(end["cause"], "lost")
            times = cluster.sent()
            for id in queued + [running]:
                self.assertLessEqual(times.get(id, 0), 1, id)
            self.assertEqual(cluster.redis.cli("--raw", "ZCARD", "paddock:x:seen"), "1")
            wait_for(lambda: not a.containers(), 60)
            cluster.forget(a)

    def test_one_that_may_run_again(self):
        code = {"code": "import time; time.sleep(3); print('whole')", "retry_safe": True}
        with Shared(2, short_form(2, 4)) as cluster:
            cluster.wait_ready()
            a, b = cluster.replicas
            id = post(a, code, "safe").json["id"]
            reaches(b, id, "running")
            cluster.kill(a)
            # Who asks again meanwhile waits for it.
            again = post(b, code, "safe")
            self.assertEqual(again.json["id"], id)
            end = done(b, id)
            self.assertEqual((end["cause"], end["result"]["output"]), ("exited", "whole\n"))
            wait_for(lambda: not a.containers(), 60)
            cluster.forget(a)

    def test_a_paused_replica_runs_nothing_of_its_own_again(self):
        with Shared(2, short_form(2, 2)) as cluster:
            cluster.wait_ready()
            a, b = cluster.replicas
            running = post(a, {"code": "import time; time.sleep(2); print('late')"}).json["id"]
            reaches(b, running, "running")
            queued = [post(a, {"code": "print(%d)" % i}).json["id"] for i in range(BURST)]
            a.process.send_signal(signal.SIGSTOP)
            try:
                for id in queued:
                    self.assertIn(done(b, id)["cause"], ("exited", "lost"))
                self.assertEqual(done(b, running)["cause"], "lost")
                before = {id: done(b, id) for id in queued + [running]}
            finally:
                a.process.send_signal(signal.SIGCONT)
            wait_for(lambda: "not known in Redis any more" in a.log(), 30)
            wait_for(lambda: accepts(a), 60)
            # Nothing was told twice, nothing was sent twice.
            self.assertEqual({id: done(a, id) for id in queued + [running]}, before)
            times = cluster.sent()
            self.assertEqual([id for id in queued + [running] if times.get(id, 0) > 1], [])

    def test_without_durability_nothing_is_accepted(self):
        with Redis() as redis:
            env = {"REDIS_URL": redis.url}
            with Service(short_form(1, 1), env=env) as service:
                service.hello()
                def refused():
                    answer = post(service, {"code": "print(1)"})
                    return answer if b"append-only" in answer.body else None
                answer = wait_for(refused)
                self.assertEqual(answer.status, 503)
                self.assertIn("PADDOCK_REDIS_DURABILITY", answer.json["detail"])
                answer = service.request("POST", "/execute", {"code": "print(1)"},
                                         {"Idempotency-Key": "x"})
                self.assertEqual(answer.status, 503)
                self.assertEqual(service.hello()["output"], "hello\n")
                # It is looked at again.
                redis.cli("CONFIG", "SET", "appendonly", "yes")
                wait_for(lambda: accepts(service), 60)
                redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
                redis.cli("CONFIG", "SET", "maxmemory", "100mb")
                wait_for(lambda: b"evict" in post(service, {"code": "1"}).body, 60)
            relaxed = dict(env, PADDOCK_REDIS_DURABILITY="relaxed")
            with Service(short_form(1, 1), env=relaxed) as service:
                wait_for(lambda: accepts(service), 60)

    def test_config_is_forbidden(self):
        with Redis(*AOF) as redis:
            redis.cli("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-config")
            url = redis.url.replace("redis://", "redis://app:secret@")
            with Service(short_form(1, 1), env={"REDIS_URL": url}) as service:
                wait_for(lambda: accepts(service), 60)
            strict = {"REDIS_URL": url, "PADDOCK_REDIS_DURABILITY": "fsync"}
            with Service(short_form(1, 1), env=strict) as service:
                wait_for(lambda: b"sync" in post(service, {"code": "1"}).body, 60)


class Traffic:
    """Clients that have executions accepted by any replica, and keep what they were told."""

    def __init__(self, cluster):
        self.cluster, self.told, self.stop = cluster, [], threading.Event()
        self.unsure = {}  # marker: its key, asked for and not answered
        self.lock = threading.Lock()

    def client(self, number):
        n = 0
        while not self.stop.is_set():
            n += 1
            marker = "m%d-%d" % (number, n)
            safe = n % 5 == 0
            service = random.choice(self.cluster.replicas)
            try:
                answer = post(service, {"code": "print(%r)" % marker, "retry_safe": safe}, marker)
            except (OSError, ValueError):
                answer = None
            with self.lock:
                if answer is not None and answer.status == 202:
                    self.told.append(Told(answer.json["id"], marker, safe))
                else:
                    self.unsure[marker] = safe
            self.stop.wait(0.1)


class History(unittest.TestCase):
    def test_kills_and_redis_restarts(self):
        seconds = 12 if is_sanitized() else 20
        random.seed(os.urandom(8))
        with Shared(3, short_form(3, 6)) as cluster:
            cluster.wait_ready()
            traffic = Traffic(cluster)
            threads = [threading.Thread(target=traffic.client, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(random.uniform(1, 3))
                if random.random() < 0.4:
                    cluster.redis.kill9()
                    time.sleep(random.uniform(0, 1))
                    cluster.redis.start()
                else:
                    service = random.choice(cluster.replicas)
                    service.kill9()
                    service.start()
            traffic.stop.set()
            for thread in threads:
                thread.join(120)
            # What was asked for and not answered may have been accepted: ask again.
            any_one = cluster.replicas[0]
            wait_for(lambda: accepts(any_one), 60)
            for marker, safe in traffic.unsure.items():
                body = {"code": "print(%r)" % marker, "retry_safe": safe}
                answer = wait_for(lambda: (lambda a: a if a.status == 202 else None)(
                    post(any_one, body, marker)), 60)
                traffic.told.append(Told(answer.json["id"], marker, safe))
            self.assertGreater(len(traffic.told), 100)
            ends = {}
            for item in traffic.told:
                try:
                    ends[item.id] = done(any_one, item.id)
                except AssertionError as problem:
                    raise AssertionError("%s\n%s" % (problem, cluster.story(item.id)))
            rows = [(id, end["status"], end["cause"]) for id, end in ends.items()]
            sent = cluster.sent()
            ran = {item.marker: sent.get(item.id, 0) for item in traffic.told}
            self.assertEqual(check(traffic.told, rows, ran)[:10], [])
            for item in traffic.told:
                if ends[item.id]["cause"] == "exited":
                    self.assertEqual(ends[item.id]["result"]["output"], item.marker + "\n")
            self.assertEqual(len({item.id for item in traffic.told}), len(traffic.told))
            # What the kills left half made is known again before everything is closed.
            cluster.wait_leader()
            def settled():
                said = [re.findall(r"condition=Progressing status=(\w+)", s.log())
                        for s in cluster.replicas]
                return all(words and words[-1] == "false" for words in said)
            wait_for(settled, 150)
            def agrees():
                known = cluster.redis.cli("HLEN", cluster.key("sandboxes"), check=False)
                return known.isdigit() and int(known) == len(cluster.live())
            wait_for(agrees, 60)
            # And the checker would have seen one that ran twice.
            plain = next(i for i in traffic.told
                         if not i.safe and ends[i.id]["cause"] == "exited")
            twice = dict(ran, **{plain.marker: 2})
            self.assertIn("ran 2 times: " + plain.id, check(traffic.told, rows, twice))

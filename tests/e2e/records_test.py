"""Records: kills at random instants, a state folder that is full, PostgreSQL that comes
and goes; and the checker of histories itself."""

import os
import random
import re
import threading
import time
import unittest

from executions_test import done, get, post
from lib import postgres
from lib.full_disk import Disk
from lib.cluster import Cluster
from lib.history import Told, check
from lib.service import Service, is_sanitized, short_form, wait_for


class Checker(unittest.TestCase):
    """What finds nothing wrong anywhere proves nothing."""

    def setUp(self):
        self.told = [Told("a", "ma"), Told("b", "mb"), Told("c", "mc", safe=True)]
        self.records = [("a", "done", "exited"), ("b", "done", "lost"), ("c", "done", "exited")]
        self.ran = {"ma": 1, "mc": 2}

    def test_a_good_one(self):
        self.assertEqual(check(self.told, self.records, self.ran), [])

    def test_planted_double_run(self):
        self.assertIn("ran 2 times: a", check(self.told, self.records, {"ma": 2, "mc": 1}))

    def test_planted_loss(self):
        self.assertTrue(check(self.told, self.records[1:], self.ran)[0].startswith("lost: a"))

    def test_planted_second_outcome(self):
        self.assertIn("two outcomes: b", check(self.told, self.records + [("b", "done", "exited")],
                                               self.ran))

    def test_planted_leak(self):
        self.assertIn("nobody was told of mx", check(self.told, self.records, dict(self.ran, mx=1)))

    def test_planted_unfinished(self):
        self.assertIn("unfinished: a", check(self.told, [("a", "running", None)] + self.records[1:],
                                             self.ran))


def everything(service):
    rows, cursor = [], ""
    while True:
        page = service.request("GET", "/executions?limit=500" + cursor).json
        rows += page["items"]
        if "next" not in page:
            return rows
        cursor = "&cursor=" + page["next"]


class Traffic:
    """Clients that post, repeat what was not acknowledged under the same key, and remember."""

    def __init__(self, service, clients, total):
        self.service, self.told, self.lock = service, [], threading.Lock()
        self.left = total
        self.errors = []
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        count = 0
        while True:
            with self.lock:
                if self.left == 0:
                    return
                self.left -= 1
            count += 1
            marker = "m%d-%d" % (number, count)
            safe = random.random() < 0.3
            body = {"code": "print(%r)" % marker, "retry_safe": safe}
            deadline = time.monotonic() + 120
            while True:  # until it is acknowledged: the key makes that one execution
                try:
                    answer = post(self.service, body, Idempotency_Key=marker)
                    if answer.status == 202:
                        with self.lock:
                            self.told.append(Told(answer.json["id"], marker, safe))
                        break
                    if answer.status not in (429, 503):
                        self.errors.append(answer)
                        return
                except OSError:
                    pass
                except Exception as error:  # an answer cut off in the middle
                    if "RemoteDisconnected" not in type(error).__name__ and \
                            "BadStatusLine" not in type(error).__name__ and \
                            "IncompleteRead" not in type(error).__name__:
                        self.errors.append(error)
                        return
                if time.monotonic() > deadline:
                    self.errors.append("no acknowledgement of " + marker)
                    return
                time.sleep(0.05)

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.errors, self.errors[:3]


def settled(service, timeout=120):
    def all_done():
        """the end of every execution"""
        left = [service.request("GET", "/executions?limit=1&status=" + status).json["items"]
                for status in ("queued", "running")]
        return not any(left)
    wait_for(all_done, timeout, 0.2)


def judge(test, service, traffic):
    rows = everything(service)
    records = [(row["id"], row["status"], row.get("cause")) for row in rows]
    # How often each was sent to a sandbox, over all lives of the service.
    markers = {item.id: item.marker for item in traffic.told}
    ran = {}
    for id in re.findall(r'msg="run sent" run=(\S+)', service.log()):
        ran[markers.get(id, id)] = ran.get(markers.get(id, id), 0) + 1
    # And what came out is what went in.
    for item in random.sample(traffic.told, min(50, len(traffic.told))):
        row = get(service, item.id).json
        if row["cause"] == "exited":
            test.assertEqual(row["result"]["output"], item.marker + "\n")
    wrong = check(traffic.told, records, ran)
    test.assertEqual(wrong[:10], [])
    test.assertEqual(len(rows), len(traffic.told), "rows and acknowledgements")
    causes = {}
    for row in rows:
        causes[row["cause"]] = causes.get(row["cause"], 0) + 1
    return causes


class Histories(unittest.TestCase):
    def test_kills_at_random_instants(self):
        seed = int(os.environ.get("PADDOCK_SEED") or random.randrange(2 ** 31))
        total = int(os.environ.get("PADDOCK_RUNS") or (60 if is_sanitized() else 300))
        kills = 3 if is_sanitized() else max(4, total // 100)
        print("     seed %d, %d executions, %d kills" % (seed, total, kills))
        random.seed(seed)
        with Service(config=short_form(2, 2), args=("--log-level", "debug")) as service:
            traffic = Traffic(service, 4, total)
            for _ in range(kills):
                time.sleep(random.uniform(0.2, 1.5))
                service.kill9()
                service.start()
            traffic.join()
            settled(service)
            causes = judge(self, service, traffic)
            print("     " + ", ".join("%d %s" % (n, c) for c, n in sorted(causes.items())))
            self.assertGreater(causes.get("exited", 0), total // 2)

    def test_full_state_folder(self):
        """Nothing is acknowledged that was not written; plain runs go on; it recovers."""
        with Disk(6) as disk:
            service = Service(config=short_form(2, 2))
            service.state_dir = disk.path + "/state"
            with service:
                service.hello()
                accepted = [post(service, {"code": "print(%d)" % i}).json["id"] for i in range(5)]
                for id in accepted:
                    done(service, id)
                disk.fill()
                refused = 0
                for i in range(40):
                    answer = post(service, {"code": "print(%d) #%s" % (i, "x" * 20000)})
                    self.assertIn(answer.status, (202, 503), answer)
                    if answer.status == 202:
                        accepted.append(answer.json["id"])
                    else:
                        self.assertIn("Retry-After", answer.headers)
                        refused += 1
                self.assertGreater(refused, 0, "the folder was never full")
                service.hello()  # who needs no record needs no disk
                self.assertIn("cannot be written", service.log())
                health = service.request("GET", "/health")
                self.assertEqual(health.status, 503, health)
                self.assertIn("nothing is accepted for later", health.json["detail"])
                disk.free()
                wait_for(lambda: service.request("GET", "/health").status == 200)  # by itself
                accepted.append(post(service, {"code": "print(1)"}).json["id"])
                for id in accepted:
                    self.assertEqual(done(service, id)["cause"], "exited")


@unittest.skipUnless(postgres.tools(), "PostgreSQL is not installed")
class Postgres(unittest.TestCase):
    def count(self, server):
        return int(server.query("SELECT count(*) FROM paddock.executions")[0][0])

    def test_records_flow_on_through_outages(self):
        with postgres.Postgres() as server:
            with Service(config=short_form(2, 2), env={"DATABASE_URL": server.url}) as service:
                first = service.execute("print('one')")["id"]
                wait_for(lambda: "takes records" in service.log())
                wait_for(lambda: server.query(
                    "SELECT cause, exit_code, kind FROM paddock.executions WHERE id = '%s'"
                    % first) == [["exited", "0", "plain"]])
                server.stop()
                ids = [service.execute("print(%d)" % i)["id"] for i in range(50)]
                ids.append(post(service, {"code": "print('async')"}).json["id"])
                done(service, ids[-1])
                service.kill9()  # while it waits for PostgreSQL
                service.start()
                ids += [service.execute("exit(3)")["id"]]
                server.start()
                # At a kill -9, plain runs may lose what came within the last 50 ms.
                wait_for(lambda: service.request(
                    "GET", "/executions?limit=500").json["items"][0]["id"] == ids[-1])
                here = {row["id"] for row in everything(service)}
                self.assertTrue(set(ids[-2:]) <= here)
                self.assertGreaterEqual(len(here), 50)

                def caught_up():
                    """PostgreSQL to have it all"""
                    return {row[0] for row in server.query("SELECT id FROM paddock.executions")} \
                        == here
                wait_for(caught_up, 60)
                self.assertEqual(self.count(server), len(here))  # none twice
                # A second service of the same history sends nothing twice either.
                service.stop()
                service.start()
                last = service.execute("print('last')")["id"]
                wait_for(lambda: server.query("SELECT id FROM paddock.executions WHERE id = '%s'"
                                              % last))
                self.assertEqual(self.count(server), len(here) + 1)

    def test_killed_server_and_newer_schema(self):
        with postgres.Postgres() as server:
            with Service(config=short_form(1, 1), env={"DATABASE_URL": server.url}) as service:
                service.hello()
                wait_for(lambda: "takes records" in service.log() and self.count(server) == 1)
                server.query("INSERT INTO paddock.schema_versions (version) VALUES (99)")
                server.stop()
                server.start()
                wait_for(lambda: "has version 99" in service.log())
                service.hello()

    def test_what_waits_is_bounded(self):
        """PostgreSQL away until the bound: nothing accepted is lost, no more is accepted."""
        if is_sanitized():
            return  # a minute of waiting; unit/records_test has its code with sanitizers
        env = {"PADDOCK_RECORDS_SIZE": "1Mi"}
        with postgres.Postgres() as server:
            with Service(config=short_form(2, 2), env=dict(env, DATABASE_URL=server.url)) as service:
                service.hello()
                wait_for(lambda: "takes records" in service.log() and self.count(server) == 1, 60)
                server.stop()
                plain = service.execute("print('plain')")["id"]
                accepted = []

                def is_full():
                    """a refusal"""
                    answer = post(service, {"code": "print('x' * 60000)"})
                    if answer.status == 202:
                        accepted.append(answer.json["id"])
                        done(service, accepted[-1])
                        return False
                    self.assertEqual(answer.status, 503, answer)
                    self.assertIn("Retry-After", answer.headers)
                    self.assertIn("PostgreSQL", answer.json["detail"])
                    return True
                wait_for(is_full, 120, 0.5)
                health = service.request("GET", "/health")
                self.assertEqual(health.status, 503, health)
                self.assertIn("PADDOCK_RECORDS_SIZE", health.json["detail"])
                service.hello()  # goes on
                figures = service.request("GET", "/metrics").body.decode()
                self.assertIn("paddock_postgres_up 0", figures)
                self.assertRegex(figures, r"paddock_records_unshipped [1-9]")
                self.assertRegex(figures, r"paddock_records_dropped_total [1-9]")
                self.assertEqual(service.request("GET", "/executions/" + plain).status, 404)
                for id in accepted:
                    self.assertEqual(service.request("GET", "/executions/" + id).status, 200, id)
                server.start()
                wait_for(lambda: {(id,) for id in accepted} <=
                         {tuple(row) for row in server.query("SELECT id FROM paddock.executions")},
                         90)
                wait_for(lambda: service.request("GET", "/health").status == 200, 60)
                wait_for(lambda: post(service, {"code": "print(1)"}).status == 202, 60)

    def test_what_waits_is_bounded_with_redis(self):
        """Likewise where Redis has what was accepted, until it is copied to the records."""
        if is_sanitized():
            return  # hundreds of runs; unit/records_test has its code with sanitizers
        with postgres.Postgres() as server:
            with Cluster(1, short_form(2, 2), env={"DATABASE_URL": server.url,
                                                   "PADDOCK_RECORDS_SIZE": "128Ki"}) as cluster:
                full, = cluster.replicas
                full.hello()
                wait_for(lambda: "takes records" in full.log() and self.count(server) >= 1, 60)
                server.stop()
                accepted = []

                def accepts(service):
                    return post(service, {"code": "print(1)"}).status == 202
                wait_for(lambda: accepts(full), 60)
                kept = full.request("POST", "/execute", {"code": "print(2)"},
                                    {"Idempotency-Key": "kept"}).json["id"]

                def is_full():
                    """a refusal"""
                    answer = post(full, [{"code": "print(%d)" % i, "language": "bash"}
                                         for i in range(100)])
                    if answer.status == 202:
                        accepted.extend(item["id"] for item in answer.json["items"])
                        done(full, accepted[-1])
                        return False
                    self.assertEqual(answer.status, 503, answer)
                    self.assertIn("Retry-After", answer.headers)
                    self.assertIn("PostgreSQL", answer.json["detail"])
                    return True
                wait_for(is_full, 120, 0.5)
                refused = full.request("POST", "/execute", {"code": "print(1)"},
                                       {"Idempotency-Key": "one"})
                self.assertEqual(refused.status, 503, refused)
                health = full.request("GET", "/health")
                self.assertEqual(health.status, 503, health)
                self.assertIn("PADDOCK_RECORDS_SIZE", health.json["detail"])
                self.assertIn("paddock_postgres_up 0",
                              full.request("GET", "/metrics").body.decode())
                full.hello()  # goes on
                # Another replica, with room, does not mind.
                cluster.env["PADDOCK_RECORDS_SIZE"] = "1Gi"
                other = cluster.add()
                wait_for(lambda: accepts(other), 60)
                wait_for(lambda: other.request("GET", "/health").status == 200, 60)
                server.start()
                wait_for(lambda: {(id,) for id in accepted + [kept]} <=
                         {tuple(row) for row in server.query("SELECT id FROM paddock.executions")},
                         120)
                wait_for(lambda: full.request("GET", "/health").status == 200, 60)
                wait_for(lambda: accepts(full), 60)


if __name__ == "__main__":
    unittest.main()

"""Accepted executions: POST /executions and its history, Idempotency-Key, what a kill
leaves, pools that go."""

import threading
import time
import unittest

from lib.service import Service, manifest, short_form, wait_for


def post(service, body, **headers):
    return service.request("POST", "/executions", body,
                           {name.replace("_", "-"): value for name, value in headers.items()})


def get(service, id):
    return service.request("GET", "/executions/" + id)


def done(service, id, timeout=60):
    def finished():
        answer = get(service, id)
        assert answer.status == 200, answer
        return answer.json if answer.json["status"] == "done" else None
    finished.__doc__ = "the end of " + id
    return wait_for(finished, timeout)


def marked(path):
    """A program that counts its runs where the test can see it: in a result it prints."""
    return "print(%r)" % path


class Executions(unittest.TestCase):
    def test_accepted_and_done(self):
        with Service(config=short_form(2, 2)) as service:
            answer = post(service, {"code": "print(6 * 7)"})
            self.assertEqual(answer.status, 202, answer)
            id = answer.json["id"]
            self.assertEqual(answer.headers["Location"], "/executions/" + id)
            end = done(service, id)
            self.assertEqual(end["cause"], "exited")
            self.assertTrue(end["success"])
            self.assertEqual(end["kind"], "async")
            self.assertEqual(end["pool"], "default")
            self.assertEqual(end["result"]["output"], "42\n")
            self.assertEqual(end["result"]["id"], id)
            self.assertTrue(end["sandbox"])
            self.assertEqual(len(end["code_sha256"]), 64)
            # Every run is in the history, also one that somebody waited for, soon after.
            plain = service.execute("print('hello')")["id"]
            def listed():
                items = service.request("GET", "/executions?limit=10").json["items"]
                return [item["id"] for item in items] == [plain, id] and items
            items = wait_for(listed)
            self.assertEqual(items[0]["kind"], "plain")
            # Its events can be had later as well.
            replay = service.request("GET", "/executions/%s/stream" % id,
                                     headers={"Accept": "text/event-stream"})
            self.assertEqual(replay.status, 200)

    def test_filters_and_cursors(self):
        with Service(config=short_form(2, 2)) as service:
            ids = [post(service, {"code": "print(%d)" % i}).json["id"] for i in range(7)]
            failed = post(service, {"code": "exit(3)"}).json["id"]
            for id in ids + [failed]:
                done(service, id)
            seen, cursor = [], ""
            while True:
                page = service.request("GET", "/executions?limit=3" + cursor).json
                seen += [item["id"] for item in page["items"]]
                if "next" not in page:
                    break
                cursor = "&cursor=" + page["next"]
            self.assertEqual(sorted(seen), sorted(ids + [failed]))
            self.assertEqual(len(seen), len(set(seen)))
            for query, count in (("status=done", 8), ("status=queued", 0), ("status=exited", 8),
                                 ("status=lost", 0), ("language=python", 8), ("pool=default", 8),
                                 ("language=node", 0), ("from=2020-01-01T00:00:00Z", 8),
                                 ("to=2020-01-01T00:00:00Z", 0), ("key=nobody", 0)):
                items = service.request("GET", "/executions?limit=100&" + query).json["items"]
                self.assertEqual(len(items), count, query)
            for query in ("limit=0", "limit=x", "cursor=x", "cursor=-1.a", "from=yesterday"):
                self.assertEqual(service.request("GET", "/executions?" + query).status, 400, query)
            self.assertEqual(get(service, "run_nothing").status, 404)

    def test_batches(self):
        with Service(config=short_form(2, 2)) as service:
            batch = [{"code": "print(%d)" % i} for i in range(5)]
            answer = post(service, batch, Idempotency_Key="batch-1")
            self.assertEqual(answer.status, 202, answer)
            ids = [item["id"] for item in answer.json["items"]]
            self.assertEqual(len(set(ids)), 5)
            again = post(service, batch, Idempotency_Key="batch-1")
            self.assertEqual([item["id"] for item in again.json["items"]], ids)
            for i, id in enumerate(ids):
                self.assertEqual(done(service, id)["result"]["output"], "%d\n" % i)
            # All or none.
            bad = post(service, batch + [{"code": "x", "language": "klingon"}])
            self.assertEqual(bad.status, 422)
            self.assertIn("[5]", bad.json["detail"])
            self.assertEqual(len(service.request("GET", "/executions?limit=99").json["items"]), 5)
            for wrong in ([], [{"code": "x"}] * 101, [3], [[]]):
                self.assertIn(post(service, wrong).status, (400, 422))

    def test_cancel(self):
        with Service(config=short_form(1, 1)) as service:
            running = post(service, {"code": "import time; time.sleep(100)"}).json["id"]
            wait_for(lambda: get(service, running).json["status"] == "running")
            queued = post(service, {"code": "print(1)"}).json["id"]
            self.assertIn("position", get(service, queued).json)
            self.assertEqual(service.request("DELETE", "/executions/" + queued).status, 202)
            self.assertEqual(done(service, queued)["cause"], "canceled")
            self.assertEqual(service.request("DELETE", "/executions/" + running).status, 202)
            self.assertEqual(done(service, running)["cause"], "canceled")
            self.assertEqual(service.request("DELETE", "/executions/" + running).status, 409)
            self.assertEqual(service.request("DELETE", "/executions/run_nothing").status, 404)
            service.hello()  # the place is free

    def test_deleted_pool_cancels(self):
        with Service(config=short_form(1, 1), pools={"gone": manifest("gone", image="no-such-image:1", minSize=0, maxSize=1)}) as service:
            id = post(service, {"code": "print(1)", "pool": "gone"}).json["id"]
            self.assertEqual(get(service, id).json["status"], "queued")
            service.remove_pool("gone")
            end = done(service, id)
            self.assertEqual(end["cause"], "canceled")
            self.assertIn("gone", end["reason"])


class Idempotency(unittest.TestCase):
    def execute(self, service, body, key):
        return service.request("POST", "/execute", body, {"Idempotency-Key": key})

    def test_one_run_one_answer(self):
        with Service(config=short_form(2, 2)) as service:
            body = {"code": "import random; print(random.random())"}
            first = self.execute(service, body, "k1")
            self.assertEqual(first.status, 200, first)
            self.assertNotIn("Idempotent-Replayed", first.headers)
            again = self.execute(service, body, '"k1"')  # quoted or not: the same
            self.assertEqual(again.body, first.body)
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")
            other = self.execute(service, {"code": "print(2)"}, "k1")
            self.assertEqual(other.status, 422, other)
            self.assertIn(first.json["id"], other.json["detail"])
            service.kill9()
            service.start()
            after = self.execute(service, body, "k1")
            self.assertEqual(after.body, first.body, "the answer did not outlive the kill")
            self.assertEqual(self.execute(service, body, "").status, 400)
            self.assertEqual(self.execute(service, body, "x" * 300).status, 400)
            service.hello()

    def test_duplicates_at_once(self):
        with Service(config=short_form(2, 2)) as service:
            body = {"code": "import random, time; time.sleep(0.5); print(random.random())"}
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(
                self.execute(service, body, "same"))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual({a.status for a in answers}, {200}, answers)
            self.assertEqual(len({a.body for a in answers}), 1)
            self.assertEqual(len(service.request("GET", "/executions").json["items"]), 1)

    def test_client_that_hangs_up_gets_it_later(self):
        with Service(config=short_form(1, 1)) as service:
            body = {"code": "import time; time.sleep(1); print('late')"}
            with self.assertRaises(TimeoutError):
                service.request("POST", "/execute", body, {"Idempotency-Key": "h"}, timeout=0.4)
            answer = self.execute(service, body, "h")
            self.assertEqual(answer.json["output"], "late\n")
            self.assertEqual(len(service.request("GET", "/executions").json["items"]), 1)


class Kills(unittest.TestCase):
    def test_what_a_kill_leaves(self):
        """Begun: lost, or run again where that is safe; not begun: run then."""
        with Service(config=short_form(2, 2)) as service:
            sleep = {"code": "import time; time.sleep(3); print('slept')"}
            begun = post(service, sleep).json["id"]
            safe = post(service, dict(sleep, retry_safe=True)).json["id"]
            wait_for(lambda: all(get(service, id).json["status"] == "running"
                                 for id in (begun, safe)))
            queued = [post(service, {"code": "print('q%d')" % i}).json["id"] for i in range(5)]
            service.kill9()
            service.start()
            end = done(service, begun)
            self.assertEqual(end["cause"], "lost")
            self.assertEqual(end["result"]["status"], "lost")
            for i, id in enumerate(queued):
                self.assertEqual(done(service, id)["result"]["output"], "q%d\n" % i)
            self.assertEqual(done(service, safe)["result"]["output"], "slept\n")

    def test_a_stop_leaves_the_queue(self):
        with Service(config=short_form(1, 1)) as service:
            first = post(service, {"code": "import time; time.sleep(1); print('first')"}).json["id"]
            wait_for(lambda: get(service, first).json["status"] == "running")
            queued = [post(service, {"code": "import time; time.sleep(1); print(%d)" % i}).json["id"]
                      for i in range(20)]
            began = time.monotonic()
            self.assertEqual(service.stop(), 0)
            self.assertLess(time.monotonic() - began, 15, "it waited for the whole queue")
            service.start()
            self.assertEqual(get(service, first).json["result"]["output"], "first\n")
            service.request("DELETE", "/executions/" + queued[-1])
            self.assertEqual(done(service, queued[0])["result"]["output"], "0\n")
            self.assertEqual(done(service, queued[-1])["cause"], "canceled")


if __name__ == "__main__":
    unittest.main()

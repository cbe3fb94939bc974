"""API keys: made and revoked live, scopes, rates, concurrency, shares of the queue."""

import os
import subprocess
import threading
import time
import unittest

from lib.service import Service, binary, manifest, short_form, wait_for


def key(service, *args):
    """paddock key ...: its output."""
    env = {k: v for k, v in os.environ.items() if k != "EXECUTION_API_KEY"}
    done = subprocess.run([binary(), "key", args[0], "--state-dir", service.state_dir, *args[1:]],
                          capture_output=True, text=True, env=env)
    assert done.returncode == 0, (args, done)
    return done.stdout.strip(), done.stderr


def execute(service, text, code="print(1)"):
    return service.request("POST", "/execute", {"code": code}, {"X-API-Key": text})


def listed(service, text):
    return service.request("GET", "/executions", headers={"X-API-Key": text})


class Keys(unittest.TestCase):
    def test_come_and_go_while_it_serves(self):
        with Service(config=short_form(1, 2)) as service:
            service.hello()
            text, said = key(service, "new", "--name", "ci")
            id = said.split()[-1]
            wait_for(lambda: execute(service, text).status == 200)
            self.assertIn("ci", key(service, "list")[0])
            self.assertNotIn(text, key(service, "list")[0])
            with open(os.path.join(service.state_dir, "keys.d", id + ".json")) as file:
                self.assertNotIn(text[3:], file.read(), "the key itself is on the disk")
            key(service, "revoke", id)
            wait_for(lambda: execute(service, text).status == 401)
            service.hello()  # others stay
            self.assertNotIn(text, service.log())

    def test_scopes(self):
        with Service(config=short_form(1, 2)) as service:
            reader, _ = key(service, "new", "--scopes", "read")
            runner, _ = key(service, "new", "--scopes", "execute")
            other, _ = key(service, "new", "--scopes", "execute")
            wait_for(lambda: listed(service, other).status == 200)
            wait_for(lambda: listed(service, reader).status == 200)
            self.assertEqual(execute(service, reader).status, 403)
            answer = execute(service, runner)
            self.assertEqual(answer.status, 200)
            id = answer.json["id"]
            # One's own history, or with read everybody's.
            wait_for(lambda: [e["id"] for e in listed(service, runner).json["items"]] == [id])
            self.assertEqual(listed(service, other).json["items"], [])
            self.assertEqual([e["id"] for e in listed(service, reader).json["items"]], [id])
            for text, status in ((runner, 200), (reader, 200), (other, 404)):
                self.assertEqual(service.request("GET", "/executions/" + id,
                                                 headers={"X-API-Key": text}).status, status)

    def test_rate(self):
        with Service(config=short_form(1, 2)) as service:
            text, _ = key(service, "new", "--rate", "5/m")
            wait_for(lambda: listed(service, text).status == 200)
            for left in (4, 3, 2, 1, 0):
                answer = execute(service, text)
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.headers["RateLimit-Policy"], '"runs";q=5;w=60')
                self.assertTrue(answer.headers["RateLimit"].startswith('"runs";r=%d;t=' % left),
                                answer.headers["RateLimit"])
            answer = execute(service, text)
            self.assertEqual(answer.status, 429, answer)
            wait = int(answer.headers["Retry-After"])
            self.assertTrue(1 <= wait <= 12, wait)
            service.hello()  # another key's rate is its own
            time.sleep(wait)
            self.assertEqual(execute(service, text).status, 200, "Retry-After was not honest")

    def test_concurrency(self):
        with Service(config=short_form(3, 3)) as service:
            service.wait_sandboxes(3)
            text, _ = key(service, "new", "--concurrency", "1")
            wait_for(lambda: listed(service, text).status == 200)
            began = time.monotonic()
            threads = [threading.Thread(target=execute, args=(
                service, text, "import time; time.sleep(0.5)")) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.2)
            service.hello()  # is not held up
            self.assertLess(time.monotonic() - began, 1.4)
            for thread in threads:
                thread.join()
            self.assertGreaterEqual(time.monotonic() - began, 1.5, "two ran at once")

    def test_a_noisy_key_starves_nobody(self):
        """Two equal keys, one with thirty clients and one with one; then shares of 3 to 1."""
        with Service(config=manifest("default", minSize=1, maxSize=1,
                                     recycle="{share: true}")) as service:
            service.hello()
            noisy, _ = key(service, "new", "--name", "noisy")
            modest, _ = key(service, "new", "--name", "modest")
            big, _ = key(service, "new", "--name", "big", "--share", "3")
            for text in (noisy, modest, big):
                wait_for(lambda: listed(service, text).status == 200)
            counts = self.compete(service, {noisy: 30, modest: 2})
            share = counts[modest] / sum(counts.values())
            print("     share of the modest one against thirty: %.2f" % share)
            self.assertGreater(share, 0.35)
            counts = self.compete(service, {noisy: 12, big: 12})
            share = counts[big] / sum(counts.values())
            print("     share of 3 against 1: %.2f" % share)
            self.assertTrue(0.6 < share < 0.9, share)

    def compete(self, service, clients, seconds=4):
        counts = dict.fromkeys(clients, 0)
        end = time.monotonic() + seconds

        def client(text):
            while time.monotonic() < end:
                answer = execute(service, text, "import time; time.sleep(0.02)")
                if answer.status == 200 and time.monotonic() < end:
                    counts[text] += 1
        threads = [threading.Thread(target=client, args=(text,))
                   for text, count in clients.items() for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counts


if __name__ == "__main__":
    unittest.main()

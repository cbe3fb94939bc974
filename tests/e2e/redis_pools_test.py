"""Pools declared in a real Redis, driven by redis-cli, and the containers they make."""

import json
import os
import subprocess
import time
import unittest

from lib.redis import Redis
from lib.service import IMAGE, Service, binary, short_form, wait_for

KEY = "paddock:pools"
CHANNEL = "paddock:pools:changed"


def manifest(**spec):
    spec.setdefault("image", IMAGE)
    return json.dumps({"apiVersion": "paddock.dev/v1", "kind": "SandboxPool", "spec": spec})


def declare(redis, name, text):
    redis.cli("HSET", KEY, name, text)
    redis.cli("PUBLISH", CHANNEL, name)


def service_with(redis, config=None, **more):
    return Service(config or short_form(0, 1), env=dict({"REDIS_URL": redis.url}, **more))


def wait_log(service, text, timeout=30):
    def said():
        return text in service.log()
    said.__doc__ = "'%s' in the log" % text
    wait_for(said, timeout)


class RedisPools(unittest.TestCase):
    def test_hset_changes_hdel(self):
        with Redis() as redis, service_with(redis) as service:
            declare(redis, "one", manifest(minSize=1, maxSize=2))
            first = service.wait_sandboxes(1, "one")[0]
            answer = service.execute("print('in redis')", pool="one")
            self.assertEqual(answer["output"], "in redis\n")
            declare(redis, "one", manifest(minSize=2, maxSize=2))
            both = service.wait_sandboxes(2, "one")
            self.assertIn(first["Id"], [c["Id"] for c in both])
            # YAML, without a PUBLISH: found when the hash is read again.
            redis.cli("HSET", KEY, "two", "kind: SandboxPool\napiVersion: paddock.dev/v1\n"
                      "metadata: {name: two}\nspec: {image: %s, minSize: 1, maxSize: 1}\n" % IMAGE)
            service.wait_sandboxes(1, "two")
            redis.cli("HDEL", KEY, "two")
            redis.cli("PUBLISH", CHANNEL, "two")
            service.wait_sandboxes(0, "two")
            redis.cli("HDEL", KEY, "one")
            redis.cli("PUBLISH", CHANNEL, "one")
            service.wait_sandboxes(0, "one")

    def test_a_mistake_changes_nothing(self):
        with Redis(password="tea@two") as redis:
            # The URL has it encoded.
            url = redis.url.replace("tea@two", "tea%40two")
            with service_with(redis, REDIS_URL=url) as service:
                declare(redis, "p", manifest(minSize=1, maxSize=2))
                kept = service.wait_sandboxes(1, "p")[0]["Id"]
                declare(redis, "p", manifest(minSize=-3))
                wait_log(service, "spec.minSize")
                declare(redis, "p", "spec: [unclosed\n")
                wait_log(service, "(line ")
                declare(redis, "p", manifest().replace('"spec"', '"metadata": {"name": "q"}, "spec"'))
                wait_log(service, "must be 'p'")
                self.assertEqual([c["Id"] for c in service.sandboxes("p", "running")], [kept])
                said = [line for line in service.log().splitlines()
                        if "comp=sources" in line and "spec.minSize: " in line]
                self.assertEqual(len(said), 1, "said once")
                checked = subprocess.run([binary(), "check"], env=dict(os.environ, REDIS_URL=url),
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(checked.returncode, 1)
                self.assertIn(b"must be 'p'", checked.stderr)
                declare(redis, "p", manifest(minSize=2, maxSize=2))
                service.wait_sandboxes(2, "p")
                self.assertNotIn("tea@two", service.log())
                self.assertNotIn("tea%40two", service.log())

    def test_an_emptied_redis_deletes_nothing(self):
        with Redis() as redis, service_with(redis) as service:
            declare(redis, "p", manifest(minSize=1, maxSize=1))
            kept = service.wait_sandboxes(1, "p")[0]["Id"]
            for emptied in (("DEL", KEY), ("FLUSHALL",)):
                redis.cli(*emptied)
                redis.cli("PUBLISH", CHANNEL, "x")
                wait_log(service, "Redis has lost it")
                # Another pool in the emptied Redis is no reason either.
                declare(redis, "other", manifest(minSize=1, maxSize=1))
                service.wait_sandboxes(1, "other")
                self.assertEqual([c["Id"] for c in service.sandboxes("p", "running")], [kept])
            # Set again it is in force again, and an HDEL is one.
            declare(redis, "p", manifest(minSize=1, maxSize=1))
            wait_for(lambda: redis.cli("HGET", KEY, "_dataset"))
            time.sleep(0.5)
            redis.cli("HDEL", KEY, "p")
            redis.cli("PUBLISH", CHANNEL, "p")
            service.wait_sandboxes(0, "p")

    def test_redis_gone_and_back(self):
        with Redis() as redis, service_with(redis) as service:
            declare(redis, "p", manifest(minSize=1, maxSize=1))
            kept = service.wait_sandboxes(1, "p")[0]["Id"]
            redis.kill9()
            wait_log(service, "Redis is not in reach")
            self.assertEqual(service.execute("print(1)", pool="p")["output"], "1\n")
            redis.start()  # with nothing in it
            wait_log(service, "Redis has lost it")
            self.assertEqual([c["Id"] for c in service.sandboxes("p", "running")], [kept])
            declare(redis, "p", manifest(minSize=2, maxSize=2))
            self.assertIn(kept, [c["Id"] for c in service.wait_sandboxes(2, "p")])

    def test_what_belongs_to_a_file_stays_the_files(self):
        with Redis() as redis, service_with(redis, short_form(1, 1)) as service:
            service.wait_sandboxes(1, "default")
            declare(redis, "default", manifest(minSize=3, maxSize=3))
            declare(redis, "mine", manifest(minSize=1, maxSize=1))
            service.wait_sandboxes(1, "mine")
            wait_log(service, "belongs to file:")
            self.assertEqual(len(service.sandboxes("default")), 1)
            service.write_pool("mine", json.dumps(
                {"apiVersion": "paddock.dev/v1", "kind": "SandboxPool", "metadata": {"name": "mine"},
                 "spec": {"image": IMAGE, "minSize": 3, "maxSize": 3}}))
            wait_log(service, "belongs to redis")
            self.assertEqual(len(service.sandboxes("mine")), 1)

    def test_no_key_no_start(self):
        with Redis() as redis:
            service = Service(env={"REDIS_URL": redis.url}, key=None)
            try:
                service.start(wait=False)
                self.assertEqual(service.process.wait(60), 2)
                self.assertIn("EXECUTION_API_KEY", service.log())
            finally:
                service.process = None
                service.close()

    def test_a_wrong_password_or_url(self):
        with Redis(password="right") as redis:
            wrong = redis.url.replace("right", "sesame")
            with service_with(redis, REDIS_URL=wrong) as service:
                wait_log(service, "WRONGPASS")
                self.assertNotIn("sesame", service.log())
        service = Service(env={"REDIS_URL": "http://:sesame@localhost"})
        try:
            service.start(wait=False)
            self.assertEqual(service.process.wait(60), 2)
            self.assertIn("REDIS_URL", service.log())
            self.assertNotIn("sesame", service.log())
        finally:
            service.process = None
            service.close()

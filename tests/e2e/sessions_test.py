"""Sessions of browsers over replicas: one Redis, two services, one cookie."""

import re
import unittest
import urllib.parse

from lib.redis import Redis
from lib.service import KEY, Service, short_form, wait_for

FORM = "application/x-www-form-urlencoded"


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = Redis("--appendonly", "yes").start()
        cls.replicas = []
        try:
            for _ in range(2):
                cls.replicas.append(Service(short_form(0, 1), env={"REDIS_URL": cls.redis.url}).start())
            cls.wait_up()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        logs = "".join(service.log() for service in cls.replicas)
        try:
            for service in cls.replicas:
                service.close()
        finally:
            cls.redis.close()
        assert not re.search(r"[0-9a-f]{64}", logs), "a token or a digest is in a log"

    @classmethod
    def wait_up(cls):
        """Redis is in use: both listen to what is said of sessions, and links can be made."""
        wait_for(lambda: cls.redis.cli("PUBSUB", "NUMSUB", "paddock:sessions").split()[-1] == "2", 60)
        for service in cls.replicas:
            wait_for(lambda one=service: one.request("POST", "/session/links").status == 201, 60)

    def log_in(self, service, **fields):
        fields = fields or {"key": KEY}
        answer = service.request("POST", "/login", urllib.parse.urlencode(fields),
                                 {"Content-Type": FORM}, key=False)
        if answer.status != 303:
            return answer
        self.assertTrue(answer.headers["Set-Cookie"].startswith("paddock="), answer.headers)
        return answer.headers["Set-Cookie"].split(";")[0].split("=")[1]

    def ask(self, service, token, method="GET"):
        return service.request(method, "/session", None,
                               {"Cookie": "paddock=" + token,
                                "Origin": "http://127.0.0.1:%d" % service.port}, key=False)

    def wait_status(self, service, token, status):
        wait_for(lambda: self.ask(service, token).status == status, 30)

    def test_one_session_for_all(self):
        a, b = self.replicas
        token = self.log_in(a)
        self.wait_status(b, token, 200)
        answer = self.ask(b, token)
        self.assertTrue(0 < answer.json["expires_in"] <= 7200, answer)
        self.assertEqual(self.ask(b, token, "DELETE").status, 204)
        self.assertEqual(self.ask(b, token).status, 401)
        self.wait_status(a, token, 401)

    def test_hashes_only_and_they_expire(self):
        token = self.log_in(self.replicas[0])
        names = self.redis.cli("KEYS", "paddock:session:*").split()
        self.assertTrue(names)
        kept = "".join(names) + "".join(self.redis.cli("GET", name) for name in names)
        self.assertNotIn(token, kept)
        self.assertNotIn(KEY, kept)
        for name in names:
            self.assertTrue(0 < int(self.redis.cli("PTTL", name)) <= 7200 * 1000, name)
        self.assertTrue(0 < int(self.redis.cli("PTTL", "paddock:sessions")) <= 43200 * 1000)

    def test_a_link_is_good_once_anywhere(self):
        a, b = self.replicas
        link = a.request("POST", "/session/links").json["link"].split("#")[1]
        self.assertNotIn(link, self.redis.cli("KEYS", "paddock:link:*"))
        token = self.log_in(b, link=link)
        self.assertIsInstance(token, str, token)
        for service in (a, b):
            self.assertEqual(self.log_in(service, link=link).status, 401)
            self.wait_status(service, token, 200)

    def test_a_replica_that_comes_later_knows_them(self):
        token = self.log_in(self.replicas[0])
        with Service(short_form(0, 1), env={"REDIS_URL": self.redis.url}) as late:
            self.wait_status(late, token, 200)

    def test_while_redis_is_away(self):
        a, b = self.replicas
        token, other = self.log_in(a), self.log_in(a)
        self.wait_status(b, token, 200)
        self.wait_status(b, other, 200)
        self.redis.kill9()
        try:
            refused = self.log_in(a)
            self.assertEqual(refused.status, 503, refused)
            self.assertGreater(int(refused.headers["Retry-After"]), 0)
            self.assertEqual(self.ask(b, token).status, 200, "what is known is known")
            self.assertEqual(self.ask(a, other, "DELETE").status, 204)
            self.assertEqual(self.ask(a, other).status, 401)
        finally:
            self.redis.start()
        self.wait_up()
        self.wait_status(b, other, 401)
        self.assertEqual(self.ask(a, token).status, 200)
        self.assertEqual(self.ask(b, token).status, 200)

    def test_no_more_than_there_may_be(self):
        a, b = self.replicas
        first = self.log_in(a)
        self.wait_status(b, first, 200)
        last = [self.log_in(a) for _ in range(256)][-1]
        self.wait_status(b, last, 200)
        self.wait_status(b, first, 401)
        self.assertEqual(self.redis.cli("ZCARD", "paddock:sessions"), "256")


if __name__ == "__main__":
    unittest.main()

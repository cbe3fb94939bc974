"""Bad input: each gets a clear answer, and nothing is lost or leaked."""

import json
import resource
import socket
import time
import unittest

from lib.service import Service, is_sanitized, short_form

JSON = {"Content-Type": "application/json"}
GOOD = {"code": "print(1)", "language": "python"}


def with_field(**more):
    return json.dumps(dict(GOOD, **more)).encode()


# what, method, path, body, headers, status, a word that the answer must hold
CASES = [
    ("malformed JSON", "POST", "/execute", b'{"code": ', JSON, 400, ""),
    ("no JSON at all", "POST", "/execute", b"", JSON, 400, ""),
    ("trailing text", "POST", "/execute", b'{"code":"print(1)"} x', JSON, 400, ""),
    ("deep nesting", "POST", "/execute", b"[" * 5000 + b"]" * 5000, JSON, 400, ""),
    ("duplicate key", "POST", "/execute", b'{"code":"1","code":"2"}', JSON, 400, ""),
    ("invalid UTF-8", "POST", "/execute", b'{"code":"print(\xff)"}', JSON, 400, ""),
    ("array for object", "POST", "/execute", b"[1]", JSON, 422, ""),
    ("code is a number", "POST", "/execute", with_field(code=7), JSON, 422, "code"),
    ("code is missing", "POST", "/execute", b'{"language":"python"}', JSON, 422, "code"),
    ("code is empty", "POST", "/execute", with_field(code=""), JSON, 422, "code"),
    ("unknown field", "POST", "/execute", with_field(tiemout=3), JSON, 422, "tiemout"),
    ("unknown language", "POST", "/execute", with_field(language="cobol"), JSON, 422, "cobol"),
    ("unknown pool", "POST", "/execute", with_field(pool="nowhere"), JSON, 422, "there are"),
    ("timeout 0", "POST", "/execute", with_field(timeout=0), JSON, 422, "timeout"),
    ("timeout -1", "POST", "/execute", with_field(timeout=-1), JSON, 422, "timeout"),
    ("timeout 1e308", "POST", "/execute",
     b'{"code":"print(1)","timeout":1e308}', JSON, 422, "timeout"),
    ("timeout 1e999", "POST", "/execute",
     b'{"code":"print(1)","timeout":1e999}', JSON, (400, 422), ""),
    ("timeout above the maximum", "POST", "/execute", with_field(timeout=301), JSON, 422,
     "timeout"),
    ("timeout is text", "POST", "/execute", with_field(timeout="30"), JSON, 422, "timeout"),
    ("args is text", "POST", "/execute", with_field(args="x"), JSON, 422, "args"),
    ("an arg is a number", "POST", "/execute", with_field(args=["a", 1]), JSON, 422, "args"),
    ("env is a list", "POST", "/execute", with_field(env=["A=1"]), JSON, 422, "env"),
    ("env name with =", "POST", "/execute", with_field(env={"A=B": "1"}), JSON, 422, "env"),
    ("stdin is a number", "POST", "/execute", with_field(stdin=1), JSON, 422, "stdin"),
    ("wrong method", "GET", "/execute", None, {}, 405, ""),
    ("wrong method DELETE", "DELETE", "/health", None, {}, 405, ""),
    ("wrong content type", "POST", "/execute", with_field(), {"Content-Type": "text/plain"}, 415,
     ""),
    ("no such path", "GET", "/nowhere", None, {}, 404, ""),
    ("path tricks", "GET", "/../../etc/passwd", None, {}, (400, 404), ""),
]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(1, 2))
        cls.addClassCleanup(cls.service.close)
        cls.service.start()
        cls.service.wait_sandboxes(1)
        cls.service.hello()

    def check_problem(self, answer, status):
        allowed = status if isinstance(status, tuple) else (status,)
        self.assertIn(answer.status, allowed, answer)
        self.assertTrue(answer.headers["Content-Type"].startswith("application/problem+json"),
                        answer.headers["Content-Type"])
        self.assertEqual(answer.json["status"], answer.status)

    def test_table(self):
        for what, method, path, body, headers, status, word in CASES:
            with self.subTest(what):
                answer = self.service.request(method, path, body, headers)
                self.check_problem(answer, status)
                self.assertIn(word, answer.body.decode())
                if answer.status == 405:
                    self.assertTrue(answer.headers["Allow"])
                if answer.status in (429, 503):
                    self.assertTrue(answer.headers["Retry-After"])
        self.service.hello()

    def test_nul_in_code_is_an_answer(self):
        answer = self.service.request("POST", "/execute", b'{"code":"print(1)\\u0000"}', JSON)
        self.assertIn(answer.status, (200, 422), answer)
        self.service.hello()

    def test_oversized_code(self):
        answer = self.service.request("POST", "/execute", with_field(code="#" * (1 << 20) + "#"),
                                      JSON)
        self.assertIn(answer.status, (413, 422), answer)

    def test_oversized_body(self):
        connection = self.service.connect()
        head = ("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                "Content-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n"
                % self.service.key)
        connection.sendall(head.encode())
        self.assertIn(b" 413 ", connection.recv(4096).split(b"\r\n")[0])
        connection.close()

    def test_keys(self):
        for what, headers in (("none", {}), ("wrong", {"X-API-Key": "e2e-key-wrong-wrong"}),
                              ("empty", {"X-API-Key": ""}),
                              ("longer", {"X-API-Key": self.service.key + "x"}),
                              ("prefix", {"X-API-Key": self.service.key[:-1]}),
                              ("wrong bearer", {"Authorization": "Bearer nonsense"})):
            with self.subTest(what):
                answer = self.service.request("POST", "/execute", GOOD, headers, key=False)
                self.check_problem(answer, 401)
        answer = self.service.request("POST", "/execute", GOOD, key=False,
                                      headers={"Authorization": "Bearer " + self.service.key})
        self.assertEqual(answer.status, 200)
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.service.request("GET", path, key=False).status, 200)

    def test_not_http(self):
        for text in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n" * 100,
                     b"GET / HTTP/9.9\r\n\r\n", b"POST /execute HTTP/1.1\r\n" + b"A" * 100000,
                     b"GET /livez HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n"
                     b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"):
            connection = self.service.connect(5)
            try:
                connection.sendall(text)
                connection.recv(4096)
            except OSError:
                pass
            connection.close()
        self.service.hello()

    def test_body_that_never_ends(self):
        connection = self.service.connect(90)
        head = ("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{" % self.service.key)
        connection.sendall(head.encode())
        began = time.monotonic()
        answer = connection.recv(4096)
        self.assertTrue(answer == b"" or b" 408 " in answer.split(b"\r\n")[0], answer[:200])
        self.assertLess(time.monotonic() - began, 75)
        connection.close()
        self.service.hello()

    def test_connections_that_say_nothing(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2000 if is_sanitized() else 10000
        room = hard if hard != resource.RLIM_INFINITY else 1 << 20
        if room < wanted + 500:
            wanted = room - 500
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 400), hard))
        silent = []
        try:
            for _ in range(wanted):
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", self.service.port))
                silent.append(connection)
                if len(silent) % 200 == 0:
                    time.sleep(0.02)
            began = time.monotonic()
            self.service.hello()
            print("     hello among %d silent connections: %.0f ms"
                  % (wanted, 1000 * (time.monotonic() - began)))
            self.assertLess(time.monotonic() - began, 10)
        finally:
            for connection in silent:
                connection.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.service.hello()


if __name__ == "__main__":
    unittest.main()

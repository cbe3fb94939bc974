"""Browsers' way in: login links and sessions, and what pages from elsewhere may not do."""

import http.client
import os
import pty
import re
import select
import ssl
import subprocess
import time
import unittest
import urllib.parse

from lib.service import KEY, Service, binary, short_form

FORM = "application/x-www-form-urlencoded"


class Login(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(0, 1)).start()
        cls.host = "127.0.0.1:%d" % cls.service.port

    @classmethod
    def tearDownClass(cls):
        log = cls.service.log()
        cls.service.close()
        assert not re.search(r"[0-9a-f]{64}", log), "a token is in the log"

    def post_form(self, headers=None, **fields):
        return self.service.request("POST", "/login", urllib.parse.urlencode(fields),
                                    dict({"Content-Type": FORM}, **(headers or {})), key=False)

    def cookie(self, **headers):
        answer = self.post_form(headers, key=KEY)
        self.assertEqual(answer.status, 303, answer)
        self.assertEqual(answer.headers["Location"], "/")
        return answer.headers["Set-Cookie"]

    def ask(self, cookie, method="GET", path="/session", body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.request(method, path, body, dict(headers, Cookie=cookie.split(";")[0]),
                                    key=False)

    def new_link(self):
        answer = self.service.request("POST", "/session/links")
        self.assertEqual(answer.status, 201, answer)
        self.assertLessEqual(answer.json["expires_in"], 60)
        return answer.json["link"]

    def test_a_key_in_the_form(self):
        cookie = self.cookie()
        for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(part, cookie)
        self.assertNotIn("Secure", cookie)
        self.assertIn("Secure", self.cookie(**{"X-Forwarded-Proto": "https"}))
        answer = self.ask(cookie)
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(0 < answer.json["expires_in"] <= 7200, answer)
        self.assertNotIn(KEY, answer.body.decode())

    def test_over_tls(self):
        """the listener that ends TLS itself needs no header to know it"""
        port = int(re.search(r"kube=https://127\.0\.0\.1:(\d+)", self.service.log()).group(1))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60,
                                                 context=ssl._create_unverified_context())
        connection.request("POST", "/login", "key=" + KEY, {"Content-Type": FORM})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 303, answer.read())
        self.assertIn("; Secure", answer.headers["Set-Cookie"])
        connection.close()

    def test_guesses_have_a_rate(self):
        """ten keys from one address, then one in six seconds; nobody else is held up"""
        def guess(address, key="wrong"):
            return self.post_form({"X-Forwarded-For": "203.0.113.5, " + address}, key=key)
        answers = [guess("198.51.100.7") for _ in range(14)]
        self.assertEqual([a.status for a in answers[:10]], [401] * 10)
        self.assertEqual(answers[-1].status, 429, answers[-1])
        wait = int(answers[-1].headers["Retry-After"])
        self.assertTrue(1 <= wait <= 6, wait)
        self.assertEqual(guess("198.51.100.7", KEY).status, 429, "a right one is not told, either")
        self.assertEqual(guess("198.51.100.8", KEY).status, 303)
        self.assertEqual(guess("unknown", KEY).status, 303, "the proxy's own address")
        link = self.new_link().split("#")[1]
        self.assertEqual(self.post_form({"X-Forwarded-For": "198.51.100.7"}, link=link).status, 303,
                         "a link cannot be guessed")
        end = time.monotonic() + 60
        time.sleep(wait)
        while guess("198.51.100.7", KEY).status == 429 and time.monotonic() < end:
            time.sleep(1)
        self.assertEqual(guess("198.51.100.7", KEY).status, 303, "what it was told to wait")

    def test_what_is_no_key(self):
        for fields in ({"key": KEY + "x"}, {"key": ""}, {"link": KEY}, {"link": "0" * 64}, {},
                       {"link": "0" * 64, "key": KEY}):
            answer = self.post_form(**fields)
            self.assertEqual(answer.status, 401, answer)
            self.assertNotIn("Set-Cookie", answer.headers)
        answer = self.service.request("POST", "/login", {"key": KEY}, key=False)
        self.assertEqual(answer.status, 415, answer)
        answer = self.post_form(key="x" * 5000)
        self.assertEqual(answer.status, 413, answer)

    def test_a_link_is_good_once(self):
        link = self.new_link()
        self.assertTrue(link.startswith("/login#"), link)
        token = link.split("#")[1]
        self.assertEqual(self.post_form(link=token).status, 303)
        self.assertEqual(self.post_form(link=token).status, 401)

    def test_a_link_wants_a_key(self):
        cookie = self.cookie()
        self.assertEqual(self.service.request("POST", "/session/links", key=False).status, 401)
        answer = self.ask(cookie, "POST", "/session/links", "", Origin="http://" + self.host)
        self.assertEqual(answer.status, 403, answer)

    def test_logging_out(self):
        cookie = self.cookie()
        answer = self.ask(cookie, "DELETE", Origin="http://" + self.host)
        self.assertEqual(answer.status, 204, answer)
        self.assertIn("Max-Age=0", answer.headers["Set-Cookie"])
        self.assertEqual(self.ask(cookie).status, 401)

    def test_cookies_that_are_none(self):
        cookie = self.cookie().split(";")[0]
        name = cookie.split("=")[0]
        for bad in (name + "=" + "0" * 64, cookie + "0", cookie[:-1], cookie + "; " + cookie,
                    "x" + cookie, name.upper() + "=" + cookie.split("=")[1]):
            answer = self.service.request("GET", "/session", headers={"Cookie": bad}, key=False)
            self.assertEqual(answer.status, 401, (bad, answer))

    def test_pages_from_elsewhere(self):
        cookie = self.cookie()
        ours = "http://" + self.host
        rows = [
            # method, headers, served
            ("GET", {}, True),
            ("GET", {"Origin": ours}, True),
            ("GET", {"Sec_Fetch_Site": "same-origin"}, True),
            ("GET", {"Sec_Fetch_Site": "none"}, True),
            ("GET", {"Sec_Fetch_Site": "same-site"}, False),  # another port of this host
            ("GET", {"Sec_Fetch_Site": "cross-site"}, False),
            ("GET", {"Origin": "http://evil.example"}, False),
            ("GET", {"Origin": "http://127.0.0.1:1"}, False),
            ("GET", {"Host": "evil.example"}, False),  # DNS rebinding
            ("GET", {"Host": "evil.example", "Origin": "http://evil.example"}, False),
            ("GET", {"Host": "localhost:1", "Origin": "http://localhost:1"}, True),  # a tunnel
            ("POST", {"Origin": ours}, True),
            ("POST", {}, False),
            ("POST", {"Sec_Fetch_Site": "same-origin"}, True),
            ("POST", {"Sec_Fetch_Site": "none"}, False),
            ("POST", {"Origin": "null"}, False),
            ("POST", {"Origin": "null", "Sec_Fetch_Site": "same-site"}, False),
            ("POST", {"Origin": "null", "Sec_Fetch_Site": "same-origin"}, True),
            ("POST", {"Origin": "https://" + self.host}, True),  # a proxy that ends TLS
            ("POST", {"Origin": "http://evil.example"}, False),
            ("POST", {"Host": "evil.example", "Origin": "http://evil.example"}, False),
        ]
        for method, headers, served in rows:
            path = "/languages" if method == "GET" else "/execute"
            answer = self.ask(cookie, method, path, None if method == "GET" else "{", **headers)
            refused = answer.status == 403
            self.assertEqual(not refused, served, (method, headers, answer))

    def test_sockets_of_pages_from_elsewhere(self):
        """a browser lets any page open a WebSocket to anywhere, cookie and all"""
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                   "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
                   "Sec_WebSocket_Protocol": "paddock.v1"}
        cookie = self.cookie()
        for headers, status in (({"Origin": "http://" + self.host}, 101), ({}, 403),
                                ({"Origin": "http://evil.example"}, 403),
                                ({"Origin": "http://127.0.0.1:1"}, 403), ({"Origin": "null"}, 403),
                                ({"Host": "evil.example", "Origin": "http://evil.example"}, 403)):
            answer = self.ask(cookie, "GET", "/execute/stream", **dict(upgrade, **headers))
            self.assertEqual(answer.status, status, (headers, answer))

    def test_pages_from_elsewhere_with_a_key(self):
        for headers, status in (({"Origin": "http://evil.example"}, 403),
                                ({"Origin": "http://" + self.host}, 415), ({}, 415),
                                ({"Host": "any.example"}, 415)):
            answer = self.service.request("POST", "/execute", "{", headers)
            self.assertEqual(answer.status, status, (headers, answer))
        answer = self.post_form({"Origin": "http://evil.example"}, key=KEY)
        self.assertEqual(answer.status, 403, answer)

    def test_a_name_of_ones_own(self):
        named = dict(Host="run.example", Origin="https://run.example")
        with Service(short_form(0, 1), args=["--host-names", "x.example,run.example"]) as service:
            answer = service.request("POST", "/login", "key=" + KEY,
                                     dict(named, **{"Content-Type": FORM}), key=False)
            self.assertEqual(answer.status, 303, answer)
            cookie = answer.headers["Set-Cookie"].split(";")[0]
            answer = service.request("GET", "/session", headers=dict(named, Cookie=cookie), key=False)
            self.assertEqual(answer.status, 200, answer)

    def test_the_command(self):
        url = "http://" + self.host
        done = subprocess.run([binary(), "login", "--url", url + "/"], env=self.service.env,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, "^" + re.escape(url) + "/login#[0-9a-f]{64}\n$")
        token = done.stdout.strip().split("#")[1]
        self.assertEqual(self.post_form(link=token).status, 303)
        env = dict(self.service.env, EXECUTION_API_KEY="not-the-key")
        done = subprocess.run([binary(), "login", "--url", url], env=env, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("401", done.stderr)

    def test_sessions_end_with_the_service(self):
        service = Service(short_form(0, 1))
        with service:
            answer = service.request("POST", "/login", "key=" + KEY, {"Content-Type": FORM}, key=False)
            cookie = answer.headers["Set-Cookie"].split(";")[0]
            service.stop()
            service.args = ["--listen", "127.0.0.1:%d" % service.port]
            service.start()
            answer = service.request("GET", "/session", headers={"Cookie": cookie}, key=False)
            self.assertEqual(answer.status, 401, answer)


class OnATerminal(unittest.TestCase):
    def test_the_link_is_printed(self):
        service = Service(short_form(0, 1), key=None)
        master, slave = pty.openpty()
        try:
            service.process = subprocess.Popen(service.command(), env=service.env, stdin=slave,
                                               stdout=slave, stderr=slave, start_new_session=True)
            os.close(slave)
            text = ""
            end = time.monotonic() + 60
            while not re.search(r"/login#[0-9a-f]{64}\s", text):
                self.assertLess(time.monotonic(), end, text)
                if select.select([master], [], [], 1)[0]:
                    text += os.read(master, 4096).decode()
            service.port = int(re.search(r"console: http://127.0.0.1:(\d+)/login#", text).group(1))
            token = re.search(r"/login#([0-9a-f]{64})\s", text).group(1)
            answer = service.request("POST", "/login", "link=" + token, {"Content-Type": FORM})
            self.assertEqual(answer.status, 303, answer)
        finally:
            service.close()
            os.close(master)


if __name__ == "__main__":
    unittest.main()

"""What DEPLOYMENT.md says for Caddy and nginx, in a real Caddy and a real nginx with TLS on
loopback: answers, files, a WebSocket, events as they come, and what is not let through."""

import asyncio
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from lib import live
from lib.prometheus import free_port, need
from lib.service import KEY, ROOT, Service, short_form, wait_for

NAME = "code.example.org"


def snippet(title):
    """The first block of code below a title of DEPLOYMENT.md."""
    with open(os.path.join(ROOT, "DEPLOYMENT.md")) as file:
        text = file.read()
    found = re.search(r"### %s\n.*?```\w*\n(.*?)```" % re.escape(title), text, re.S)
    assert found, title
    return found.group(1)


def exchanged(text, *pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


class Proxy:
    """A proxy in front of a service, by what the document says."""

    def __init__(self, service):
        self.service, self.port = service, free_port()
        self.dir = tempfile.mkdtemp(prefix="pd-proxy-")
        self.certificate, self.private = self.dir + "/cert.pem", self.dir + "/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=" + NAME, "-addext", "subjectAltName=DNS:" + NAME,
                        "-keyout", self.private, "-out", self.certificate], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.trust = ssl.create_default_context(cafile=self.certificate)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def __enter__(self):
        self.log = open(self.dir + "/log", "w")
        env = dict(os.environ, HOME=self.dir, XDG_DATA_HOME=self.dir, XDG_CONFIG_HOME=self.dir)
        self.process = subprocess.Popen(self.command(), env=env, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

        def listens():
            """the proxy"""
            if self.process.poll() is not None:
                with open(self.dir + "/log") as file:
                    raise AssertionError("the proxy ended: " + file.read()[-2000:])
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return True
            except OSError:
                return False
        wait_for(listens, 60)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def connection(self, timeout=60):
        found = http.client.HTTPSConnection(NAME, timeout=timeout)
        found.sock = self.trust.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout),
                                            server_hostname=NAME)
        return found

    def request(self, method, path, body=None, **headers):
        connection = self.connection()
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               dict({"X-API-Key": KEY, "Content-Type": "application/json"}, **headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


class Nginx(Proxy):
    def command(self):
        site = exchanged(snippet("TLS by nginx"), ("listen 443 ", "listen 127.0.0.1:%d " % self.port),
                         ("/etc/letsencrypt/live/%s/fullchain.pem" % NAME, self.certificate),
                         ("/etc/letsencrypt/live/%s/privkey.pem" % NAME, self.private),
                         ("127.0.0.1:8000", "127.0.0.1:%d" % self.service.port))
        temporary = "".join("%s_temp_path %s/%s;\n" % (name, self.dir, name)
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.getuid() == 0 else ""
        path = self.write("nginx.conf", "%sdaemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr;\n"
                          "events {}\nhttp {\naccess_log off;\n%s%s}\n" % (user, self.dir, temporary, site))
        checked = subprocess.run(["nginx", "-t", "-e", "stderr", "-c", path], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, timeout=60)
        assert checked.returncode == 0 and "[warn]" not in checked.stdout, checked.stdout
        return ["nginx", "-e", "stderr", "-c", path]


class Caddy(Proxy):
    def command(self):
        site = exchanged(snippet("TLS by Caddy"),
                         (NAME + " {", "https://%s:%d {\n    bind 127.0.0.1\n    tls %s %s"
                          % (NAME, self.port, self.certificate, self.private)),
                         ("127.0.0.1:8000", "127.0.0.1:%d" % self.service.port))
        path = self.write("Caddyfile", "{\n    admin off\n    auto_https disable_redirects\n}\n" + site)
        return ["caddy", "run", "--adapter", "caddyfile", "--config", path]


class Behind(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(1, 2), env={"PADDOCK_HOST_NAMES": NAME}).start()
        cls.addClassCleanup(cls.service.close)
        cls.service.wait_sandboxes(1)

    def check(self, proxy):
        status, headers, body = proxy.request("POST", "/execute", {"code": "print('through')"})
        self.assertEqual((status, json.loads(body)["output"]), (200, "through\n"))
        self.assertTrue(headers["X-Request-Id"])
        self.assertEqual(proxy.request("GET", "/languages", **{"X-API-Key": "wrong"})[0], 401)
        self.check_files(proxy)
        self.check_events(proxy)
        asyncio.run(self.check_websocket(proxy))
        self.check_page(proxy)

    def check_files(self, proxy):
        """More than what a proxy takes by default, both ways."""
        status, _, body = proxy.request("POST", "/execute", {
            "code": "print(len(open('in.txt').read())); open('out.txt', 'w').write('y' * 3000000)",
            "files": [{"path": "in.txt", "content": "x" * 3000000}], "artifacts": ["out.txt"]})
        self.assertEqual(status, 200, body[:500])
        answer = json.loads(body)
        self.assertEqual(answer["output"], "3000000\n")
        self.assertGreater(len(answer["artifacts"][0]["content"]), 2999999)

    def check_events(self, proxy):
        """The first line is here while the program still runs."""
        connection = proxy.connection()
        code = "import time\nprint('first', flush=True)\ntime.sleep(3)\nprint('second')"
        connection.request("POST", "/execute", json.dumps({"code": code}),
                           {"X-API-Key": KEY, "Content-Type": "application/json", "Accept": "text/event-stream"})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        seen, first = b"", None
        while True:
            data = answer.read1(65536)
            if not data:
                break
            seen += data
            if first is None and b"first" in seen:
                first = time.monotonic()
                self.assertNotIn(b"second", seen)
        self.assertIn(b"event: exit", seen)
        self.assertGreater(time.monotonic() - first, 1.5)
        connection.close()

    async def check_websocket(self, proxy):
        connecting = live.websockets.connect(
            "wss://%s/execute/stream" % NAME, host="127.0.0.1", port=proxy.port, ssl=proxy.trust, server_hostname=NAME,
            extra_headers={"X-API-Key": KEY}, subprotocols=["paddock.v1"], ping_interval=None)
        async with connecting as socket_:
            over = live.Live(socket_)
            await over.say(type="run", code="print('said', input())", language="python", stdin_open=True)
            await over.until_type("started")
            await over.say(type="stdin", data="hello\n")
            await over.end()
            self.assertEqual((over.text(), over.exit["exit_code"]), ("said hello\n", 0))

    def check_page(self, proxy):
        """Browsers: the reference comes; a name that is not ours is refused by the service."""
        status, headers, _ = proxy.request("GET", "/docs")
        self.assertEqual((status, headers.get_content_type()), (200, "text/html"))

    def test_nginx(self):
        need("nginx")
        with Nginx(self.service) as proxy:
            self.check(proxy)
            self.assertEqual(proxy.request("GET", "/metrics")[0], 403)

    def test_caddy(self):
        need("caddy")
        with Caddy(self.service) as proxy:
            self.check(proxy)


if __name__ == "__main__":
    unittest.main()

"""The browser console, in Chromium. The scripts are in console/."""

import gzip
import re
import subprocess
import unittest

from lib.browser import missing, run_script
from lib.service import Service, binary, manifest, short_form, wait_for


class Files(unittest.TestCase):
    """What is served without a browser's help."""

    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(0, 1)).start()

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def get(self, path, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.request(method, path, headers=headers, key=False)

    def assets(self):
        return re.findall(r'"(/assets/[^"]+)"', self.get("/").body.decode())

    def test_the_page(self):
        answer = self.get("/")
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("text/html", answer.headers["Content-Type"])
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
        self.assertEqual(answer.headers["Cache-Control"], "no-cache")
        body = answer.body.decode()
        self.assertNotRegex(body, r"(?i)<script(?![^>]*\ssrc=)", "a script in the page")
        self.assertNotRegex(body, r"(?i)(https?:)?//[a-z]", "another host")
        self.assertEqual(len(self.assets()), 4, body)

    def test_assets(self):
        for path in self.assets():
            plain = self.get(path)
            packed = self.get(path, Accept_Encoding="br, gzip")
            self.assertEqual(plain.status, 200, path)
            self.assertIn("immutable", plain.headers["Cache-Control"])
            self.assertNotIn("Content-Encoding", plain.headers)
            self.assertEqual(packed.headers["Content-Encoding"], "gzip")
            self.assertEqual(packed.headers["Vary"], "Accept-Encoding")
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            self.assertNotEqual(packed.headers["ETag"], plain.headers["ETag"])
            head = self.get(path, "HEAD")
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["Content-Length"], str(len(plain.body)))
            for etag in (plain.headers["ETag"], 'W/"x", ' + packed.headers["ETag"]):
                answer = self.get(path, If_None_Match=etag)
                self.assertEqual((answer.status, answer.body), (304, b""), path)
            self.assertEqual(self.get(path, If_None_Match='"other"').status, 200)
            wrong = re.sub(r"/assets/.", "/assets/x", path)
            self.assertEqual(self.get(wrong).status, 404)
            self.assertEqual(self.get(path, "POST").status, 404)

    def test_no_gzip_for_who_refuses_it(self):
        for accept in ("identity", "gzip;q=0", "br", ""):
            answer = self.get("/", Accept_Encoding=accept)
            self.assertNotIn("Content-Encoding", answer.headers, accept)

    def test_licences(self):
        text = self.get("/licenses.txt").body.decode()
        for name in ("@codemirror/view", "@xterm/xterm", "@lezer/highlight"):
            self.assertIn(name, text)

    def test_small(self):
        total = sum(len(self.get(path, Accept_Encoding="gzip").body) for path in self.assets())
        self.assertLess(total, 330 * 1024)


class Browser(unittest.TestCase):
    def setUp(self):
        why = missing()
        if why:
            self.skipTest(why)

    def test_login(self):
        with Service(short_form(0, 1)) as service:
            run_script("login", service)

    def test_run(self):
        with Service(short_form(2, 3)) as service:
            service.wait_sandboxes(2)
            run_script("run", service)

    def test_look_only(self):
        with Service(short_form(0, 1)) as service:
            run_script("look_only", service, key=self.new_key(service, "--scopes", "read"))

    def new_key(self, service, *options):
        """A key that the service knows already."""
        made = subprocess.run([binary(), "key", "new", "--state-dir", service.state_dir,
                               *options], capture_output=True, text=True, timeout=60)
        key = re.search(r"pd_[0-9a-f]+", made.stdout)
        self.assertTrue(key, made)
        wait_for(lambda: service.request("GET", "/languages", headers={"X-API-Key": key.group()},
                                         key=False).status == 200)
        return key.group()

    def test_session_ends(self):
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            run_script("session", service)

    def test_restart(self):
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            listen = "127.0.0.1:%d" % service.port

            def start():
                service.args = ["--listen", listen]
                service.start()
                service.wait_sandboxes(1)
            run_script("restart", service,
                       do={"stop": service.stop, "kill": service.kill9, "start": start})

    def test_refused(self):
        small = manifest("small", minSize=1, maxSize=1, queue="{maxLength: 1, maxWait: 1s}")
        with Service(short_form(1, 2), pools={"small": small}) as service:
            service.wait_sandboxes(2)
            run_script("refused", service, limited=self.new_key(service, "--rate", "1/h"))

    def test_looks(self):
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            run_script("looks", service)

    def test_pools(self):
        with Service(short_form(2, 4)) as service:
            service.wait_sandboxes(2)
            run_script("pools", service, engine=service.engine.path)


if __name__ == "__main__":
    unittest.main()

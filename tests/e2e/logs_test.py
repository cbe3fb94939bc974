"""What the service logs: a form that can be read by machines, what it takes to find a
request again, and nothing of anybody's programs."""

import base64
import json
import unittest

from lib.service import KEY, Service, short_form, wait_for

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def lines_of(log):
    return [json.loads(line) for line in log.splitlines()]


class Logs(unittest.TestCase):
    def test_json_with_request_ids_and_without_secrets(self):
        """Everything a program has to do with is marked; no mark may be in the log."""
        mark = "MARKED-%s-WORD"
        with Service(short_form(1, 2), args=["--log-format", "json", "--log-level", "debug"]) as service:
            self.run_marked(service, mark)
            log = wait_for(lambda: "req-of-mine" in service.log() and service.log())
            self.check(log)
        for secret in ("MARKED-", KEY, base64.b64encode(b"MARKED").decode()[:6]):
            self.assertNotIn(secret, log)

    def run_marked(self, service, mark):
        service.wait_sandboxes(1)
        body = {"code": "import sys\n# %s\nprint(%r); print(%r, file=sys.stderr)\n"
                        "open('%s', 'w').write('x')\nassert sys.stdin.read()" % (
                            mark % "code", mark % "out", mark % "err", mark % "artifact"),
                "stdin": mark % "stdin", "args": [mark % "args"],
                "env": {"SOMETHING": mark % "env"},
                "files": [{"path": mark % "path", "content": mark % "file"}],
                "artifacts": ["MARKED-*"]}
        answer = service.request("POST", "/execute", body,
                                 {"X-Request-Id": "req-of-mine", "traceparent": PARENT})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["X-Request-Id"], "req-of-mine")
        self.assertEqual(answer.headers["traceparent"], PARENT)
        self.assertTrue(answer.json["success"], answer)
        service.execute("raise ValueError(%r)" % (mark % "raised"))
        service.execute("import os, signal; os.kill(os.getpid(), 9) # " + mark % "killed")
        service.request("POST", "/execute", {"code": mark % "bad", "langauge": mark % "field"})
        service.request("POST", "/execute", {"code": "1", "pool": mark % "pool"})
        service.request("POST", "/execute", mark % "no json", {"Content-Type": "application/json"})
        service.request("GET", "/" + mark % "where")
        service.request("GET", "/languages", headers={"X-API-Key": mark % "key"}, key=False)
        service.request("GET", "/languages?token=" + mark % "query")

    def check(self, log):
        lines = lines_of(log)
        for line in lines:
            self.assertGreaterEqual(set(line), {"ts", "level", "comp", "msg"}, line)
        found = [line for line in lines if line.get("request_id") == "req-of-mine"]
        self.assertTrue(found)
        answered = [line for line in found if line["msg"] == "answered"][0]
        self.assertEqual((answered["status"], answered["route"], answered["traceparent"]),
                         ("200", "/execute", PARENT))
        self.assertNotIn(answered["key"], KEY)

    def test_logfmt_by_default_and_quiet(self):
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1)
            before = service.log()
            service.hello()
            self.assertNotIn("answered", service.log()[len(before):])
            self.assertTrue(before.startswith("ts="))


if __name__ == "__main__":
    unittest.main()

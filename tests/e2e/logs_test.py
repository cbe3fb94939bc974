"""What the service logs: a form that can be read by machines, what it takes to find a
request again, and nothing of anybody's programs."""

import asyncio
import base64
import json
import unittest

from lib import live
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
        # From the trace to the run, and from there to every line of the run.
        taken = [line for line in found if line["msg"] == "run taken"][0]
        self.assertEqual(taken["traceparent"], PARENT)
        told = {line["msg"] for line in lines if line.get("run") == taken["run"]}
        self.assertGreaterEqual(told, {"run taken", "run sent", "run ended"})

    def test_every_kind_of_run_can_be_traced(self):
        """POST /execute as events, POST /executions, a batch, the WebSocket."""
        with Service(short_form(1, 2), args=["--log-format", "json", "--log-level", "debug"]) as service:
            service.wait_sandboxes(1)
            code = {"code": "print(1)"}
            for number, (path, body, more) in enumerate((
                    ("/execute", code, {"Accept": "text/event-stream"}),
                    ("/executions", code, {}),
                    ("/executions", [code, code], {}))):
                answer = service.request("POST", path, body, dict(
                    more, **{"X-Request-Id": "traced-%d-" % number, "traceparent": PARENT}))
                self.assertIn(answer.status, (200, 202), answer)

            async def over_websocket():
                async with live.connect(service, headers={"X-Request-Id": "traced-3-"}) as over:
                    await over.say(type="run", code="print(1)", language="python")
                    await over.end()
            asyncio.run(over_websocket())

            def ids(number):
                return {line["run"] for line in lines_of(service.log()) if line["msg"] == "run taken"
                        and line["request_id"] == "traced-%d-" % number}
            wait_for(lambda: [len(ids(number)) for number in range(4)] == [1, 1, 2, 1])

    def test_no_trace_reaches_a_program_unasked(self):
        """Code that nobody trusts gets what its request says, and nothing of its headers."""
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            body = {"code": "import os; print(os.environ.get('TRACEPARENT'))"}
            said = service.request("POST", "/execute", body, {"traceparent": PARENT}).json
            self.assertEqual(said["output"], "None\n")
            said = service.request("POST", "/execute", dict(body, env={"TRACEPARENT": PARENT})).json
            self.assertEqual(said["output"], PARENT + "\n")

    def test_logfmt_by_default_and_quiet(self):
        with Service(short_form(1, 1)) as service:
            service.wait_sandboxes(1)
            before = service.log()
            service.hello()
            self.assertNotIn("answered", service.log()[len(before):])
            self.assertTrue(before.startswith("ts="))


if __name__ == "__main__":
    unittest.main()

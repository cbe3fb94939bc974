"""paddock get, apply, scale, delete and run; and what they and kubectl stand on,
asked directly: pages, watches, preconditions, errors."""

import http.client
import json
import os
import subprocess
import unittest

from lib.service import Service, binary, manifest, short_form, wait_for

POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools"
MERGE = {"Content-Type": "application/merge-patch+json"}


def pool(name, **spec):
    return manifest(name, **dict({"minSize": 0, "maxSize": 4, "targetIdle": 0}, **spec))


def body(name, **spec):
    return {"apiVersion": "paddock.dev/v1", "kind": "SandboxPool", "metadata": {"name": name},
            "spec": dict({"image": "python:3.11-slim", "minSize": 0, "targetIdle": 0}, **spec)}


class Watch:
    """One watch by plain HTTP: its events, one by one."""

    def __init__(self, service, query, path=POOLS):
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        self.connection.request("GET", path + "?watch=true&" + query,
                                headers={"X-API-Key": service.key})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()

    def next(self):
        line = self.response.readline()
        return json.loads(line) if line else None

    def close(self):
        self.connection.close()


class ClientTest(unittest.TestCase):

    def call(self, service, *words, text=None):
        env = dict(service.env, PADDOCK_STATE_DIR=service.state_dir)
        return subprocess.run([binary()] + list(words), input=text, env=env, capture_output=True,
                              text=True, timeout=60)

    def test_commands(self):
        with Service(short_form(1, 2)) as service:
            done = self.call(service, "apply", "-f", "-", text=pool("a") + "---\n" + pool("b"))
            self.assertEqual((done.returncode, done.stdout),
                             (0, "sandboxpool/a created\nsandboxpool/b created\n"), done.stderr)
            done = self.call(service, "get", "pools", "-o", "wide")
            self.assertRegex(done.stdout, r"(?m)^NAME +PROVIDER .*SOURCE.*\n(.*\n)*a +docker .* api ")
            self.assertEqual(self.call(service, "scale", "pool", "a", "2").returncode, 0)
            service.wait_sandboxes(2, "a")
            done = self.call(service, "get", "sandboxes")
            self.assertEqual(done.stdout.count(" a "), 2, done.stdout)
            done = self.call(service, "get", "pool", "a", "-o", "json")
            self.assertEqual(json.loads(done.stdout)["spec"]["minSize"], 2)
            self.assertIn("kind: SandboxPool",
                          self.call(service, "get", "pool", "a", "-o", "yaml").stdout)
            self.assertIn("ScaledUp", self.call(service, "get", "events").stdout)
            self.assertEqual(self.call(service, "delete", "pool", "a").returncode, 0)

            def gone():
                """pool a to be gone"""
                return "not found" in self.call(service, "get", "pool", "a").stderr
            wait_for(gone, 30)
            self.assertEqual(service.sandboxes("a"), [])
            for words, said in ((("apply", "-f", "-"), "no manifest"),
                                (("get", "pool", "nobody"), "not found"),
                                (("scale", "pool", "default", "1"), "belongs to file:"),
                                (("scale", "pool", "b", "many"), "no number"),
                                (("get", "--url", "http://127.0.0.1:1"), "is the service running")):
                done = self.call(service, *words, text="")
                self.assertEqual(done.returncode, 1, words)
                self.assertIn(said, done.stderr)

    def test_run(self):
        with Service(short_form(1, 2)) as service:
            path = os.path.join(service.dir, "hello.py")
            with open(path, "w") as file:
                file.write("import sys\nprint('out', sys.argv[1:], sys.stdin.read())\n"
                           "print('err', file=sys.stderr)\nsys.exit(7)\n")
            done = self.call(service, "run", path, "--stdin", "--", "one", "-two", text="given")
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (7, "out ['one', '-two'] given\n", "err\n"))
            done = self.call(service, "run", "-", "--language", "bash", text="echo $((40 + 2))")
            self.assertEqual((done.returncode, done.stdout), (0, "42\n"), done.stderr)
            done = self.call(service, "run", "-", "--timeout", "0.5", text="while True: pass")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("timed_out", done.stderr)
            done = self.call(service, "run", path, "--pool", "nowhere")
            self.assertEqual(done.returncode, 125)
            self.assertIn("no such pool", done.stderr)

    def test_pages_and_selectors(self):
        with Service(short_form(0, 1)) as service:
            for i in range(5):
                made = service.request("POST", POOLS, body("p%d" % i))
                self.assertEqual(made.status, 201, made)
            seen, token = [], ""
            while True:
                page = service.request("GET", POOLS + "?limit=2&continue=" + token).json
                self.assertLessEqual(len(page["items"]), 2)
                seen += [item["metadata"]["name"] for item in page["items"]]
                token = page["metadata"].get("continue", "")
                if not token:
                    break
            self.assertEqual(seen, ["default"] + ["p%d" % i for i in range(5)])
            found = service.request("GET", POOLS + "?fieldSelector=metadata.name%3Dp3").json
            self.assertEqual([p["metadata"]["name"] for p in found["items"]], ["p3"])
            everywhere = service.request("GET", "/apis/paddock.dev/v1/sandboxpools").json
            self.assertEqual(len(everywhere["items"]), 6)
            for query in ("labelSelector=a+in+(b", "fieldSelector=x", "limit=-1", "limit=x"):
                self.assertEqual(service.request("GET", POOLS + "?" + query).status, 400, query)

    def test_watch(self):
        with Service(short_form(0, 1)) as service:
            listed = service.request("GET", POOLS).json["metadata"]["resourceVersion"]
            service.request("POST", POOLS, body("a"))
            service.request("PATCH", POOLS + "/a", json.dumps({"metadata": {"labels": {"x": "y"}}}),
                            MERGE)
            late = Watch(service, "resourceVersion=" + listed)
            first = late.next()
            self.assertEqual((first["type"], first["object"]["metadata"]["name"]), ("ADDED", "a"))
            chosen = Watch(service, "labelSelector=x%3Dy")
            self.assertEqual(chosen.next()["object"]["metadata"]["name"], "a")
            service.request("PATCH", POOLS + "/a", '{"metadata":{"labels":null}}', MERGE)
            self.assertEqual(chosen.next()["type"], "DELETED", "it no longer matches")
            every = Watch(service, "sendInitialEvents=true&allowWatchBookmarks=true")
            kinds = [every.next() for _ in range(3)]
            self.assertEqual([event["type"] for event in kinds], ["ADDED", "ADDED", "BOOKMARK"])
            service.request("DELETE", POOLS + "/a")
            types = []
            while not types or types[-1] != "DELETED":
                types.append(late.next()["type"])
            for watch in (late, chosen, every):
                watch.close()
            for since in ("1", "99999999999999999", "nonsense"):
                old = Watch(service, "resourceVersion=" + since)
                event = old.next()
                self.assertEqual((event["type"], event["object"]["code"]), ("ERROR", 410))
                self.assertIsNone(old.next())
            short = Watch(service, "timeoutSeconds=1&resourceVersion=" +
                          service.request("GET", POOLS).json["metadata"]["resourceVersion"])
            while short.next():
                pass

    def test_a_slow_watcher_holds_nobody_up(self):
        """Who does not read for a while misses nothing, and nobody waits for it."""
        with Service(short_form(0, 1)) as service:
            service.request("POST", POOLS, body("a"))
            slow = Watch(service, "fieldSelector=metadata.name%3Da")
            note = "n" * 100000
            for i in range(60):
                answer = service.request("PATCH", POOLS + "/a", json.dumps(
                    {"metadata": {"annotations": {"note": note, "i": str(i)}}}), MERGE)
                self.assertEqual(answer.status, 200, answer)
            quick = Watch(service, "fieldSelector=metadata.name%3Da")
            self.assertEqual(quick.next()["object"]["metadata"]["annotations"]["i"], "59")
            quick.close()
            last = ""
            while last != "59":
                event = slow.next()
                self.assertIn(event["type"], ("ADDED", "MODIFIED"))
                last = event["object"]["metadata"].get("annotations", {}).get("i", "")
            slow.close()

    def test_errors_are_of_kind_status(self):
        with Service(short_form(0, 1)) as service:
            made = service.request("POST", POOLS, body("a")).json["metadata"]
            stale = dict(body("a"), metadata=dict(made, resourceVersion="1"))
            cases = [
                ("GET", POOLS + "/nobody", None, {}, 404, "NotFound"),
                ("GET", "/apis/other.dev/v1", None, {}, 404, "NotFound"),
                ("GET", POOLS + "/a/nothing", None, {}, 404, "NotFound"),
                ("POST", POOLS, body("a"), {}, 409, "AlreadyExists"),
                ("POST", POOLS, body(""), {}, 422, "Invalid"),
                ("POST", POOLS, body("Not-A-Label"), {}, 422, "Invalid"),
                ("POST", POOLS, "{", {}, 400, "BadRequest"),
                ("POST", POOLS, "[]", {}, 400, "BadRequest"),
                ("POST", POOLS + "?dryRun=Some", body("b"), {}, 400, "BadRequest"),
                ("POST", POOLS + "?fieldValidation=Strict", body("b", minSice=1), {}, 400,
                 "BadRequest"),
                ("POST", POOLS, "x" * 600000, {}, 413, None),
                ("PUT", POOLS + "/nobody", body("nobody"), {}, 404, "NotFound"),
                ("PUT", POOLS + "/a", body("b"), {}, 400, "BadRequest"),
                ("PUT", POOLS + "/a", stale, {}, 409, "Conflict"),
                ("PATCH", POOLS + "/a", "{}", {}, 415, "UnsupportedMediaType"),
                ("PATCH", POOLS + "/a", "{}",
                 {"Content-Type": "application/strategic-merge-patch+json"}, 415,
                 "UnsupportedMediaType"),
                ("PATCH", POOLS + "/a", '{"spec":{"minSize":11}}', MERGE, 422, "Invalid"),
                ("PATCH", POOLS + "/a", '{"spec":null}', MERGE, 422, "Invalid"),
                ("PATCH", POOLS + "/a", '{"metadata":{"uid":"other"}}', MERGE, 409, "Conflict"),
                ("PATCH", POOLS + "/a/status", "{}", MERGE, 405, "MethodNotAllowed"),
                ("PATCH", POOLS + "/a/scale", '{"spec":{"replicas":"2"}}', MERGE, 422, "Invalid"),
                ("DELETE", POOLS, None, {}, 405, "MethodNotAllowed"),
                ("DELETE", POOLS + "/a", {"preconditions": {"uid": "other"}}, {}, 409, "Conflict"),
                ("PUT", POOLS + "/default", body("default"), {}, 409, "Forbidden"),
                ("DELETE", POOLS + "/default", None, {}, 409, "Forbidden"),
                ("DELETE", "/apis/paddock.dev/v1/namespaces/default/sandboxes/x", None, {}, 405,
                 "MethodNotAllowed"),
            ]
            for method, path, sent, headers, status, reason in cases:
                with self.subTest(method=method, path=path, sent=str(sent)[:80]):
                    answer = service.request(method, path, sent, headers)
                    self.assertEqual(answer.status, status, answer)
                    if reason:
                        self.assertEqual((answer.json["kind"], answer.json["reason"],
                                          answer.json["code"]), ("Status", reason, status))
            for key in (False, True):
                answer = service.request("GET", POOLS, headers={"X-API-Key": "wrong-key-000"},
                                         key=key)
                self.assertEqual((answer.status, answer.json["kind"]), (401, "Status"))
            dry = service.request("POST", POOLS + "?dryRun=All", body("b"))
            self.assertEqual(dry.status, 201, dry)
            self.assertEqual(service.request("GET", POOLS + "/b").status, 404)
            warned = service.request("POST", POOLS, body("b", minSice=1))
            self.assertEqual(warned.status, 201, warned)
            self.assertIn('unknown field \\"spec.minSice\\"', warned.headers["Warning"])
            self.assertEqual(service.request("DELETE", POOLS + "/b", {
                "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
                "preconditions": {"uid": warned.json["metadata"]["uid"]}}).status, 200)

"""/openapi.json against the code and against the running service; /docs in a browser's
eyes. What it is about is api/reference/openapi.yaml."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse

from lib.service import ROOT, Service, binary, short_form, wait_for

SOURCE = "api/reference/openapi.yaml"


def table():
    """{(method, path with {})} of api/api.c's routes."""
    with open(os.path.join(ROOT, "api", "api.c")) as file:
        text = file.read()
    rows = text[text.index("static const struct pd_route routes[]"):]
    rows = rows[:rows.index("};")]
    return set(re.findall(r'\{PD_METHOD_(\w+),\s*"([^"]+)"', rows))


def operations(document):
    for path, item in document["paths"].items():
        for method, about in item.items():
            if method in ("get", "put", "post", "delete", "patch", "head"):
                yield method.upper(), path, about


def resolve(document, node):
    while "$ref" in node:
        found = document
        for key in node["$ref"][2:].split("/"):
            found = found[key]
        node = found
    return node


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(1, 2)).start()
        cls.addClassCleanup(cls.service.close)
        answer = cls.service.request("GET", "/openapi.json", key=False)
        assert answer.status == 200, answer
        cls.answer, cls.document = answer, answer.json

    def test_every_route_is_in_the_document_and_every_path_a_route(self):
        in_code = table()
        told = {(method, re.sub(r"\{\w+\}", "{}", path))
                for method, path, _ in operations(self.document)}
        missing, extra = in_code - told, told - in_code
        self.assertFalse(missing, "routes of api/api.c that %s does not describe: add a path, its "
                         "answers and an example for each: %s" % (SOURCE, sorted(missing)))
        self.assertFalse(extra, "%s describes what is no route of api/api.c: %s"
                         % (SOURCE, sorted(extra)))
        self.assertGreater(len(told), 10)

    def test_every_operation_is_whole(self):
        seen = set()
        for method, path, about in operations(self.document):
            where = "%s %s" % (method, path)
            self.assertTrue(about.get("summary") and about.get("operationId") and about.get("tags"),
                            where + " wants summary, operationId and tags")
            self.assertNotIn(about["operationId"], seen)
            seen.add(about["operationId"])
            named = {resolve(self.document, p)["name"] for p in about.get("parameters", ())
                     if resolve(self.document, p)["in"] == "path"}
            self.assertEqual(named, set(re.findall(r"\{(\w+)\}", path)), where)
            if about.get("security") != []:
                self.assertIn("401", about["responses"], where + " wants a key: say what 401 is")

    def test_the_validator_finds_nothing(self):
        try:
            from openapi_spec_validator import OpenAPIV31SpecValidator
        except ImportError:
            raise unittest.SkipTest("openapi-spec-validator is not installed for this python3")
        problems = [str(e)[:500] for e in OpenAPIV31SpecValidator(self.document).iter_errors()]
        self.assertEqual(problems, [])

    def check_body(self, schema, value, where):
        """Against its schema, where there is a validator; else by its required members."""
        schema = resolve(self.document, schema)
        for name in schema.get("required", ()):
            self.assertIn(name, value, where)
        try:
            from jsonschema import Draft202012Validator
        except ImportError:
            return
        whole = dict(schema, components=self.document["components"])
        problems = [e.message for e in Draft202012Validator(whole).iter_errors(value)]
        self.assertEqual(problems, [], "%s: %r" % (where, value))

    def media(self, about, status):
        found = resolve(self.document, about["responses"][str(status)])
        return found.get("content", {})

    def test_examples_fit_their_schemas(self):
        count = 0
        for method, path, about in operations(self.document):
            bodies = [about["requestBody"]["content"]] if "requestBody" in about else []
            bodies += [self.media(about, status) for status in about["responses"]]
            for content in bodies:
                for media in content.values():
                    for name, example in media.get("examples", {}).items():
                        if example.get("x-status", 200) != 422:
                            self.check_body(media["schema"], example["value"],
                                            "%s %s, example %s" % (method, path, name))
                        count += 1
        self.assertGreater(count, 8)

    def test_request_examples_do_what_they_say(self):
        count = 0
        for method, path, about in operations(self.document):
            for kind, media in about.get("requestBody", {}).get("content", {}).items():
                for name, example in media.get("examples", {}).items():
                    with self.subTest("%s %s %s" % (method, path, name)):
                        self.replay(method, path, about, kind, example)
                    count += 1
        self.assertGreater(count, 5)

    def replay(self, method, path, about, kind, example):
        value, status = example["value"], example.get("x-status", 200)
        body = urllib.parse.urlencode(value) if "form" in kind else json.dumps(value)
        answer = self.service.request(method, path, body, {"Content-Type": kind})
        self.assertEqual(answer.status, status, answer)
        self.check_answer(about, answer)

    def check_answer(self, about, answer):
        self.assertIn(str(answer.status), about["responses"], answer)
        content = self.media(about, answer.status)
        kind = (answer.headers["Content-Type"] or "").split(";")[0]
        if content:
            self.assertIn(kind, content)
        if kind.endswith("json") and kind in content:
            self.check_body(content[kind]["schema"], answer.json, str(answer))

    def test_plain_requests_are_answered_as_told(self):
        """Everything that can be asked without a body, with a key and without."""
        for method, path, about in operations(self.document):
            if "requestBody" in about or method == "DELETE":
                continue
            target = re.sub(r"\{\w+\}", "run_0000000000000000", path)
            with self.subTest("%s %s" % (method, target)):
                self.check_answer(about, self.service.request(method, target))
            if about.get("security") != []:
                with self.subTest("%s %s without a key" % (method, target)):
                    answer = self.service.request(method, target, key=False)
                    self.assertEqual(answer.status, 401)
                    self.check_answer(about, answer)

    def test_refusals_are_told(self):
        """What a client can do wrong, and that the operation's own list has the answer."""
        plain, form = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}
        reader = self.new_key("read")
        runner = self.new_key("execute")
        run = '{"code": "print(1)"}'
        first = self.service.request("POST", "/executions", run, dict(plain, **{"Idempotency-Key": "told"}))
        self.assertEqual(first.status, 202, first)
        where = first.headers["Location"]
        other = '{"code": "print(2)"}'
        cases = [("GET", "/executions?limit=0", "", {}, 400), ("GET", "/executions?cursor=x", "", {}, 400),
                 ("GET", "/executions?from=x", "", {}, 400),
                 ("GET", where + "/stream?from=x", "", {"Accept": "text/event-stream"}, 400),
                 ("GET", "/execute/stream", "", {}, 426), ("GET", "/metrics", "", {"X-API-Key": runner}, 403),
                 ("DELETE", where, "", {"X-API-Key": reader}, 403),
                 ("POST", "/login", "key=no", dict(form, Origin="http://e.example"), 403),
                 ("POST", "/login", "{}", plain, 415), ("POST", "/login", "x" * 100000, form, 413)]
        for path in ("/execute", "/executions"):
            cases += [("POST", path, "{", plain, 400), ("POST", path, run, dict(plain, **{"Idempotency-Key": "x" * 300}), 400),
                      ("POST", path, run, dict(plain, **{"X-API-Key": reader}), 403),
                      ("POST", path, "code", {"Content-Type": "text/plain"}, 415),
                      ("POST", path, "x" * 70000000, plain, 413),
                      ("POST", path, other, dict(plain, **{"Idempotency-Key": "told"}), 422)]
        for method, path, body, headers, status in cases:
            with self.subTest("%s %s %d" % (method, path, status)):
                answer = self.service.request(method, path, body or None, headers)
                self.assertEqual(answer.status, status, answer)
                self.check_answer(self.operation(method, path), answer)

    def new_key(self, scopes):
        text = subprocess.run([binary(), "key", "new", "--name", scopes, "--scopes", scopes, "--state-dir",
                               self.service.state_dir], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=60).stdout.split()[0]
        wait_for(lambda: self.service.request("GET", "/languages", headers={"X-API-Key": text}).status == 200)
        return text

    def operation(self, method, path):
        path = path.partition("?")[0]
        for told, name, about in operations(self.document):
            if told == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", name), path):
                return about
        self.fail("no operation %s %s" % (method, path))

    def test_query_parameters_are_told(self):
        told = {resolve(self.document, p)["name"] for _, _, about in operations(self.document)
                for p in about.get("parameters", ()) if resolve(self.document, p)["in"] == "query"}
        asked = set()
        for name in os.listdir(os.path.join(ROOT, "api")):
            if name.endswith(".c") and not name.startswith("kube_"):
                with open(os.path.join(ROOT, "api", name)) as file:
                    asked |= set(re.findall(r'(?:pd_exchange_query\(\w+|\bget, source), "(\w+)"', file.read()))
        self.assertEqual(asked, told)

    def test_fields_of_execute_are_those_of_its_schema(self):
        with open(os.path.join(ROOT, "api", "schemas", "execute.yaml")) as file:
            told = set(re.findall(r"^  (\w+):$", file.read(), re.M))
        schema = self.document["components"]["schemas"]["ExecuteRequest"]
        self.assertEqual(set(schema["properties"]), told)
        answer = self.service.execute("print(1)")
        known = set(self.document["components"]["schemas"]["ExecuteResult"]["properties"])
        self.assertEqual(set(answer) - known, set(), "members of the answer that nobody describes")

    def test_what_was_accepted_is_as_told(self):
        answer = self.service.request("POST", "/executions", {"code": "print('later')"},
                                      {"Idempotency-Key": "openapi"})
        self.assertEqual(answer.status, 202, answer)
        where = answer.headers["Location"]
        done = wait_for(lambda: (lambda a: a.json["status"] == "done" and a)(
            self.service.request("GET", where)), 60)
        schemas = self.document["components"]["schemas"]
        self.check_body(schemas["Record"], done.json, str(done))
        self.assertEqual(set(done.json) - set(schemas["Record"]["properties"]), set())
        self.assertEqual(done.json["result"]["output"], "later\n")
        listed = self.service.request("GET", "/executions?limit=1").json
        self.check_body(schemas["Record"], listed["items"][0], str(listed))
        late = self.service.request("DELETE", where)
        self.assertEqual(late.status, 409, late)
        again = self.service.request("POST", "/executions", {"code": "print('later')"},
                                     {"Idempotency-Key": "openapi"})
        self.assertEqual((again.headers["Location"], again.headers["Idempotent-Replayed"]), (where, "true"))

    def test_docs_are_served_with_a_strict_policy(self):
        page = self.service.request("GET", "/docs", key=False)
        self.assertEqual(page.status, 200)
        self.assertIn("default-src 'none'", page.headers["Content-Security-Policy"])
        self.assertNotIn("unsafe", page.headers["Content-Security-Policy"])
        text = page.body.decode()
        self.assertNotIn("http://", text + text.replace("https://", "http://"))
        for link in re.findall(r'(?:src|href)="(/[^"]*)"', text):
            answer = self.service.request("GET", link, key=False)
            self.assertEqual(answer.status, 200, link)
        self.assertEqual(self.service.request("GET", "/docs/../../etc/passwd", key=False).status, 404)

    def test_docs_show_every_route_in_a_browser(self):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if not chromium:
            raise unittest.SkipTest("chromium is not installed")
        with tempfile.TemporaryDirectory(prefix="pd-docs-") as folder:
            done = subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--user-data-dir=" + folder, "--virtual-time-budget=15000", "--dump-dom",
                 "http://127.0.0.1:%d/docs" % self.service.port],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        for method, path, about in operations(self.document):
            self.assertIn('id="%s"' % about["operationId"], done.stdout)
        self.assertIn("exclusiveMinimum", done.stdout)
        self.assertNotIn("could not be had", done.stdout)


if __name__ == "__main__":
    unittest.main()

"""GET /metrics: what it says, that promtool and a real Prometheus understand it, and
that the dashboard and the alert rules ask for what is there."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

from lib.service import KEY, ROOT, Service, manifest, short_form, wait_for

OBSERVABILITY = os.path.join(ROOT, "deploy", "observability")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def need(program):
    if not shutil.which(program):
        raise unittest.SkipTest(program + " is not installed")


def samples(text):
    """{name{labels}: value}"""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if line and not line.startswith("#")}


def total(found, name, **labels):
    return sum(value for key, value in found.items()
               if key.split("{")[0] == name
               and all('%s="%s"' % pair in key for pair in labels.items()))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def expressions():
    with open(os.path.join(OBSERVABILITY, "dashboard.json")) as file:
        board = json.load(file)
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(1, 2)).start()
        cls.addClassCleanup(cls.service.close)
        cls.service.wait_sandboxes(1)

    def text(self, accept="text/plain"):
        answer = self.service.request("GET", "/metrics", headers={"Accept": accept})
        self.assertEqual(answer.status, 200, answer)
        return answer.headers["Content-Type"], answer.body.decode()

    def test_counts_what_happens(self):
        before = samples(self.text()[1])
        self.service.hello()
        self.service.hello("bash")
        self.assertFalse(self.service.execute("import sys; sys.exit(3)")["success"])
        self.service.execute("while True: pass", timeout=0.3)
        self.assertEqual(self.service.request("POST", "/execute", {"code": 1}).status, 422)
        self.assertEqual(self.service.request("GET", "/nowhere").status, 404)
        self.assertEqual(self.service.request("GET", "/languages", key=False).status, 401)
        after = samples(self.text()[1])

        def grown(name, **labels):
            return total(after, name, **labels) - total(before, name, **labels)
        self.assertEqual(grown("paddock_executions_total", pool="default"), 4)
        self.assertEqual(grown("paddock_executions_total", language="python", cause="exited"), 2)
        self.assertEqual(grown("paddock_executions_total", language="bash", cause="exited"), 1)
        self.assertEqual(grown("paddock_executions_total", cause="timed_out"), 1)
        for histogram in ("queue", "start", "run"):
            self.assertEqual(grown("paddock_execution_%s_seconds_count" % histogram), 4)
        self.assertGreaterEqual(grown("paddock_execution_run_seconds_sum"), 0.3)
        self.assertEqual(grown("paddock_execution_starts_total"), 4)
        self.assertEqual(grown("paddock_http_requests_total", route="/execute", code="200"), 4)
        self.assertEqual(grown("paddock_http_requests_total", route="/execute", code="422"), 1)
        self.assertEqual(grown("paddock_http_requests_total", route="none", code="404"), 1)
        self.assertEqual(grown("paddock_http_requests_total", route="/languages", code="401"), 1)
        self.assertGreaterEqual(total(after, "paddock_sandboxes", phase="warm"), 1)
        self.assertEqual(total(after, "paddock_provider_up", provider="docker"), 1)
        self.assertEqual(total(after, "paddock_ready"), 1)
        self.assertEqual(total(after, "paddock_pool_max_size", pool="default"), 2)
        self.assertGreaterEqual(total(after, "paddock_provider_calls_total",
                                      operation="containers_create", code="201"), 1)
        self.assertGreater(total(after, "paddock_loop_turn_seconds_count"), 10)
        self.assertGreater(total(after, "paddock_reconcile_seconds_count"), 1)
        self.assertGreaterEqual(total(after, "paddock_http_connections"), 1)
        self.assertGreater(total(after, "process_resident_memory_bytes"), 1e6)
        self.assertLess(abs(time.time() - total(after, "process_start_time_seconds")), 3600)
        wait_for(lambda: total(samples(self.text()[1]), "paddock_refill_seconds_count") > 0)

    def test_a_queue_shows_and_goes(self):
        callers = [threading.Thread(target=self.service.execute,
                                    args=("import time; time.sleep(1.5)",)) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_for(lambda: total(samples(self.text()[1]), "paddock_queue_runs") >= 1, 20, 0.02)
        for caller in callers:
            caller.join()
        found = samples(self.text()[1])
        self.assertEqual(total(found, "paddock_queue_runs"), 0)
        self.assertEqual(total(found, "paddock_executions_active"), 0)

    def test_pools_that_are_gone_are_gone(self):
        self.service.write_pool("short", manifest("short-lived", minSize="0", maxSize="1"))
        wait_for(lambda: 'paddock_pool_max_size{pool="short-lived"} 1' in self.text()[1])
        self.service.remove_pool("short")
        wait_for(lambda: 'paddock_pool_max_size{pool="short-lived"}' not in self.text()[1])

    def test_needs_a_key(self):
        self.assertEqual(self.service.request("GET", "/metrics", key=False).status, 401)

    def test_forms(self):
        kind, text = self.text()
        self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
        self.assertNotIn("# EOF", text)
        kind, text = self.text(OPENMETRICS + ";q=0.5,text/plain;q=0.1")
        self.assertIn("openmetrics-text; version=1.0.0", kind)
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertIn("# TYPE paddock_executions counter\n", text)
        self.assertIn("text/plain", self.text("application/openmetrics-text;q=0, */*")[0])

    def test_promtool_finds_nothing(self):
        need("promtool")
        self.service.hello()
        done = subprocess.run(["promtool", "check", "metrics"], input=self.text()[1], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stdout)

    def test_document_names_every_figure(self):
        with open(os.path.join(ROOT, "common", "metrics_table.c")) as file:
            table = set(re.findall(r'= \{"((?:paddock|process)_\w+)"', file.read()))
        with open(os.path.join(ROOT, "docs", "observability.md")) as file:
            told = set(re.findall(r"^\| `((?:paddock|process)_\w+)`", file.read(), re.M))
        self.assertEqual(table, told)
        self.assertGreater(len(table), 30)

    def test_rules_and_dashboard_name_only_figures(self):
        with open(os.path.join(ROOT, "common", "metrics_table.c")) as file:
            table = set(re.findall(r'= \{"((?:paddock|process)_\w+)"', file.read()))
        with open(os.path.join(OBSERVABILITY, "alerts.yaml")) as file:
            asked = {("alerts", line) for line in re.findall(r"expr: (.*)", file.read())}
        for where, text in asked | set(expressions()):
            for name in re.findall(r"\b((?:paddock|process)_\w+)", text):
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                self.assertTrue({name, base} & table, "%s asks for %s" % (where, name))


class Rules(unittest.TestCase):
    def test_promtool(self):
        need("promtool")
        for words in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"],
                      ["check", "config", "--syntax-only", "prometheus.yaml"]):
            done = subprocess.run(["promtool"] + words, cwd=OBSERVABILITY, timeout=60, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_every_alert_has_a_runbook(self):
        with open(os.path.join(OBSERVABILITY, "alerts.yaml")) as file:
            text = file.read()
        self.assertEqual(text.count("- alert:"), len(re.findall(r'runbook: ".{40,}"', text)))


class RealPrometheus(unittest.TestCase):
    """The shipped scrape configuration and rules in a Prometheus, the dashboard's
    queries asked of it."""

    def setUp(self):
        need("prometheus")
        self.dir = tempfile.mkdtemp(prefix="pd-prometheus-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.port = free_port()

    def configure(self, service):
        with open(os.path.join(self.dir, "key"), "w") as file:
            file.write(KEY)
        shutil.copy(os.path.join(OBSERVABILITY, "alerts.yaml"), self.dir)
        with open(os.path.join(OBSERVABILITY, "prometheus.yaml")) as file:
            text = file.read()
        for old, new in (("/etc/prometheus/paddock.key", os.path.join(self.dir, "key")),
                         ("127.0.0.1:8000", "127.0.0.1:%d" % service.port),
                         ("scrape_interval: 15s", "scrape_interval: 1s")):
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = os.path.join(self.dir, "prometheus.yaml")
        with open(path, "w") as file:
            file.write(text)
        return path

    def ask(self, path, **query):
        url = "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(query))
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def test_scrapes_and_answers_the_dashboard(self):
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            service.hello()
            config = self.configure(service)
            log = open(os.path.join(self.dir, "log"), "w")
            process = subprocess.Popen(
                ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + self.dir + "/data",
                 "--web.listen-address=127.0.0.1:%d" % self.port, "--log.level=warn"],
                stdout=log, stderr=log)
            try:
                wait_for(lambda: self.ask("/api/v1/query", query="up{job='paddock'} == 1")
                         and self.ask("/api/v1/query", query="up{job='paddock'} == 1")["result"], 60, 0.3)
                for _ in range(3):  # rates need figures that move while they are scraped
                    service.hello()
                    time.sleep(1.2)
                self.check_dashboard()
                self.check_rules()
            finally:
                process.terminate()
                process.wait(30)

    # What needs something that did not happen here may be empty.
    EMPTY = {"Refused before they began"}

    def check_dashboard(self):
        for title, text in expressions():
            for name in ("job", "instance", "pool"):
                text = text.replace("$" + name, ".*")
            text = text.replace("$__rate_interval", "20s")
            data = self.ask("/api/v1/query", query=text)
            self.assertIsNotNone(data, "%s: Prometheus refuses %s" % (title, text))
            if title not in self.EMPTY:
                self.assertTrue(data["result"], "%s: nothing for %s" % (title, text))

    def check_rules(self):
        groups = wait_for(lambda: self.ask("/api/v1/rules"), 20)["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreaterEqual(len(rules), 10)
        self.assertFalse([rule["name"] for rule in rules if rule.get("lastError")])
        firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
        self.assertEqual(firing, [])


if __name__ == "__main__":
    unittest.main()

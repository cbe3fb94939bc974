"""A Prometheus of a test's own: the shipped scrape configuration and rules, faster."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

from lib.service import KEY, ROOT

OBSERVABILITY = os.path.join(ROOT, "deploy", "observability")


def need(program):
    if not shutil.which(program):
        raise unittest.SkipTest(program + " is not installed")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, service, rules=lambda text: text):
        """`rules` may change the text of the alert rules."""
        need("prometheus")
        self.service, self.rules = service, rules
        self.dir = tempfile.mkdtemp(prefix="pd-prometheus-")
        self.port = free_port()

    def configure(self):
        with open(os.path.join(self.dir, "key"), "w") as file:
            file.write(KEY)
        with open(os.path.join(OBSERVABILITY, "alerts.yaml")) as file:
            rules = self.rules(file.read())
        with open(os.path.join(self.dir, "alerts.yaml"), "w") as file:
            file.write(rules)
        with open(os.path.join(OBSERVABILITY, "prometheus.yaml")) as file:
            text = file.read()
        for old, new in (("/etc/prometheus/paddock.key", os.path.join(self.dir, "key")),
                         ("127.0.0.1:8000", "127.0.0.1:%d" % self.service.port),
                         ("scrape_interval: 15s", "scrape_interval: 1s"),
                         ("rule_files:", "global: {evaluation_interval: 1s}\nrule_files:")):
            assert old in text, old
            text = text.replace(old, new)
        path = os.path.join(self.dir, "prometheus.yaml")
        with open(path, "w") as file:
            file.write(text)
        return path

    def __enter__(self):
        config = self.configure()
        self.log = open(os.path.join(self.dir, "log"), "w")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + self.dir + "/data",
             "--web.listen-address=127.0.0.1:%d" % self.port, "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ask(self, path, **query):
        """The data of an answer; None while there is none."""
        url = "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(query))
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise AssertionError("%s: %s" % (query, error.read()[:500]))
        except OSError:
            return None

    def query(self, text):
        """What a query finds now: [] for nothing."""
        data = self.ask("/api/v1/query", query=text)
        return data["result"] if data else []

    def firing(self):
        """{(alert, pool)} that fire"""
        data = self.ask("/api/v1/alerts")
        return {(alert["labels"]["alertname"], alert["labels"].get("pool"))
                for alert in (data["alerts"] if data else ()) if alert["state"] == "firing"}

"""The Docker engine as the tests see it: its API over the unix socket."""

import contextlib
import http.client
import json
import os
import queue
import socket
import threading
import time
import urllib.parse

LABEL = "paddock.dev/instance"


def default_socket():
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        raise RuntimeError("the e2e tests need an engine on a unix socket, not " + host)
    return host[len("unix://"):]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("engine", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, path=None):
        self.path = path or default_socket()

    def call(self, method, path, body=None, timeout=60):
        """(status, decoded body)"""
        connection = _Connection(self.path, timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            try:
                return response.status, json.loads(text) if text else None
            except ValueError:
                return response.status, text
        finally:
            connection.close()

    def containers(self, instance):
        """Every container of an installation, whatever its state."""
        filters = urllib.parse.quote(json.dumps({"label": ["%s=%s" % (LABEL, instance)]}))
        status, found = self.call("GET", "/containers/json?all=1&filters=" + filters)
        assert status == 200, found
        return found

    def sandboxes(self, instance, pool=None, state=None):
        """Containers that are sandboxes (the agent volume's filler is none)."""
        return [c for c in self.containers(instance)
                if "paddock.dev/sandbox" in c["Labels"]
                and (pool is None or c["Labels"].get("paddock.dev/pool") == pool)
                and (state is None or c["State"] == state)]

    def inspect(self, container):
        return self.call("GET", "/containers/%s/json" % container)[1]

    def kill(self, container):
        status, body = self.call("POST", "/containers/%s/kill" % container)
        assert status in (204, 404, 409), body  # it may have gone by itself

    def remove(self, container):
        self.call("DELETE", "/containers/%s?force=1&v=1" % container)

    def create(self, image, labels, name=None, start=False, command=("sleep", "600")):
        status, body = self.call(
            "POST", "/containers/create" + ("?name=" + name if name else ""),
            {"Image": image, "Cmd": list(command), "Labels": labels,
             "HostConfig": {"NetworkMode": "none"}})
        assert status == 201, body
        if start:
            assert self.call("POST", "/containers/%s/start" % body["Id"])[0] == 204
        return body["Id"]

    def sweep(self, instance):
        for container in self.containers(instance):
            self.remove(container["Id"])

    @contextlib.contextmanager
    def events(self, instance):
        """A live list of (nanoseconds, action, container id) of one installation."""
        filters = urllib.parse.quote(json.dumps(
            {"type": ["container"], "label": ["%s=%s" % (LABEL, instance)]}))
        connection = _Connection(self.path, 3600)
        connection.request("GET", "/events?filters=" + filters)
        response = connection.getresponse()
        stream = Events()

        def pump():
            try:
                for line in response:
                    event = json.loads(line)
                    stream.add(event["timeNano"], event["Action"], event["Actor"]["ID"])
            except (OSError, ValueError, AttributeError):
                pass  # closed

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        try:
            yield stream
        finally:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            thread.join(5)


class Events:
    def __init__(self):
        self.seen = []
        self._queue = queue.Queue()

    def add(self, *event):
        self.seen.append(event)
        self._queue.put(event)

    def wait(self, matches, timeout=30):
        """The next event (since the last wait) for which matches(event) holds."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError("no such event within %s s; seen: %s"
                                     % (timeout, [e[1] for e in self.seen]))
            try:
                event = self._queue.get(timeout=left)
            except queue.Empty:
                continue
            if matches(event):
                return event

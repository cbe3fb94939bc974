"""What it costs that a run is accepted: plain, with an Idempotency-Key (accepted, begun and
done each fsynced), and the 202 of POST /executions, by turns; this disk's bare fsync beside
them as the floor; and how fast records flow into PostgreSQL after an outage."""

import http.client
import json
import os
import statistics
import tempfile
import time

from lib import postgres
from lib.service import Service, short_form, wait_for


def fsync_us(folder):
    """The floor: one fsync of a few KiB appended."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        file.write(b"x" * 8192)
        file.flush()
        os.fsync(file.fileno())
        return (time.perf_counter() - began) * 1e6


def timed(connection, service, path, headers):
    body = json.dumps({"code": "print('hello')"})
    began = time.perf_counter()
    connection.request("POST", path, body, dict(headers, **{
        "X-API-Key": service.key, "Content-Type": "application/json"}))
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (200, 202), answer.status
    return (time.perf_counter() - began) * 1e6


def measure(quick):
    count = 100 if quick else 500
    found = {"bare fsync (floor)": [], "POST /execute": [], "POST /execute, Idempotency-Key": [],
             "POST /executions, until 202": []}
    with Service(short_form(2, 2)) as service:
        service.wait_sandboxes(2)
        service.hello()
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        for i in range(count):
            for what, path, headers in (
                    ("POST /execute", "/execute", {}),
                    ("POST /execute, Idempotency-Key", "/execute", {"Idempotency-Key": str(i)}),
                    ("POST /executions, until 202", "/executions", {})):
                found[what].append(timed(connection, service, path, headers))
                time.sleep(0.03)  # a spare is made again, the run of the 202 is over
            found["bare fsync (floor)"].append(fsync_us(service.state_dir))
    print("\n%-46s %9s %9s %9s" % ("durability", "p50 ms", "p90 ms", "p99 ms"))
    for what, values in found.items():
        values.sort()
        print("  %-44s %9.2f %9.2f %9.2f" % (what, statistics.median(values) / 1e3,
                                             values[len(values) * 9 // 10] / 1e3,
                                             values[len(values) * 99 // 100] / 1e3))
    if postgres.tools():
        shipping(400 if quick else 3000)
    else:
        print("  PostgreSQL is not installed: how fast records flow there was not measured")


def shipping(count):
    server = postgres.Postgres()
    with Service(short_form(2, 2), env={"DATABASE_URL": server.url}) as service:
        service.wait_sandboxes(2)
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        for _ in range(count):
            timed(connection, service, "/execute", {})
        with server:
            wait_for(lambda: "takes records" in service.log(), 60, 0.005)
            began = time.perf_counter()
            wait_for(lambda: server.query("SELECT count(*) FROM paddock.executions")
                     == [[str(count)]], 120, 0.005)
            print("  %-44s %9.0f records/s (%d after an outage)"
                  % ("into PostgreSQL", count / (time.perf_counter() - began), count))

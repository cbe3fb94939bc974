"""What it costs that a run is accepted: plain, with an Idempotency-Key (accepted, begun and
done each fsynced), and the 202 of POST /executions, by turns; this disk's bare fsync beside
them as the floor; and how fast records flow into PostgreSQL after an outage, beside
its own COPY."""

import contextlib
import http.client
import json
import os
import sqlite3
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
        shipping(20000 if quick else 100000)
    else:
        print("  PostgreSQL is not installed: how fast records flow there was not measured")


def multiply(path, count):
    """The one record that is there, so many times over."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(executions)")]
        rest = ", ".join(name for name in names if name != "id")
        db.execute("INSERT INTO executions (id, %s) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
                   " SELECT i + 1 FROM n WHERE i < ?) SELECT printf('run_%%027x', i), %s FROM n,"
                   " (SELECT * FROM executions LIMIT 1)" % (rest, rest), (count - 1,))
        db.commit()


def copy_seconds(server):
    """The floor: PostgreSQL's own COPY of the same rows into the same table, once they are
    in a file."""
    path = server.dir + "/rows"
    server.query("COPY paddock.executions TO '%s'" % path)
    server.query("CREATE TABLE floor (LIKE paddock.executions INCLUDING ALL)")
    began = time.perf_counter()
    server.query("COPY floor FROM '%s'" % path)
    return time.perf_counter() - began


def shipping(count):
    """How fast the records of an outage flow into PostgreSQL."""
    service = Service(short_form(1, 1))
    service.start()
    service.hello()
    service.stop()
    multiply(service.state_dir + "/paddock.db", count)
    with postgres.Postgres() as server:
        service.env["DATABASE_URL"] = server.url
        with service:
            wait_for(lambda: "takes records" in service.log(), 60, 0.005)
            began = time.perf_counter()
            wait_for(lambda: server.query("SELECT count(*) FROM paddock.executions")
                     == [[str(count)]], 600, 0.02)
            rate = count / (time.perf_counter() - began)
            floor = count / copy_seconds(server)
    print("  %-44s %9.0f records/s (%d after an outage)" % ("into PostgreSQL", rate, count))
    print("  %-44s %9.0f records/s: %.2f of it" % ("bare COPY of the same (floor)", floor,
                                                   rate / floor))

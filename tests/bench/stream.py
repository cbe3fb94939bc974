"""Live output: how long after a program prints a line its message is there, what an
idle socket costs, and how fast one run's output reaches many viewers.

Raw sockets and one clock: a sandbox has the machine's CLOCK_MONOTONIC, so a line can
carry the time at which it was printed. The client is Python, and its own time to wake
up and read counts, too; the floor beside it is the same client on a pipe from a
program of the same kind, with no service between."""

import base64
import json
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time

LINES = """import sys, time
for i in range(%d):
    print(time.monotonic_ns(), flush=True)
    time.sleep(0.003)
"""
BURST = "import sys\nsys.stdin.read()\nimport os, time\nfor i in range(%d):\n    os.write(1, b'x' * 64)\n    time.sleep(0.0005)\n"


def connect(service, path="/execute/stream"):
    connection = service.connect()
    connection.sendall((
        "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nX-API-Key: %s\r\n\r\n"
        % (path, base64.b64encode(b"k" * 16).decode(), service.key)).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    if b" 101 " not in head:
        raise SystemExit("no WebSocket: %r" % head)
    return connection


def say(connection, **frame):
    text = json.dumps(frame).encode()
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
    connection.sendall(b"\x81" + size + b"\0\0\0\0" + text)


def messages(connection):
    """Each text message, and when it was there; to the close frame."""
    held = b""
    while True:
        piece = connection.recv(65536)
        now = time.monotonic_ns()
        if not piece:
            return
        held += piece
        while len(held) >= 2:
            size, at = held[1] & 0x7f, 2
            if size == 126 and len(held) >= 4:
                size, at = struct.unpack(">H", held[2:4])[0], 4
            if len(held) < at + size or (held[1] & 0x7f == 126 and at == 2):
                break
            if held[0] & 15 == 8:
                return
            yield held[at:at + size], now
            held = held[at + size:]


def delays_of(service, count):
    """Milliseconds from print to message."""
    found = []
    with connect(service) as connection:
        say(connection, type="run", code=LINES % count, timeout=60)
        for text, now in messages(connection):
            frame = json.loads(text)
            if frame["type"] == "stdout":
                found += [(now - int(line)) / 1e6 for line in frame["data"].split()]
    return found[10:]


def floor_of(count):
    with subprocess.Popen([sys.executable, "-u", "-c", LINES % count],
                          stdout=subprocess.PIPE) as program:
        found = []
        while True:
            data = os.read(program.stdout.fileno(), 65536)
            now = time.monotonic_ns()
            if not data:
                return found[10:]
            found += [(now - int(line)) / 1e6 for line in data.split()]


def resident(service):
    with open("/proc/%d/status" % service.process.pid) as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def idle_bytes(service, count):
    held = [connect(service) for _ in range(20)]
    before = resident(service)
    held += [connect(service) for _ in range(count)]
    each = (resident(service) - before) / count
    for connection in held:
        connection.close()
    return each


def fan_out(service, viewers, count):
    """Messages a second, all viewers together, from the first line to the last viewer's end."""
    owner = connect(service)
    say(owner, type="run", code=BURST % count, stdin_open=True, timeout=120)
    stream = messages(owner)
    ident = json.loads(next(stream)[0])["id"]
    selector = selectors.DefaultSelector()
    for _ in range(viewers):
        selector.register(connect(service, "/executions/%s/stream" % ident), selectors.EVENT_READ, 0)
    began = time.monotonic()
    say(owner, type="stdin_eof")
    selector.register(owner, selectors.EVENT_READ, 0)
    total = 0
    while selector.get_map():
        for key, _ in selector.select():
            data = key.fileobj.recv(1 << 16)
            total += data.count(b'"type":"stdout"')
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()
    return total / (time.monotonic() - began)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(service, quick):
    rounds, count = (2, 300) if quick else (5, 1000)
    viewers, idle = (100, 1000) if quick else (1000, 2000)
    mine, floor = [], []
    for _ in range(rounds):
        floor += floor_of(count)
        mine += delays_of(service, count)
    print("\nlive output%37s" % "p50 ms    p99 ms")
    for name, values in (("floor: the same client on a pipe", floor),
                         ("byte printed -> WebSocket message", mine)):
        print("  %-36s %7.3f   %7.3f" % (name, statistics.median(values), percentile(values, 0.99)))
    p50 = statistics.median(mine)
    print("  target: p50 <= 1 ms  %s" % ("reached" if p50 <= 1 else "MISSED"))
    each = idle_bytes(service, idle)
    print("  an idle WebSocket: %.1f KiB of %d   target <= 16 KiB  %s"
          % (each / 1024, idle, "reached" if each <= 16384 else "MISSED"))
    rates = [fan_out(service, viewers, 200) for _ in range(rounds)]
    print("  fan-out to %d viewers: %.0f messages/s (the Python client is half of the work)"
          % (viewers, statistics.median(rates)))

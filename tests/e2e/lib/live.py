"""An independent client of live output: Debian's python3-websockets."""

import asyncio
import json
import os
import sys
import time

PACKAGES = "/usr/lib/python3/dist-packages"
if os.path.isdir(PACKAGES) and PACKAGES not in sys.path:
    sys.path.append(PACKAGES)  # whichever python3 runs the tests

import jsonschema  # noqa: E402
import websockets  # noqa: E402
import yaml  # noqa: E402

from lib.service import ROOT  # noqa: E402

with open(os.path.join(ROOT, "api", "reference", "asyncapi.yaml")) as file:
    ASYNCAPI = yaml.safe_load(file)

SEEN = set()  # types of frames that were checked, said and heard


def check(frame):
    """Every frame must be as api/reference/asyncapi.yaml describes it."""
    schema = {"$ref": "#/components/schemas/" + frame["type"], "components": ASYNCAPI["components"]}
    jsonschema.Draft7Validator(schema).validate(frame)
    SEEN.add(frame["type"])


class Live:
    """A connection, and what came over it."""

    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.times = []
        self.credit = 0
        self.broken = None  # why its end was not seen
        self.read_to = 0  # of all that was printed, what `until` has found

    async def say(self, **frame):
        check(frame)
        await self.socket.send(json.dumps(frame))

    async def hear(self, timeout=30):
        """The next frame, or None at the end."""
        try:
            text = await asyncio.wait_for(self.socket.recv(), timeout)
        except websockets.ConnectionClosed:
            return None
        assert isinstance(text, str), text
        frame = json.loads(text)
        check(frame)
        if frame["type"] == "stdin_credit":
            self.credit += frame["bytes"]
            return frame  # no event of the run
        if frame["type"] == "error" and "seq" not in frame:
            self.broken = frame["problem"]
            return frame  # nor is this
        if self.frames:
            last, next_seq = self.frames[-1]["seq"], frame.get("from_seq", frame["seq"])
            assert next_seq <= last + 1 <= frame["seq"], (self.frames[-1], frame)
        self.frames.append(frame)
        self.times.append(time.monotonic())
        return frame

    async def until(self, text, timeout=30):
        """Until this has been printed, on either stream, after what was waited for before."""
        while text not in self.text()[self.read_to:]:
            frame = await self.hear(timeout)
            assert frame is not None, (text, self.frames[-3:], self.code)
        self.read_to = self.text().index(text, self.read_to) + len(text)
        return self

    async def until_type(self, kind, timeout=30):
        while True:
            frame = await self.hear(timeout)
            assert frame is not None, (kind, self.frames[-3:], self.code)
            if frame["type"] == kind:
                return frame

    async def end(self, timeout=60):
        while await self.hear(timeout) is not None:
            pass
        return self

    def text(self, begun=0, kinds=("stdout", "stderr")):
        return "".join(f["data"] for f in self.frames[begun:]
                       if f["type"] in kinds and "encoding" not in f)

    def of(self, kind):
        return [f for f in self.frames if f["type"] == kind]

    @property
    def types(self):
        return [f["type"] for f in self.frames]

    @property
    def exit(self):
        assert self.frames and self.frames[-1]["type"] == "exit", self.frames[-3:]
        return self.frames[-1]

    @property
    def code(self):
        return self.socket.close_code


class connect:
    """async with connect(service) as live"""

    def __init__(self, service, path="/execute/stream", headers=None, protocols=("paddock.v1",),
                 **more):
        sent = {"X-API-Key": service.key} if service.key else {}
        sent.update(headers or {})
        more.setdefault("max_size", 64 << 20)
        more.setdefault("ping_interval", None)
        self.connecting = websockets.connect(
            "ws://127.0.0.1:%d%s" % (service.port, path), extra_headers=sent,
            subprotocols=list(protocols) or None, compression="deflate", **more)

    async def __aenter__(self):
        return Live(await self.connecting.__aenter__())

    async def __aexit__(self, *what):
        await self.connecting.__aexit__(*what)


async def run(service, code, language="python", **more):
    """One run to its end."""
    async with connect(service) as live:
        await live.say(type="run", code=code, language=language, **more)
        return await live.end()


# ---- server-sent events ----

def sse(service, path, method="GET", body=None, headers=None):
    """An open event stream: its socket, as a file behind the head, and the head."""
    text = json.dumps(body).encode() if body else b""
    lines = {"Host": "x", "X-API-Key": service.key, "Accept": "text/event-stream",
             "Content-Length": str(len(text)), "Content-Type": "application/json"}
    lines.update(headers or {})
    connection = service.connect()
    connection.sendall(("%s %s HTTP/1.0\r\n%s\r\n" % (
        method, path, "".join("%s: %s\r\n" % pair for pair in lines.items()))).encode() + text)
    file = connection.makefile("rb")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline()
        assert line, head
        head += line
    return connection, file, head.decode()


def events(file):
    """The events of a stream, checked, to its end."""
    event = {}
    for line in file:
        line = line.decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
            continue
        if event:
            frame = json.loads(event["data"])
            check(frame)
            assert event["event"] == frame["type"], event
            assert event.get("id") == (str(frame["seq"]) if "seq" in frame else None), event
            yield frame
        event = {}

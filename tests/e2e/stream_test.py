"""Live output through the real engine: by WebSocket with an independent client, and
by server-sent events; terminals; slow, silent, vanished and many viewers."""

import asyncio
import base64
import json
import os
import socket
import struct
import time
import unittest

from lib import live
from lib.live import connect, events, run, sse
from lib.service import Service, is_sanitized, manifest, short_form, wait_for

ALL = "paddock-sandbox:all"
VIEWERS = 100 if is_sanitized() else 1000
IDLE_SOCKETS = 200 if is_sanitized() else 2000
IDLE_BYTES_MAX = 16 * 1024

# A first line, a pause, a second one: with each language's plainest way to print.
PAUSED = {
    # not print(), which writes the line and its end one by one: two messages at times
    "python": "import sys, time\nsys.stdout.write('one\\n')\ntime.sleep(0.7)\nsys.stdout.write('two\\n')",
    "javascript": "console.log('one'); setTimeout(() => console.log('two'), 700)",
    "typescript": "console.log('one'); setTimeout(() => console.log('two' as string), 700)",
    "bash": "echo one; sleep 0.7; echo two",
    "ruby": "puts 'one'; sleep 0.7; puts 'two'",
    "php": "<?php echo \"one\\n\"; usleep(700000); echo \"two\\n\";",
    "perl": "print \"one\\n\"; select(undef, undef, undef, 0.7); print \"two\\n\";",
    "lua": "io.write('one\\n') os.execute('sleep 0.7') print('two')",
    "r": "cat('one\\n'); Sys.sleep(0.7); cat('two\\n')",
    "go": "package main\nimport (\"fmt\"; \"time\")\nfunc main() { fmt.Println(\"one\");"
          " time.Sleep(700 * time.Millisecond); fmt.Println(\"two\") }",
    "java": "public class Main { public static void main(String[] a) throws Exception {"
            " System.out.println(\"one\"); Thread.sleep(700); System.out.println(\"two\"); } }",
    "c": "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"one\"); usleep(700000);"
         " puts(\"two\"); return 0; }",
    "cpp": "#include <iostream>\n#include <unistd.h>\nint main() { std::cout << \"one\\n\";"
           " usleep(700000); std::cout << \"two\\n\"; }",
}


def gap(client):
    """Seconds between the service's times of the lines one and two."""
    outputs = client.of("stdout")
    one = next(f["time"] for f in outputs if "one" in f["data"])
    two = next(f["time"] for f in outputs if "two" in f["data"])
    return two - one


def resident(service):
    with open("/proc/%d/status" % service.process.pid) as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


class Stream(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(2, 4)).start()
        cls.service.wait_sandboxes(2)

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    async def start(self, client, code, **more):
        await client.say(type="run", code=code, **more)
        return (await client.until_type("accepted"))["id"]

    # ---- one run ----

    async def test_lines_arrive_as_they_are_printed(self):
        client = await run(self.service, PAUSED["python"])
        self.assertEqual(client.types, ["accepted", "started", "stdout", "stdout", "exit"])
        self.assertGreater(client.times[3] - client.times[2], 0.5)
        self.assertGreater(gap(client), 0.6)
        self.assertEqual(client.socket.subprotocol, "paddock.v1")
        self.assertEqual(client.code, 1000)
        self.assertTrue(client.exit["success"])
        self.assertFalse(client.socket.extensions)  # no compression

    async def test_the_streams_apart_and_in_order(self):
        client = await run(self.service, "import sys\nfor i in range(50):\n"
                                         "  print(i, flush=True)\n  print(-i, file=sys.stderr, flush=True)\n")
        self.assertEqual(client.text(kinds=["stdout"]), "".join("%d\n" % i for i in range(50)))
        self.assertEqual(client.text(kinds=["stderr"]), "".join("%d\n" % -i for i in range(50)))

    async def test_bytes_survive(self):
        text = "caf\u00e9 \u20ac \U0001f600 \r50%\r100%\x1b[31mred\x1b[0m\x07\0\n"
        client = await run(self.service, """
import os, time
for byte in %r.encode():
    os.write(1, bytes([byte])); time.sleep(0.002)
os.write(2, b'\\xff\\xfe'); time.sleep(0.05); os.write(2, b'\\xe2\\x82')
""" % text)
        self.assertEqual(client.text(kinds=["stdout"]), text)
        self.assertFalse([f for f in client.of("stdout") if "encoding" in f])
        self.assertEqual(b"".join(base64.b64decode(f["data"]) for f in client.of("stderr")),
                         b"\xff\xfe\xe2\x82")

    async def test_stdin_is_answered(self):
        async with connect(self.service) as client:
            await self.start(client, "n = input('name? ')\nprint('hello', n)\nimport sys\n"
                                     "print(len(sys.stdin.read()))", stdin_open=True)
            await client.until("name? ")
            await client.say(type="stdin", data="b\u00f6b\n")
            await client.until("hello b\u00f6b")
            await client.say(type="stdin", data=base64.b64encode(b"x" * 1000).decode(),
                             encoding="base64")
            await client.say(type="stdin_eof")
            await client.end()
        self.assertIn("1000", client.text())
        self.assertTrue(client.exit["success"])

    async def test_much_stdin_under_flow_control(self):
        """More than is buffered anywhere, to a program that reads late."""
        piece, pieces = "0123456789abcdef" * 4000, 40
        async with connect(self.service) as client:
            await self.start(client, "import sys, time\ntime.sleep(1)\nd = sys.stdin.read()\n"
                                     "print(len(d), d == '0123456789abcdef' * (len(d) // 16))",
                             stdin_open=True)

            async def speak():
                for _ in range(pieces):
                    await client.say(type="stdin", data=piece)
                await client.say(type="stdin_eof")
            speaking = asyncio.ensure_future(speak())
            await client.end()
            await speaking
        self.assertEqual(client.text(), "%d True\n" % (len(piece) * pieces))

    async def test_stdin_by_credit(self):
        """A program that never reads: the credit ends, and a cancel behind it is seen. One
        that reads: all of it arrives."""
        async with connect(self.service) as client:
            await client.say(type="run", code="import time; time.sleep(60)", timeout=60,
                             stdin_open=True, stdin_credit=True)
            await client.until_type("started")
            self.assertEqual(client.credit, 256 * 1024)
            sent = 0
            while client.credit > 0:
                piece = min(client.credit, 50000)
                client.credit -= piece
                sent += piece
                await client.say(type="stdin", data="x" * piece)
                try:
                    while await client.hear(0.1):
                        pass
                except asyncio.TimeoutError:
                    pass
            self.assertGreaterEqual(sent, 256 * 1024)
            begun = time.monotonic()
            await client.say(type="cancel")
            await client.end()
            self.assertEqual(client.exit["status"], "canceled")
            self.assertLess(time.monotonic() - begun, 20)
        async with connect(self.service) as client:
            await client.say(type="run", code="import sys; print(len(sys.stdin.read()))",
                             stdin_open=True, stdin_credit=True)
            left = 3_000_000
            while left:
                while client.credit < min(left, 60000):
                    self.assertIsNotNone(await client.hear(), client.frames[-2:])
                piece = min(left, 60000)
                await client.say(type="stdin", data="y" * piece)
                client.credit -= piece
                left -= piece
            await client.say(type="stdin_eof")
            await client.end()
            self.assertEqual(client.text(), "3000000\n")

    async def test_signals_and_cancel(self):
        code = ("import signal, time, sys\nsignal.signal(signal.SIGUSR1, lambda *a: print('usr1', flush=True))\n"
                "print('ready', flush=True)\nwhile True: time.sleep(0.05)")
        async with connect(self.service) as client:
            await self.start(client, code)
            await client.until("ready")
            await client.say(type="signal", signal="USR1")
            await client.until("usr1")
            await client.say(type="signal", signal="TERM")
            await client.end()
        self.assertEqual((client.exit["status"], client.exit["signal"]), ("signaled", 15))
        async with connect(self.service) as client:
            await self.start(client, code)
            await client.until("ready")
            await client.say(type="cancel")
            await client.end()
        self.assertEqual(client.exit["status"], "canceled")
        self.assertEqual(client.code, 1000)

    async def test_artifacts(self):
        client = await run(self.service, "open('a.bin', 'wb').write(bytes(range(256)) * 4000)\n"
                                         "open('b.txt', 'w').write('b')", artifacts=["*"])
        artifacts = {f["path"]: f for f in client.of("artifact")}
        self.assertEqual(base64.b64decode(artifacts["a.bin"]["content"]), bytes(range(256)) * 4000)
        self.assertEqual(artifacts["b.txt"]["size"], 1)

    async def test_queued(self):
        with Service(short_form(1, 1)) as small:
            small.wait_sandboxes(1)
            async with connect(small) as first, connect(small) as second:
                await self.start(first, "import time; time.sleep(60)")
                await first.until_type("started")
                await self.start(second, "print('x')")
                self.assertEqual((await second.until_type("queued"))["position"], 0)
                await first.say(type="cancel")
                await first.end()
                await second.end()
            self.assertEqual(second.text(), "x\n")

    async def test_refused_runs(self):
        for request, status in (({"code": "x", "language": "cobol"}, 422), ({"code": 7}, 422),
                                ({"code": "x", "timeout": -1}, 422), ({"code": "x", "what": 1}, 422)):
            async with connect(self.service) as client:
                await client.socket.send(json.dumps(dict(request, type="run")))
                await client.end()
            self.assertEqual(client.types, ["error"])
            self.assertEqual(client.frames[0]["problem"]["status"], status, request)
            self.assertEqual(client.code, 4000)

    # ---- terminals ----

    async def test_a_terminal(self):
        async with connect(self.service) as client:
            await self.start(client, """
import os, signal, sys
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(), os.environ['TERM'])
signal.signal(signal.SIGWINCH, lambda *a: print('now', os.get_terminal_size().columns))
print(repr(input('name? ')))
try:
    while True: signal.pause()
except KeyboardInterrupt:
    print('interrupted')
try: input('more? ')
except EOFError: print('the end')
""", tty=True, rows=30, cols=100, stdin_open=True)
            await client.until("name? ")
            self.assertIn("True True True os.terminal_size(columns=100, lines=30) xterm", client.text())
            await client.say(type="stdin", data="bo\x7fob\r")
            await client.until("'bob'")  # edited by the line discipline, echoed
            await client.say(type="resize", rows=50, cols=132)
            await client.until("now 132")
            await client.say(type="stdin", data="\x03")
            await client.until("interrupted")
            await client.until("more? ")
            await client.say(type="stdin", data="\x04")
            await client.end()
        self.assertIn("the end\r\n", client.text())
        self.assertTrue(client.exit["success"])
        self.assertFalse(client.of("stderr"))

    async def test_a_terminal_stops_and_goes_on(self):
        """^Z, fg, job control: a shell is at home."""
        async with connect(self.service) as client:
            await self.start(client, "import os\nos.execvp('bash', ['bash', '--norc', '-i'])",
                             tty=True, rows=24, cols=80, stdin_open=True)
            await client.until("$ ")
            await client.say(type="stdin", data="sleep 77\r")
            await client.until("sleep 77\r\n")
            await asyncio.sleep(0.3)
            await client.say(type="stdin", data="\x1a")
            await client.until("Stopped")
            await client.say(type="stdin", data="kill -9 %1; wait; echo a\"\"b\r")
            await client.until("ab\r\n")
            await client.say(type="stdin", data="exit 3\rexit 3\r")
            await client.end()
        self.assertEqual(client.exit["exit_code"], 3)

    async def test_a_terminal_without_input_ends(self):
        client = await run(self.service, "import sys; print(repr(sys.stdin.read()))", tty=True)
        self.assertIn("''", client.text())
        self.assertTrue(client.exit["success"])

    async def test_a_terminal_is_no_way_out(self):
        """What a terminal could be abused for is refused, and nothing of it is left."""
        attack = """
import fcntl, os, termios, array
def attempt(name, *args):
    try:
        fcntl.ioctl(0, *args); print(name, 'DONE')
    except OSError as e: print(name, 'refused')
attempt('TIOCSTI', termios.TIOCSTI, b'x')
attempt('TIOCLINUX', 0x541C, b'\\x02')
attempt('TIOCSETD', termios.TIOCSETD, array.array('i', [2]))
attempt('TIOCCONS', termios.TIOCCONS)
attempt('TIOCGPTPEER', 0x5441, 2)
attempt('TIOCVHANGUP', 0x5437)
for path in ('/dev/ptmx', '/dev/pts/0', '/dev/pts/ptmx', '/dev/console', '/dev/tty0'):
    try: os.open(path, os.O_RDWR); print(path, 'DONE')
    except OSError: print(path, 'refused')
a = termios.tcgetattr(0); a[3] &= ~termios.ECHO; termios.tcsetattr(0, termios.TCSANOW, a)
if os.fork() == 0:
    os.setsid()
    import time, signal
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    time.sleep(60); os.write(1, b'LEFT OVER')
print('end')
"""
        client = await run(self.service, attack, tty=True)
        self.assertTrue(client.exit["success"], client.text())
        self.assertNotIn("DONE", client.text())
        self.assertEqual(client.text().count("refused"), 11)
        for _ in range(4):  # whichever sandbox has it next
            after = await run(self.service, "import termios, os\n"
                                            "print(bool(termios.tcgetattr(0)[3] & termios.ECHO), os.get_terminal_size())",
                              tty=True, rows=11, cols=22)
            self.assertEqual(after.text(), "True os.terminal_size(columns=22, lines=11)\r\n")

    # ---- viewers ----

    async def test_replay_and_follow(self):
        async with connect(self.service) as client:
            ident = await self.start(client, "import time\nfor i in range(6):\n  print(i); time.sleep(0.15)")
            path = "/executions/%s/stream" % ident
            await client.until("1\n")
            async with connect(self.service, path) as follower:
                await follower.end()
            await client.end()
            self.assertEqual(follower.frames, client.frames)
            self.assertEqual(follower.code, 1000)
            async with connect(self.service, path + "?from=4") as late:
                await late.end()
            self.assertEqual(late.frames, client.frames[3:])

        def over_sse(suffix="", **headers):
            connection, file, head = sse(self.service, path + suffix, headers=headers)
            with connection:
                self.assertIn("text/event-stream", head)
                return list(events(file))
        replayed = await asyncio.to_thread(over_sse)
        self.assertEqual(replayed, client.frames)
        self.assertEqual(await asyncio.to_thread(over_sse, "?from=3"), client.frames[2:])
        resumed = await asyncio.to_thread(lambda: over_sse(**{"Last-Event-ID": "5"}))
        self.assertEqual(resumed, client.frames[5:])
        for bad in ("?from=0", "?from=x", "?from=-1"):
            self.assertEqual(self.service.request("GET", path + bad).status, 400)
        self.assertEqual(self.service.request("GET", "/executions/run_0/stream").status, 404)

    async def test_sse_of_ones_own_run(self):
        def ask():
            connection, file, _ = sse(self.service, "/execute", "POST", {"code": PAUSED["python"]})
            with connection:
                return [(frame, time.monotonic()) for frame in events(file)]
        heard = await asyncio.to_thread(ask)
        self.assertEqual([f["type"] for f, _ in heard],
                         ["accepted", "started", "stdout", "stdout", "exit"])
        self.assertGreater(heard[3][1] - heard[2][1], 0.5)
        self.assertEqual(self.service.request("POST", "/execute", {"code": 7},
                                              {"Accept": "text/event-stream"}).status, 422)

    async def test_who_hangs_up_takes_the_run_along(self):
        async with connect(self.service) as client, connect(self.service) as other:
            for one, detach in ((client, False), (other, True)):
                await self.start(one, "import time\nfor i in range(20):\n  print(i); time.sleep(0.1)",
                                 detach=detach)
                await one.until("2\n")
            idents = [one.frames[0]["id"] for one in (client, other)]
        ends = []
        for ident in idents:
            async with connect(self.service, "/executions/%s/stream" % ident) as watcher:
                await watcher.end()
            ends.append(watcher)
        self.assertEqual(ends[0].exit["status"], "canceled")
        self.assertEqual(ends[1].exit["status"], "exited")
        self.assertIn("19\n", ends[1].text())

    async def test_a_stopped_reader_and_a_cancel_in_the_middle(self):
        """Its own client stops reading: so does the run, in bounded memory. A cancel still
        gets through, and all that was printed before arrives. What the kernel keeps for a
        reader is more than a usual maxOutput."""
        spec = manifest("loud", minSize=1, maxSize=1, languages="[python]",
                        run="{maxOutput: 64Mi, timeout: 60s}")
        with Service(pools={"loud": spec}) as service:
            service.wait_sandboxes(1, "loud")
            async with connect(service, max_queue=1, read_limit=1024) as client:
                ident = await self.start(client, "import os\nwhile True: os.write(1, b'x' * 65536)",
                                         pool="loud")
                before = resident(service)
                async with connect(service, "/executions/%s/stream" % ident) as watcher:
                    counts = []
                    for _ in range(3):
                        try:
                            while await watcher.hear(1):
                                pass
                            self.fail("it ended: %s" % watcher.frames[-1])
                        except asyncio.TimeoutError:
                            counts.append(len(watcher.frames))
                    self.assertEqual(counts[0], counts[2], "the run went on without its reader")
                    self.assertLess(resident(service) - before, 8 << 20)
                    await client.say(type="cancel")
                    await client.end()
                    await watcher.end()
                self.assertEqual(client.exit["status"], "canceled")
                self.assertEqual(client.text(), watcher.text())

    async def test_a_slow_onlooker_costs_nobody_anything(self):
        async with connect(self.service) as client:
            ident = await self.start(client, "import os\nfor i in range(2000): os.write(1, b'%06d\\n' % i * 1000)\n",
                                     timeout=60)
            path = "/executions/%s/stream" % ident
            sleeper = socket.create_connection(("127.0.0.1", self.service.port))
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sleeper.sendall(("GET %s HTTP/1.0\r\nX-API-Key: %s\r\n\r\n"
                             % (path, self.service.key)).encode())
            before = resident(self.service)
            await client.end()
            # The pool's maxOutput cuts what is delivered; all of that came.
            self.assertEqual(len(client.text()), (1 << 20))
            self.assertLess(resident(self.service) - before, 16 << 20)
            frames = await asyncio.to_thread(lambda: self.read_all(sleeper))
            self.assertEqual(frames[-1]["type"], "exit")

    @staticmethod
    def read_all(connection):
        with connection:
            file = connection.makefile("rb")
            while file.readline() != b"\r\n":
                pass
            return list(events(file))

    async def test_who_slept_is_told_what_was_dropped(self):
        """With more output than is kept of one run."""
        spec = manifest("loud", minSize=1, maxSize=1, languages="[python]",
                        run="{maxOutput: 64Mi, timeout: 60s}")
        with Service(pools={"loud": spec}) as service:
            service.wait_sandboxes(1, "loud")
            async with connect(service) as client:
                await self.start(client, "import os\nfor i in range(200): os.write(1, b'x' * 65536)",
                                 pool="loud")
                ident = client.frames[0]["id"]
                await client.end()
                self.assertEqual(sum(len(f["data"]) for f in client.of("stdout")), 200 * 65536)
                async with connect(service, "/executions/%s/stream" % ident) as late:
                    await late.end()
                dropped = late.of("dropped")
                self.assertTrue(dropped)
                self.assertEqual(len(late.text()) + sum(f["bytes"] for f in dropped), 200 * 65536)
                self.assertEqual(late.exit, client.exit)

    async def test_many_viewers_of_one_run(self):
        async with connect(self.service) as client:
            ident = await self.start(client, "input()\nfor i in range(20): print(i)",
                                     stdin_open=True, timeout=120)
            path = "/executions/%s/stream" % ident
            entered = [connect(self.service, path, open_timeout=60) for _ in range(VIEWERS)]
            viewers = []
            for at in range(0, VIEWERS, 50):
                viewers += await asyncio.gather(*[one.__aenter__() for one in entered[at:at + 50]])
            await client.say(type="stdin", data="go\n")
            await asyncio.gather(client.end(120), *[viewer.end(120) for viewer in viewers])
            for viewer in viewers:
                self.assertEqual(viewer.frames, client.frames)
            await asyncio.gather(*[one.__aexit__(None, None, None) for one in entered])

    async def test_idle_sockets_cost_little(self):
        sockets = [self.handshake() for _ in range(20)]  # what is made only once is made now
        before = resident(self.service)
        sockets += [self.handshake() for _ in range(IDLE_SOCKETS)]
        each = (resident(self.service) - before) / IDLE_SOCKETS
        print("     %d idle sockets: %.1f KiB each" % (IDLE_SOCKETS, each / 1024))
        if not is_sanitized():
            self.assertLess(each, IDLE_BYTES_MAX)
        self.service.hello()
        for one in sockets:
            one.close()

    def handshake(self, **headers):
        """A raw socket, upgraded."""
        lines = {"Host": "127.0.0.1:%d" % self.service.port, "Connection": "Upgrade",
                 "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": base64.b64encode(b"k" * 16).decode(),
                 "X-API-Key": self.service.key}
        lines.update(headers)
        connection = self.service.connect()
        connection.sendall(("GET /execute/stream HTTP/1.1\r\n%s\r\n" % "".join(
            "%s: %s\r\n" % pair for pair in lines.items() if pair[1])).encode())
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            piece = connection.recv(4096)
            self.assertTrue(piece, self.head)
            self.head += piece
        return connection

    # ---- those who do it wrong ----

    def test_handshakes(self):
        self.handshake().close()
        self.assertIn(b" 101 ", self.head)
        for status, headers in (
                (426, {"Upgrade": ""}), (426, {"Sec-WebSocket-Version": "8"}),
                (426, {"Connection": "close"}), (400, {"Sec-WebSocket-Key": "short"}),
                (400, {"Sec-WebSocket-Protocol": "other.v2"}), (401, {"X-API-Key": "wrong-key-here"}),
                (403, {"Origin": "http://elsewhere.example"})):
            self.handshake(**headers).close()
            self.assertIn(b" %d " % status, self.head.split(b"\r\n")[0], headers)

    def said(self, data, masked=True):
        """What comes back for raw bytes: the code of the close frame."""
        connection = self.handshake()
        connection.sendall(data)
        answer = b""
        connection.settimeout(20)
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
        connection.close()
        at = answer.rfind(b"\x88")
        if answer[at:] == b"\x88\x00":
            return 1005  # which stands for a close frame without a code
        return struct.unpack(">H", answer[at + 2:at + 4])[0] if at >= 0 else None

    @staticmethod
    def frame(payload, opcode=1, fin=True, mask=b"\x01\x02\x03\x04", rsv=0):
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        bit = 0x80 if mask else 0
        if len(payload) < 126:
            head += bytes([bit | len(payload)])
        elif len(payload) < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
        body = bytes(c ^ mask[i % 4] for i, c in enumerate(payload)) if mask else payload
        return head + (mask or b"") + body

    def test_close_codes(self):
        frame = self.frame
        stdin = b'{"type":"stdin","data":"x"}'
        for what, data, code in (
                ("not JSON", frame(b"hello"), 1007), ("no object", frame(b"[]"), 1007),
                ("not UTF-8", frame(b"\xff\xff"), 1007), ("half a character", frame(b"\xe2\x82"), 1007),
                ("binary", frame(b"{}", 2), 1003), ("unknown type", frame(b'{"type":"x"}'), 1008),
                ("no run yet", frame(stdin), 1008),
                ("a member too many", frame(b'{"type":"cancel","x":1}'), 1008),
                ("bad signal", frame(b'{"type":"signal","signal":"SEGV"}'), 1008),
                ("not masked", frame(b"{}", mask=None), 1002),
                ("reserved bit", frame(b"{}", rsv=4), 1002), ("reserved opcode", frame(b"", 3), 1002),
                ("a continuation of nothing", frame(b"x", 0), 1002),
                ("a long ping", frame(b"x" * 126, 9), 1005),
                ("too long", b"\x81\xff" + struct.pack(">Q", 17 << 20) + b"\0" * 65536, 1009),
                ("a close", frame(struct.pack(">H", 1000), 8), 1000)):
            self.assertEqual(self.said(data), code, what)

    async def test_fragments_and_control_frames_between_them(self):
        text = json.dumps({"type": "run", "code": "print('h\u00e9')"}).encode()
        connection = self.handshake()
        connection.settimeout(20)
        cut = text.index(b"\\u") + 3
        connection.sendall(self.frame(text[:cut], fin=False) + self.frame(b"there?", 9))
        self.assertEqual(connection.recv(8), b"\x8a\x06there?")
        for at in range(cut, len(text)):
            connection.sendall(self.frame(text[at:at + 1], 0, fin=at == len(text) - 1))
        answer = b""
        while b"\x88\x02" not in answer:
            answer += connection.recv(65536)
        self.assertIn("h\u00e9".encode(), answer)
        connection.close()

    async def test_a_second_run_on_one_connection(self):
        async with connect(self.service) as client:
            await self.start(client, "import time; time.sleep(30)")
            await client.say(type="run", code="print(2)")
            await client.end()
        self.assertEqual(client.code, 1008)
        self.service.hello()

    def test_half_a_frame_and_silence(self):
        """Half-open, half-said: nobody else notices, and the place is given back."""
        connections = []
        for cut in (1, 2, 5, 20):
            connection = self.handshake()
            connection.sendall(self.frame(b'{"type":"run","code":"print(1)"}')[:cut])
            connections.append(connection)
        self.service.hello()
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        self.service.hello()


class Ends(unittest.IsolatedAsyncioTestCase):
    async def test_drain(self):
        """SIGTERM: who waits is sent away (1001), who runs sees the end."""
        with Service(short_form(1, 2)) as service:
            service.wait_sandboxes(1)
            async with connect(service) as idle, connect(service) as busy:
                await busy.say(type="run", code="import time\nprint('a')\ntime.sleep(1.5)\nprint('b')")
                await busy.until("a")
                service.process.terminate()
                await idle.end()
                self.assertEqual(idle.code, 1001)
                await busy.end()
                self.assertEqual(busy.exit["status"], "exited")
                self.assertIn("b", busy.text())


class Languages(unittest.IsolatedAsyncioTestCase):
    async def test_every_language_is_live(self):
        """Interpreted ones flush each line by themselves or are made to; the C library
        keeps a pipe's output back until it is flushed, and on a terminal does not."""
        roomy = "{cpu: '2', memory: 1Gi, pids: 128, disk: 128Mi}"
        spec = manifest("all", image=ALL, minSize=1, maxSize=1, resources=roomy,
                        run="{timeout: 60s}")
        with Service(pools={"all": spec}) as service:
            service.wait_sandboxes(1, "all")
            for language, code in PAUSED.items():
                buffered = language in ("c", "cpp")
                with self.subTest(language=language):
                    client = await run(service, code, language, pool="all", tty=buffered)
                    self.assertTrue(client.exit["success"], client.frames)
                    self.assertGreater(gap(client), 0.5)
                    if language in ("c", "cpp", "go", "java"):
                        self.assertIn("stage", client.types)


class ZDescription(unittest.TestCase):
    def test_every_type_was_seen(self):
        """Runs last: what api/reference/asyncapi.yaml describes is what there is."""
        described = set(live.ASYNCAPI["components"]["messages"])
        self.assertEqual(described - live.SEEN, set())


if __name__ == "__main__":
    unittest.main()

"""The agent by itself, in a container that the test makes and with frames that no
service would send: what it must refuse even from its own side."""

import os
import re
import select
import struct
import subprocess
import time
import unittest

from lib.service import PATIENCE, IMAGE, ROOT, binary

# docs/protocol.md
ATTACH, RUN, FILE, DATA, START = 1, 2, 3, 4, 5
HELLO, OUT, EXIT, FAULT = 64, 69, 72, 74
F_NONCE, F_TEXT, F_DATA, F_CREDIT, F_NAME, F_PATH, F_MORE = 2, 3, 4, 5, 6, 7, 56
F_ISOLATION, F_DISK, F_LANGUAGE, F_FILE, F_COMMAND = 16, 21, 25, 26, 28
F_TIMEOUT, F_OUTPUT_MAX, F_CODE, F_CAUSE, F_EXIT_CODE = 49, 51, 52, 81, 82
ISOLATIONS = ("cell", "uid", "container")


def proto():
    """The numbers above, as the header has them."""
    with open(os.path.join(ROOT, "common", "proto.h")) as file:
        return dict(re.findall(r"PD_(\w+) = (\d+)", file.read()))


def field(tag, value):
    if isinstance(value, int):
        value = struct.pack(">Q", value)
    elif isinstance(value, str):
        value = value.encode()
    return struct.pack(">BI", tag, len(value)) + value


def has_profile():
    """Whether our AppArmor profile is loaded: the engine's own denies mounts."""
    try:
        with open("/sys/kernel/security/apparmor/profiles") as file:
            return any(line.startswith("paddock-sandbox ") for line in file)
    except OSError:
        return False


class Agent:
    def __init__(self, isolation):
        agent = os.path.join(os.path.dirname(binary()), "paddock-agent")
        user = "0:0" if isolation == "uid" else "50000:50000"
        mine = "" if isolation == "uid" else ",uid=50000,gid=50000"
        command = ["docker", "run", "--rm", "-i", "--network", "none", "--read-only", "-u", user,
                   "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt",
                   "seccomp=" + os.path.join(ROOT, "conf", "seccomp.json"), "--pids-limit", "100",
                   "--memory", "128m", "-v", agent + ":/paddock/agent:ro", "--tmpfs", "/tmp:exec",
                   "--tmpfs", "/workspace:exec,mode=700" + mine, "--tmpfs", "/var/tmp",
                   "--tmpfs", "/run/paddock:mode=700" + mine, "--entrypoint", "/paddock/agent"]
        if isolation == "cell":
            command += ["--security-opt", "systempaths=unconfined"]
        if isolation == "uid":
            for name in ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "KILL"):
                command += ["--cap-add", name]
        if has_profile():
            command += ["--security-opt", "apparmor=paddock-sandbox"]
        self.process = subprocess.Popen(command + [IMAGE], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, bufsize=0)
        self.sequence, self.buffer, self.epoch = 0, b"", 5
        bash = field(F_NAME, "bash") + field(F_FILE, "main.sh") + field(F_COMMAND, "bash") + field(
            F_COMMAND, "main.sh")
        self.send(ATTACH, field(F_NONCE, b"12345678") + field(F_ISOLATION, ISOLATIONS.index(isolation)) +
                  field(F_DISK, 16 << 20) + field(F_LANGUAGE, bash))

    def send(self, kind, payload=b"", epoch=None, sequence=None):
        number = self.sequence if sequence is None else sequence
        self.process.stdin.write(struct.pack(">IBII", 9 + len(payload), kind, epoch or self.epoch,
                                             number) + payload)
        self.sequence += kind != ATTACH

    def receive(self, *kinds, seconds=20):
        """The next frame of one of the kinds: (kind, {tag: [values]}); None at the end."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            if self.buffer.startswith(b"\xfe"):
                self.buffer = self.buffer[16:]
            if len(self.buffer) >= 4 and len(self.buffer) >= 4 + struct.unpack(">I", self.buffer[:4])[0]:
                length, kind = struct.unpack(">IB", self.buffer[:5])
                payload, self.buffer = self.buffer[13:4 + length], self.buffer[4 + length:]
                fields = {}
                while payload:
                    tag, size = struct.unpack(">BI", payload[:5])
                    fields.setdefault(tag, []).append(payload[5:5 + size])
                    payload = payload[5 + size:]
                if kind in kinds:
                    return kind, fields
                continue
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("no frame of %s" % (kinds,))
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return None
            self.buffer += piece

    def run(self, code, *files):
        payload = field(F_NAME, "bash") + field(F_CODE, code) + field(F_TIMEOUT, 10000)
        payload += field(F_OUTPUT_MAX, 1 << 16) + field(F_CREDIT, 1 << 16)
        self.send(RUN, payload + (field(F_MORE, b"") if files else b""))
        for path, content in files:
            self.send(FILE, field(F_PATH, path))
            self.send(DATA, field(F_DATA, content))
        if files:
            self.send(START)

    def output(self):
        """(kind of the last frame, what was printed)"""
        printed = b""
        while True:
            frame = self.receive(OUT, EXIT, FAULT)
            if frame is None or frame[0] != OUT:
                return frame and frame[0], printed
            printed += frame[1][F_DATA][0]

    def __enter__(self):
        hello = self.receive(HELLO)
        assert hello, "the agent ended"
        self.isolation = struct.unpack(">Q", hello[1][F_ISOLATION][0])[0]
        return self

    def __exit__(self, *words):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


class AgentAlone(unittest.TestCase):
    def test_numbers_are_the_headers(self):
        numbers = proto()
        for name, value in (("FRAME_ATTACH", ATTACH), ("FRAME_RUN", RUN), ("FRAME_FILE", FILE),
                            ("FRAME_HELLO", HELLO), ("FRAME_OUT", OUT), ("FRAME_EXIT", EXIT),
                            ("FRAME_FAULT", FAULT), ("FIELD_CODE", F_CODE), ("FIELD_PATH", F_PATH),
                            ("FIELD_LANGUAGE", F_LANGUAGE), ("FIELD_MORE", F_MORE)):
            self.assertEqual(int(numbers[name]), value, name)

    def test_isolation_is_had(self):
        if os.environ.get("PADDOCK_EXPECT_CELLS") == "0":
            self.skipTest("PADDOCK_EXPECT_CELLS=0")
        for number, name in enumerate(ISOLATIONS):
            with Agent(name) as agent:
                self.assertEqual(agent.isolation, number)
                agent.run("echo hi")
                self.assertEqual(agent.output(), (EXIT, b"hi\n"))

    def test_a_second_run_where_nothing_stands_between(self):
        with Agent("container") as agent:
            agent.run("echo one")
            self.assertEqual(agent.output(), (EXIT, b"one\n"))
            agent.run("echo two")
            self.assertEqual(agent.output(), (FAULT, b""))

    def test_files_stay_below_the_workspace(self):
        outside = "/tmp/outside"
        paths = ["../tmp/outside", outside, "a/../../tmp/outside", "..", "x" * 600, "d/" * 300 + "f"]
        for isolation in ("cell", "uid"):
            with self.subTest(isolation), Agent(isolation) as agent:
                agent.run("cat main.sh | head -c 9; ls /tmp; ls -A | tr '\\n' ' '; cat good",
                          *[(path, b"echo BROKEN") for path in paths], ("good", b"good"))
                self.assertEqual(agent.output(), (EXIT, b"cat main.good main.sh good"))

    def test_frames_of_nobody(self):
        for what, number in (("an old epoch", {"epoch": 4}), ("a gap", {"sequence": 9})):
            with self.subTest(what), Agent("cell") as agent:
                agent.send(RUN, field(F_NAME, "bash") + field(F_CODE, "echo x"), **number)
                self.assertEqual(agent.output(), (FAULT, b""))

    def test_a_run_that_finds_code_of_the_last(self):
        """Isolation uid shares its folders: they are empty at once, not only for the next."""
        with Agent("uid") as agent:
            agent.run("mkdir -p a/b; chmod 1777 a a/b; touch a/b/c /tmp/t /dev/shm/s; chmod 0777 .; echo x")
            self.assertEqual(agent.output(), (EXIT, b"x\n"))
            agent.run("ls -A . /tmp /dev/shm /var/tmp | grep -v : | tr -d '\\n'; stat -c %a .")
            self.assertEqual(agent.output(), (EXIT, b"main.sh700\n"))


if __name__ == "__main__":
    unittest.main()
